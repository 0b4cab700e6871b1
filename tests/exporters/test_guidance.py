"""The guidance of an export: chosen, written, hashed, used by what generates, and overridden."""

import json
import logging
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline
from PIL import Image
from safetensors.torch import load_file

from tests.support.projects import copy_project, load_recipe
from unidiff_cli import Project, evaluate, export, generate
from unidiff_cli.config.run_recipe import read_run_recipe
from unidiff_cli.config.schema import Generate
from unidiff_cli.data.shards import Shards
from unidiff_cli.evaluation import eval_set
from unidiff_cli.evaluation import guidance as choice
from unidiff_cli.evaluation.extractors import load_extractors
from unidiff_cli.generation.generate import regenerate
from unidiff_cli.generation.record import read_record
from unidiff_cli.models.guidance import Guidance
from unidiff_cli.models.guidance_file import read_guidance
from unidiff_cli.models.loading import load_base
from unidiff_cli.project.receipt import Receipt

LIMITED = Guidance(2.0, (0.0, 0.8))


@pytest.fixture
def few_are_enough(monkeypatch):
    """The 6 validation images of the tests are enough, and the interval wins."""

    def interval(trials):
        return trials[-1] if trials[-1].guidance == LIMITED else trials[0]

    def own(from_base, chosen):
        return chosen

    monkeypatch.setattr(choice, "FEWEST", 4)
    monkeypatch.setattr(choice, "MIN_GROUPS", 2)
    monkeypatch.setattr(choice, "_simplest", interval)
    monkeypatch.setattr(choice, "_clearly_better", own)


@pytest.fixture
def project(finished, tmp_path, few_are_enough) -> Project:
    """A project whose export has a guidance that was chosen."""
    project = copy_project(finished, tmp_path)
    export(project, force=True)
    return project


def test_too_few_validation_images_keep_the_bases_and_say_so(finished):
    guidance = read_guidance(finished.export())
    assert guidance.guidance == Guidance(2.0) and not guidance.measured
    assert guidance.reason.startswith("the base's own, for 6 validation images of")
    assert "too few" in guidance.reason
    assert guidance.reason in (finished.export() / "README.md").read_text()


def test_the_choice_is_written_hashed_and_shown(project, finished):
    folder, receipt = project.export(), Receipt.read(project.export())
    guidance = read_guidance(folder)
    assert guidance.guidance == LIMITED
    tried = [each.guidance for each in guidance.measured]
    scales = [Guidance(scale) for scale in (2.0, 1.0)]
    from_base = replace(LIMITED, unconditional="base")
    assert tried == [*scales, Guidance(2.0, rescale=0.7), LIMITED, from_base]
    assert min(each.above_lowest for each in guidance.measured) == 0
    assert "guidance.json" in receipt.files
    assert receipt.figures["guidance"] == json.loads((folder / "guidance.json").read_text())
    assert receipt.hash != Receipt.read(finished.export()).hash
    card = (folder / "README.md").read_text()
    assert "| guidance | 2 between 0% and 80% of noise, chosen by KID on 6 validation" in card
    assert "| 2, rescale 0.7 |" in card and "differ from its own" in card


def test_the_same_export_chooses_the_same(project):
    first = (project.export() / "guidance.json").read_bytes()
    export(project, force=True)
    assert (project.export() / "guidance.json").read_bytes() == first


def test_generate_uses_it_and_a_scale_stands_above_it(project, caplog):
    caplog.set_level(logging.INFO, "unidiff")
    [folder] = generate(project, ["red dress"], count=1)
    assert read_record(folder / "0.png").guided == LIMITED
    assert "guidance 2 between 0% and 80% of noise: chosen by KID" in caplog.text
    [other] = generate(project, ["red dress"], Generate(steps=3, guidance=3), count=1)
    assert read_record(other / "0.png").guided == Guidance(3.0)
    assert "guidance 3: set by generate.guidance" in caplog.text
    again, same_weights = regenerate(project, folder / "0.png")
    one, two = (np.asarray(Image.open(each / "0.png")) for each in (folder, again))
    assert same_weights and np.array_equal(one, two)


