"""Guidance from the base's prediction without a caption: what it computes, and how it is kept."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from unidiff_cli.errors import EnvironmentProblem
from unidiff_cli.models.base import TextFeatures
from unidiff_cli.models.guidance import Guidance
from unidiff_cli.models.untuned import EMPTY, FOLDER, Untuned

FROM_BASE = Guidance(3, unconditional="base")
PROMPTS, SEEDS = ["red dress", "a hat"], [3, 4]


def tuned_of(base, std=0.02):
    """A base that keeps its denoiser, and then has other weights in every tower."""
    base.keep_untuned()
    draws = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameters in base.parameter_groups().values():
            for p in parameters:
                p += std * torch.randn(p.shape, generator=draws)
    return base


def images(base, guidance, **options):
    made = base.generate(PROMPTS, SEEDS, steps=4, guidance=guidance, **options)
    return np.stack([np.int16(image) for image in made])


class FromBase:
    """A denoiser whose first half of a guided batch, which has no caption, is the base's."""

    def __init__(self, base, own):
        self.base, self.own = base, own
        self.empty = base.encode_text([""])

    def __call__(self, z_t, t, text):
        without, with_caption = z_t.chunk(2)
        captions = TextFeatures(
            text.states.chunk(2)[1],
            text.embeds.chunk(2)[1],
            None if text.pooled is None else text.pooled.chunk(2)[1],
        )
        first = self.base.denoise(without, t, self.empty.expand(len(without)))
        return torch.cat([first, self.own(with_caption, t, captions)])


@pytest.mark.parametrize("name", ["sd1", "sdxl second"])
def test_it_starts_from_what_the_base_predicts(load_tiny, name):
    base = load_tiny(name)
    tuned = tuned_of(copy.deepcopy(base))
    ours, own = images(tuned, FROM_BASE), images(tuned, Guidance(3))
    tuned.denoise = FromBase(base, tuned.denoise)
    expected = images(tuned, Guidance(3))
    # The copy is rounded to half precision.
    assert np.abs(ours - expected).max() <= 2 < np.abs(own - expected).max()


def test_a_negative_prompt_is_read_by_the_tuned_model(load_tiny):
    tuned = tuned_of(load_tiny("sd1"))
    one, other = (images(tuned, g, negative="blue") for g in (FROM_BASE, Guidance(3)))
    assert np.array_equal(one, other)


def test_outside_the_interval_it_costs_nothing(load_tiny):
    tuned = tuned_of(load_tiny("sd1"))
    never = Guidance(3, (0.0, 0.0), unconditional="base")
    assert np.array_equal(images(tuned, never), images(tuned, Guidance(1)))


def test_it_is_no_part_of_the_models_own_weights(load_tiny):
    base = load_tiny("sd1")
    names, weights = set(base.state_dict()), base.weights_hash
    base.keep_untuned()
    assert set(base.state_dict()) == names and base.weights_hash == weights


@pytest.mark.parametrize("name", ["sd1", "sdxl second"])
def test_a_folder_gives_the_same_images(load_tiny, tmp_path, name):
    tuned = tuned_of(load_tiny(name))
    before = images(tuned, FROM_BASE)
    tuned.untuned.save(tmp_path)
    tuned.untuned = Untuned.beside(tmp_path)
    assert np.array_equal(images(tuned, FROM_BASE), before)
    files = sorted((tmp_path / FOLDER).glob("*.safetensors"))
    assert files and all(file.stat().st_size for file in files)
    stored = load_file(tmp_path / FOLDER / "diffusion_pytorch_model.safetensors")
    assert {x.dtype for x in stored.values()} == {torch.float16}


def test_without_it_the_guidance_is_refused(load_tiny):
    with pytest.raises(EnvironmentProblem, match="its guidance starts from it"):
        images(load_tiny("sd1"), FROM_BASE)


def cut(folder: Path) -> None:
    file = folder / "diffusion_pytorch_model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])


@pytest.mark.parametrize(
    "harm",
    [cut, lambda folder: (folder / EMPTY).unlink(), lambda folder: (folder / EMPTY).write_text("")],
)
def test_a_damaged_folder_is_named(load_tiny, tmp_path, harm):
    tuned = tuned_of(load_tiny("sd1"))
    tuned.untuned.save(tmp_path)
    harm(tmp_path / FOLDER)
    tuned.untuned = Untuned.beside(tmp_path)
    with pytest.raises(EnvironmentProblem, match=FOLDER):
        images(tuned, FROM_BASE)
