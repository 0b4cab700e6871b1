"""The collapse meters of a run: its base's kept, a collapse reported once, a run ended if asked."""

import logging

import numpy as np
import pytest
import torch

from tests.support.projects import load_recipe
from tests.support.runs import Cut, cut_at, losses
from unidiff_cli import train
from unidiff_cli.errors import WorkError
from unidiff_cli.models import loading
from unidiff_cli.project import run_log
from unidiff_cli.project.receipt import Receipt
from unidiff_cli.training.collapse_monitor import CollapseMonitor, warn_of_collapse

CAPTIONS = ["a red hat", "A red  hat", "a blue bag", "a green dress"]


@pytest.fixture
def base(tiny_base):
    return loading.load_base(str(tiny_base), 32)


def spread_out(n=4, d=16):
    x = np.random.default_rng(0).standard_normal((n, d)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def collapse(base):
    """Whatever they see, both towers give nearly the same embedding."""
    with torch.no_grad():
        for projection in (base.clip.text_projection, base.clip.visual_projection):
            projection.weight.copy_(projection.weight[:1] + 1e-4 * projection.weight)


def test_the_base_trips_nothing_against_itself(base, tmp_path):
    images = spread_out()
    monitor = CollapseMonitor(base, CAPTIONS, tmp_path, images)
    assert monitor.captions == ["a red hat", "a blue bag", "a green dress"]
    meters, sentences = monitor.measure(base, images)
    assert meters == monitor.base_meters and sentences == []
    assert meters["text_drift"] == pytest.approx(0, abs=1e-6)


def test_a_collapsed_model_trips_it_once_and_against_the_base_that_was(base, tmp_path):
    CollapseMonitor(base, CAPTIONS, tmp_path, spread_out())
    collapse(base)
    point = np.tile(spread_out(1), (4, 1))
    # What the file holds counts, not this base.
    resumed = CollapseMonitor(base, CAPTIONS, tmp_path, point)
    meters, sentences = resumed.measure(base, point)
    tripped = {"uniformity image", "effective rank image", "effective rank text"}
    assert tripped <= set(resumed.tripped) and len(sentences) == len(resumed.tripped)
    assert meters["effective_rank_image"] == pytest.approx(1)
    beginning = "the validation split: images lie closer together (uniformity_image 0, "
    assert any(sentence.startswith(beginning) for sentence in sentences)
    assert resumed.measure(base, point)[1] == []


def test_without_images_only_captions_and_the_probe_are_measured(base, tmp_path):
    meters, _ = CollapseMonitor(base, CAPTIONS, tmp_path, None).measure(base, None)
    assert "uniformity_text" in meters and "probe_uniformity_image" in meters
    assert not {"uniformity_image", "margin"} & meters.keys()


def test_a_run_logs_the_base_first_and_meters_with_every_validation(finished):
    lines = run_log.read(finished.path("runs", "001-fashion"))
    assert lines[0]["step"] == 0 and "margin" in lines[0]["collapse"]
    validations = [line for line in lines if "validation" in line]
    assert all(set(line["collapse"]) == set(lines[0]["collapse"]) for line in validations)


@pytest.fixture
def wrecked(recipe):
    """A recipe whose rates tear both towers apart within three steps."""
    wild = ["train.lr.text=0.5", "train.lr.vision=0.5", "train.ema=0", "train.warmup=0"]
    return load_recipe(recipe.base, *wild, "train.stop_on_collapse=true", name="clip-only")


def with_train(recipe, **options):
    return recipe.model_copy(update={"train": recipe.train.model_copy(update=options)})


def test_a_collapsing_run_ends_with_its_checkpoint(project, wrecked, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("unidiff"), "propagate", True)
    with pytest.raises(WorkError, match="Stopped at step 3: a collapse meter tripped"):
        train(project, wrecked)
    assert "Step 3, the validation split: " in caplog.text
    run = project.path("runs", "001-clip-only")
    assert (run / "checkpoints" / "step-000003" / "state.json").is_file()
    assert Receipt.read(run) is None


def test_a_collapsing_run_goes_on_when_asked(project, wrecked):
    with pytest.raises(WorkError):
        train(project, wrecked)
    run = project.path("runs", "001-clip-only")
    of_base = run_log.read(run)[0]
    name, _ = train(project, wrecked, resume=True)
    assert sorted(losses(project, name)) == list(range(1, 7))
    assert [line for line in run_log.read(run) if line["step"] == 0] == [of_base]


def test_a_collapse_at_the_last_step_is_not_exported_unseen(project, wrecked):
    steps = wrecked.train.steps
    late = with_train(wrecked, validate_every=steps)
    with pytest.raises(WorkError, match=f"Stopped at step {steps}: a collapse meter tripped"):
        train(project, late)
    assert Receipt.read(project.path("runs", "001-clip-only")) is None
    # Seen, and wanted.
    _, receipt = train(project, late, resume=True)
    assert receipt.figures["best"]["step"] == steps


def test_a_resumed_run_does_not_warn_again(project, wrecked):
    calm = with_train(wrecked, stop_on_collapse=False)
    with pytest.raises(Cut):
        train(project, calm, on_step=cut_at(5))
    name, _ = train(project, calm, resume=True)
    lines = run_log.read(project.path("runs", name))
    sentences = [sentence for line in lines for sentence in line.get("tripped", ())]
    meters = [sentence.split(" (")[0] for sentence in sentences]
    assert sentences and len(meters) == len(set(meters))


@pytest.mark.parametrize(
    ("objectives", "advice"),
    [
        (("objectives.anchor=null",), "--set objectives.anchor.weight=1"),
        (("objectives.anchor.weight=0",), "--set objectives.anchor.weight=1"),
        (("objectives.anchor.weight=1",), "unidiff export --alpha auto"),
    ],
)
def test_the_advice_is_nothing_that_the_run_has(tiny_base, objectives, advice, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("unidiff"), "propagate", True)
    recipe = load_recipe(tiny_base, *objectives, name="clip-only")
    warn_of_collapse({"step": 3, "tripped": ["captions: they move"]}, recipe)
    assert caplog.text.count("Step 3, captions: they move. ") == 1
    assert caplog.messages[0].endswith(advice)
