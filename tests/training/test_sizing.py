"""Steps and batches by the catalogue: the formula, what is shown, and what a run keeps."""

import logging
import shutil
from math import sqrt

import pytest

from tests.support.projects import load_recipe
from tests.support.runs import Cut, cut_at
from unidiff_cli import train
from unidiff_cli.config.run_recipe import read_run_recipe
from unidiff_cli.errors import UsageError, WorkError
from unidiff_cli.experiments.ablation import refuse_unlike
from unidiff_cli.models import sources
from unidiff_cli.training.sizing import sized

AUTO = "train.steps=auto"


@pytest.fixture
def large(tiny_base, tmp_path):
    """A base whose folder says nothing of steps and batches, as one of Stable Diffusion."""
    folder = shutil.copytree(tiny_base, tmp_path / "large")
    (folder / "base.yaml").unlink()
    return folder


def nano(name="fashion", *assignments):
    return sources.load_recipe(name, assignments=["base=nano", *assignments])


# ---------------------------------------------------------------- steps


def test_auto_is_what_the_demo_trains_within_a_fifth():
    """The sample shop has 701 images, four fifths of them to train on."""
    fixed, automatic = nano(), sized(nano("fashion", AUTO), 561)[0]
    # 7.25 √(1000/561) · 561/64
    assert automatic.train.steps == 85
    assert abs(automatic.train.steps / fixed.train.steps - 1) < 0.2
    for key in ("validate_every", "checkpoint_every", "preview_every", "warmup"):
        assert getattr(automatic.train, key) == pytest.approx(getattr(fixed.train, key), rel=0.05)


def test_more_images_have_more_steps_and_fewer_passes_within_bounds(large):
    options = sources.load_recipe("joint", assignments=[f"base={large}"]).train
    steps = {}
    for images in (60, 100, 500, 5000, 50_000, 10**7):
        recipe, _ = sized(sources.load_recipe("joint", assignments=[f"base={large}"]), images)
        steps[images] = recipe.train.steps
    assert steps[60] == options.pace.least and steps[10**7] == options.pace.most
    # Of each step the denoiser sees 16.
    assert steps[5000] == round(options.pace.passes * sqrt(1000 * 5000) / 16)
    assert list(steps.values()) == sorted(steps.values())
    passes = [count / images for images, count in steps.items()]
    assert passes == sorted(passes, reverse=True)


def test_the_reason_is_a_sentence_with_its_numbers():
    _, [note] = sized(nano("fashion", AUTO), 561)
    assert note.startswith("steps 85: 9.7 passes over 561 training images, 64 a step (")
    assert "7.25 passes over 1,000 images" in note and "60 to 1,200 steps" in note


def test_a_sized_recipe_stays_as_it_is():
    recipe, _ = sized(nano("fashion", AUTO), 40)
    assert sized(recipe, 40) == (recipe, [])


def test_a_short_run_is_still_validated_and_warmed_up(large):
    recipe, _ = sized(sources.load_recipe("joint", assignments=[f"base={large}"]), 60)
    options = recipe.train
    assert options.steps == options.pace.least == 200
    assert options.steps // options.validate_every >= 5 and options.warmup == 20
    assert options.checkpoint_every < 100 and options.preview_every <= 100
    never, _ = sized(nano("fashion", AUTO, "train.preview_every=0"), 100)
    assert never.train.preview_every == 0


def test_a_number_of_steps_changes_nothing_but_a_batch_that_cannot_be_filled():
    given = nano("fashion", "train.steps=7", "train.warmup=100")
    assert sized(given, 561) == (given, [])


@pytest.mark.parametrize("images", [0, 1])
def test_too_few_images_are_refused(images):
    with pytest.raises(WorkError, match=f"holds {images} images"):
        sized(nano("fashion", AUTO), images)


def test_an_ablation_wants_one_number_for_all():
    with pytest.raises(UsageError, match="train.steps is auto"):
        refuse_unlike({"joint": nano("joint", AUTO), "fashion": nano("fashion", AUTO)}, [0])


# ---------------------------------------------------------------- batches


@pytest.mark.parametrize("name", ["fashion", "joint", "clip-only", "diffdis"])
def test_a_large_base_compares_at_least_256_captions_in_chunks(name, large):
    options = sized(sources.load_recipe(name, assignments=[f"base={large}"]), 10_000)[0].train
    assert options.batch_size >= 256
    assert 0 < options.chunk <= 32 and 0 < options.denoise_batch <= 16


def test_a_large_base_that_only_generates_loads_what_the_denoiser_sees(large):
    recipe, _ = sized(sources.load_recipe("sd-only", assignments=[f"base={large}"]), 10_000)
    assert (recipe.train.batch_size, recipe.train.denoise_batch) == (16, 0)


def test_a_smaller_batch_needs_no_other_sub_batch(large):
    assignments = [f"base={large}", "train.batch_size=8"]
    recipe, notes = sized(sources.load_recipe("joint", assignments=assignments), 10_000)
    assert (recipe.train.batch_size, recipe.train.denoise_batch) == (8, 8)
    assert len(notes) == 1 and "8 a step (" in notes[0]


def test_a_batch_divides_over_the_processes():
    recipe, [note] = sized(nano("fashion", "train.processes=4"), 50)
    assert recipe.train.batch_size == 48
    assert note.startswith("batch_size 48: the training split has 50 images")


def test_images_that_nothing_compares_may_be_fewer_than_a_batch():
    recipe, notes = sized(nano("sd-only"), 10)
    assert recipe.train.batch_size == 64 and notes == []


# ---------------------------------------------------------------- a run


@pytest.fixture
def notes(caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("unidiff"), "propagate", True)
    caplog.set_level(logging.INFO, "unidiff")
    return caplog


def test_a_catalogue_smaller_than_a_batch_trains_and_says_so(project, large, notes):
    """By the defaults of a large base: steps, batch, chunks and sub-batch."""
    short = ("train.pace.least=2", "train.pace.most=2", "generate.steps=1")
    images = project.receipt("shards").counts["train"]
    name, receipt = train(project, load_recipe(large, *short, name="joint"))
    assert f"batch_size {images}: the training split has {images} images" in notes.text
    assert "steps 2: " in notes.text
    options = read_run_recipe(project.path("runs", name)).train
    assert (options.batch_size, options.chunk, options.denoise_batch) == (images, 32, 16)
    assert options.steps == 2 == receipt.counts["steps"] == receipt.settings["train"]["steps"]


def test_a_run_that_resumes_keeps_its_number(project, tiny_base):
    auto = ("train.pace.least=4", "train.pace.most=4", AUTO, "train.checkpoint_every=1")
    recipe = load_recipe(tiny_base, *auto, name="clip-only")
    with pytest.raises(Cut):
        train(project, recipe, on_step=cut_at(2))
    name, receipt = train(project, recipe, resume=True)
    assert receipt.counts["steps"] == 4
    # Asked for again, it is the same work.
    assert train(project, recipe)[0] == name and project.runs() == [name]