def test_evaluate_guides_each_model_by_its_own(project, tiny_base):
    metrics = "evaluate.metrics=[kid]"
    evaluate(project, load_recipe(tiny_base, metrics))
    file = project.path("report") / "report.json"
    guidance = json.loads(file.read_text())["generation"]["guidance"]
    assert guidance["base"] == "2 (the base's own)"
    assert guidance["tuned"].startswith("2 between 0% and 80% of noise (chosen by KID")
    assert "80% of noise" in (project.path("report") / "report.html").read_text()
    evaluate(project, load_recipe(tiny_base, metrics, "generate.guidance=3"))
    guidance = json.loads(file.read_text())["generation"]["guidance"]
    assert set(guidance.values()) == {"3 (set by generate.guidance)"}


def test_without_the_shards_of_its_run_it_is_the_bases(project):
    shutil.rmtree(project.path("shards"))
    export(project, force=True)
    assert "the shards of its run are gone" in read_guidance(project.export()).reason
    assert read_guidance(project.export()).guidance == Guidance(2.0)


def test_an_export_that_is_not_to_choose_is_another_work(project):
    chosen = Receipt.read(project.export())
    kept = export(project, choose_guidance=False)[1]
    assert kept.hash != chosen.hash and not read_guidance(project.export()).measured
    assert read_guidance(project.export()).guidance == Guidance(2.0)


@pytest.fixture
def from_base(project, monkeypatch) -> Project:
    """A project whose export starts its guidance from the base's prediction."""
    monkeypatch.setattr(choice, "_clearly_better", lambda from_base, chosen: from_base)
    export(project, force=True)
    return project


def test_guidance_from_the_base_brings_its_denoiser(from_base, tiny_base):
    folder, receipt = from_base.export(), Receipt.read(from_base.export())
    guidance = replace(LIMITED, unconditional="base")
    assert read_guidance(folder).guidance == guidance
    kept = load_file(folder / "untuned/diffusion_pytorch_model.safetensors")
    before = load_base(str(tiny_base), 32).unet.state_dict()
    assert kept.keys() == before.keys()
    assert all(torch.equal(kept[name], before[name].half()) for name in kept)
    assert {"untuned/config.json", "untuned/empty_caption.safetensors"} <= receipt.files.keys()
    assert "starts from what the base predicts" in (folder / "README.md").read_text()
    [images] = generate(from_base, ["red dress"], count=1)
    record = read_record(images / "0.png")
    assert record.guided == guidance
    again, _ = regenerate(from_base, images / "0.png")
    one, two = (np.asarray(Image.open(each / "0.png")) for each in (images, again))
    assert np.array_equal(one, two)
    [own] = generate(from_base, ["red dress"], count=1, negative="blue")
    assert read_record(own / "0.png").guided == LIMITED


def test_a_base_that_brings_another_denoiser_is_a_base(from_base):
    plain, brought = (load_base(str(from_base.export()), 32) for _ in range(2))
    plain.untuned = None
    assert brought.untuned and brought.state_dict().keys() == plain.state_dict().keys()
    pipe = DiffusionPipeline.from_pretrained(from_base.export())
    assert type(pipe).__name__ == "StableDiffusionPipeline"


def test_a_choice_of_the_models_own_leaves_no_denoiser(from_base, monkeypatch):
    monkeypatch.setattr(choice, "_clearly_better", lambda from_base, chosen: chosen)
    export(from_base, force=True)
    assert not (from_base.export() / "untuned").exists()


def test_a_denoiser_that_did_not_train_is_no_candidate(from_base):
    export(from_base, alpha_denoiser=0)
    tried = [each.guidance for each in read_guidance(from_base.export()).measured]
    assert tried and {guidance.unconditional for guidance in tried} == {"own"}


def test_of_several_extractors_only_the_first_is_loaded(project, monkeypatch):
    loaded = []

    def load(evaluate, cache=None):
        loaded.append(evaluate.extractors)
        return load_extractors(evaluate.model_copy(update={"extractor": ("nano_scorer",)}), cache)

    monkeypatch.setattr(eval_set, "load_extractors", load)
    recipe = read_run_recipe(project.path("runs", project.runs()[-1]))
    both = ("nano_scorer", "efficientnet_lite0")
    evaluated = recipe.evaluate.model_copy(update={"extractor": both})
    chosen = choice.choose_guidance(
        Shards.open(project.path("shards")),
        recipe.model_copy(update={"evaluate": evaluated}),
        load_base(str(project.export()), recipe.image_size),
    )
    assert chosen.extractor == "nano_scorer" and loaded == [("nano_scorer",)]
