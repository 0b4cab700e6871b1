"""The safety checker of a base: its verdict is a field, and no image becomes black."""

import numpy as np
import pytest
import torch

from tests.support.images import images_of
from unidiff_cli.models import loading
from unidiff_cli.models.guidance import Guidance


def add_checker(folder, flags: bool):
    """A tiny random checker in a base's folder, which flags every image or none."""
    from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
    from transformers import CLIPConfig, CLIPImageProcessor

    size = {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2}
    vision = {**size, "num_hidden_layers": 1, "image_size": 16, "patch_size": 8}
    checker = StableDiffusionSafetyChecker(CLIPConfig(vision_config=vision, projection_dim=8))
    # A cosine above this is flagged.
    checker.concept_embeds_weights.fill_(-2.0 if flags else 2.0)
    checker.special_care_embeds_weights.fill_(2.0)
    checker.save_pretrained(folder / "safety_checker")
    side = {"height": 16, "width": 16}
    processor = CLIPImageProcessor(size={"shortest_edge": 16}, crop_size=side)
    processor.save_pretrained(folder / "feature_extractor")


@pytest.fixture
def checked(tiny_base, tmp_path):
    """A base's folder whose checker flags every image or none."""

    def folder_of(flags):
        loading.load_base(str(tiny_base), 32).save(tmp_path / "base")
        add_checker(tmp_path / "base", flags)
        return tmp_path / "base"

    return folder_of


@pytest.mark.parametrize("flags", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_the_verdict_is_given_and_the_image_is_the_same(checked, tiny_base, flags, caplog):
    base = loading.load_base(str(checked(flags)), 32)
    options = {"steps": 2, "guidance": Guidance(2.0)}
    images = base.generate(["red dress"], [3], **options)
    before = np.asarray(images[0]).copy()
    assert base.flagged(images) == [flags] and np.array_equal(images[0], before)
    plain = loading.load_base(str(tiny_base), 32).generate(["red dress"], [3], **options)
    assert np.array_equal(images[0], plain[0]) and before.std() > 1
    assert "black" not in caplog.text


def test_a_base_without_a_checker_gives_no_verdict(tiny_base):
    assert loading.load_base(str(tiny_base), 32).flagged(images_of(1)) is None


@pytest.mark.slow
def test_an_export_keeps_the_checker_and_plain_diffusers_makes_nothing_black(checked, tmp_path):
    from diffusers import StableDiffusionPipeline

    loading.load_base(str(checked(True)), 32).save(tmp_path / "export")
    again = loading.load_base(str(tmp_path / "export"), 32)
    assert again.flagged(images_of(2)) == [True, True]
    pipeline = StableDiffusionPipeline.from_pretrained(tmp_path / "export")
    assert pipeline.safety_checker is None


@pytest.mark.slow
def test_the_checker_is_no_part_of_the_weights(checked, tiny_base):
    base, plain = (loading.load_base(str(f), 32) for f in (checked(True), tiny_base))
    base.flagged(images_of(1))
    assert base.weights_hash == plain.weights_hash
    assert set(base.state_dict()) == set(plain.state_dict())


@pytest.mark.slow
def test_a_record_holds_the_verdict_and_a_flagged_image_is_said(checked, tmp_path, caplog):
    from unidiff_cli.config.schema import Generate
    from unidiff_cli.generation.generate import _warn_of_flagged
    from unidiff_cli.generation.generator import Generator

    torch.manual_seed(0)
    base = loading.load_base(str(checked(True)), 32)
    generator = Generator(base, "001", "0" * 16, Generate(steps=2, guidance=2.0))
    images = list(generator.generate(["red dress"], [3]))
    assert images[0].record.flagged is True and images[0].record.plain()["flagged"] is True
    with caplog.at_level("WARNING"):
        _warn_of_flagged("red dress", images)
    assert "1 of 1 images of 'red dress' are flagged" in caplog.text
