"""The collapse meters of a run: its base's kept, a collapsed model said once, and the run ended when asked."""

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
from unidiff_cli.training import collapse_monitor

CAPTIONS = ["a red hat", "A red  hat", "a blue bag", "a green dress"]


@pytest.fixture
def base(tiny_base):
    return loading.load_base(str(tiny_base), 32)


def spread_out(n=4, d=16):
    x = np.random.default_rng(0).standard_normal((n, d)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def collapse(base):
    """Whatever they are shown, both towers say nearly the same."""
    with torch.no_grad():
        for projection in (base.clip.text_projection, base.clip.visual_projection):
            projection.weight.copy_(projection.weight[:1] + 1e-4 * projection.weight)


def test_the_base_trips_nothing_against_itself(base, tmp_path):
    images = spread_out()
    watched = collapse_monitor.CollapseMonitor(base, CAPTIONS, tmp_path, images)
    assert watched.captions == ["a red hat", "a blue bag", "a green dress"]
    found, said = watched.look(base, images)
    assert found == watched.base_meters and said == []
    assert found["text_drift"] == pytest.approx(0, abs=1e-6)


def test_a_collapsed_model_trips_it_once_and_against_the_base_that_was(base, tmp_path):
    collapse_monitor.CollapseMonitor(base, CAPTIONS, tmp_path, spread_out())
    collapse(base)
    point = np.tile(spread_out(1), (4, 1))
    resumed = collapse_monitor.CollapseMonitor(
        base, CAPTIONS, tmp_path, point
    )  # what the file holds counts, not this base
    found, said = resumed.look(base, point)
    assert {"uniformity_image", "effective_rank_image", "effective_rank_text"} <= set(
        resumed.tripped
    )
    assert found["effective_rank_image"] == pytest.approx(1) and len(said) == len(resumed.tripped)
    assert any(
        s.startswith("the validation split: images lie closer together (uniformity_image 0, ")
        for s in said
    )
    assert resumed.look(base, point)[1] == []


def test_without_images_only_captions_and_the_probe_are_watched(base, tmp_path):
    found, _ = collapse_monitor.CollapseMonitor(base, CAPTIONS, tmp_path, None).look(base, None)
    assert "uniformity_text" in found and "uniformity_image" not in found and "margin" not in found
    assert "probe_uniformity_image" in found


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


def test_a_collapsing_run_ends_with_its_checkpoint_and_goes_on_when_asked(
    project, wrecked, caplog, monkeypatch
):
    monkeypatch.setattr(logging.getLogger("unidiff"), "propagate", True)
    with pytest.raises(WorkError, match="Stopped at step 3: a collapse meter tripped"):
        train(project, wrecked)
    assert "Step 3, the validation split: " in caplog.text
    run = project.path("runs", "001-clip-only")
    assert (run / "checkpoints" / "step-000003" / "state.json").is_file() and not (
        run / "receipt.json"
    ).exists()
    before = run_log.read(run)[0]
    name, _ = train(project, wrecked, resume=True)
    assert sorted(losses(project, name)) == list(range(1, 7))
    assert [line for line in run_log.read(run) if line["step"] == 0] == [before]


def test_a_collapse_at_the_last_step_is_not_exported_unseen(project, wrecked):
    late = wrecked.model_copy(
        update={"train": wrecked.train.model_copy(update={"validate_every": wrecked.train.steps})}
    )
    with pytest.raises(
        WorkError, match=f"Stopped at step {late.train.steps}: a collapse meter tripped"
    ):
        train(project, late)
    assert Receipt.read(project.path("runs", "001-clip-only")) is None
    name, receipt = train(project, late, resume=True)  # seen, and wanted
    assert receipt.figures["best"]["step"] == late.train.steps


def test_a_resumed_run_does_not_warn_again(project, wrecked):
    calm = wrecked.model_copy(
        update={"train": wrecked.train.model_copy(update={"stop_on_collapse": False})}
    )
    with pytest.raises(Cut):
        train(project, calm, on_step=cut_at(5))
    name, _ = train(project, calm, resume=True)
    said = [s for line in run_log.read(project.path("runs", name)) for s in line.get("tripped", ())]
    meters = [s.split(" (")[0] for s in said]
    assert said and len(meters) == len(set(meters))
