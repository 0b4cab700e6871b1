"""ablate on a tiny random base: one table of a grid, what is done is not done again, and what is no fair comparison."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.support.base import write_base
from tests.support.projects import copy_project, load_recipe
from unidiff_cli.errors import Interrupted, UsageError
from unidiff_cli.evaluation import extractors
from unidiff_cli.evaluation.extractors import nano_scorer
from unidiff_cli.evaluation.results import FigureSpec, MetricResult, PerItem
from unidiff_cli.experiments import cells as cells_module
from unidiff_cli.experiments.ablation import ablate, refuse_unlike
from unidiff_cli.experiments.summary import averaged, summarised
from unidiff_cli.project.receipt import Receipt


@pytest.fixture(scope="module", autouse=True)
def scorer_folder(tmp_path_factory):
    """A random CLIP in the scorer's place, and one thread."""
    threads, patch = torch.get_num_threads(), pytest.MonkeyPatch()
    torch.set_num_threads(1)
    patch.setattr(
        nano_scorer, "FOLDER", write_base(tmp_path_factory.mktemp("scorer"), seed=7) / "clip"
    )
    extractors.scorer.cache_clear()
    yield
    patch.undo()
    extractors.scorer.cache_clear()
    torch.set_num_threads(threads)


@pytest.fixture
def asking(tiny_base):
    def make(name, *more):
        small = (
            "train.steps=2",
            "train.batch_size=4",
            "train.checkpoint_every=1",
            "train.validate_every=1",
        )
        small += ("generate.steps=1", "evaluate.images=4")
        return load_recipe(tiny_base, *small, *more, name=name)

    return make


@pytest.fixture
def recall(asking):
    """Two recipes measured by recall alone."""
    return {name: asking(name, 'evaluate.metrics=["recall"]') for name in ("clip-only", "joint")}


@pytest.fixture
def worked(monkeypatch):
    """The names of the cells that were done."""
    done, work = [], cells_module.work

    def watched(cell, told=None):
        done.append(cell.name)
        work(cell, told)

    monkeypatch.setattr(cells_module, "work", watched)
    return done


def test_a_recipe_that_finds_by_diffusion_is_measured_so(prepared, tmp_path, asking, recall):
    """Its CLIP is the base's, and would be measured as that."""
    project = copy_project(prepared, tmp_path)
    only = asking("diffdis", 'evaluate.metrics=["recall"]')
    assert cells_module.finder(only) == "diffdis" and {
        cells_module.finder(r) for r in recall.values()
    } == {"clip"}
    ablate(project, {"diffdis": only}, [0])
    found = json.loads((project.path("ablation") / "table.json").read_text())["figures"]
    assert found["diffdis"]["map_i2t"]["mean"] != found["base"]["map_i2t"]["mean"]


def test_a_grid_becomes_one_table(prepared, tmp_path, asking, worked):
    project = copy_project(prepared, tmp_path)
    variants, told = {name: asking(name) for name in ("clip-only", "joint")}, []
    receipt = ablate(project, variants, [0, 1], 2, on_progress=lambda *what: told.append(what))
    assert len(worked) == len(set(worked)) == 2 + 2 * 2 * 2 and worked[:2] == ["base-f0", "base-f1"]
    assert receipt.counts == {"recipes": 2, "seeds": 2, "folds": 2, "cells": 10}
    room = project.path("ablation")
    found = json.loads(
        (room / "table.json").read_text(), parse_constant=lambda text: pytest.fail(text)
    )
    figures = found["figures"]
    assert list(figures) == ["base", "clip-only", "joint"]
    for key in (
        "r1_t2i",
        "r10_i2t",
        "map_t2i",
        "kid",
        "clip_score",
        "probe_accuracy",
        "uniformity_image",
        "seconds",
    ):
        seeds = figures["joint"][key]["seeds"]
        assert len(seeds) == 2 and figures["joint"][key]["mean"] == pytest.approx(np.mean(seeds))
        assert figures["joint"][key]["sd"] == pytest.approx(np.std(seeds, ddof=1))
    assert figures["base"]["kid"]["sd"] is None and "seconds" not in figures["base"]
    assert len(figures["base"]["r1_i2t"]["seeds"]) == 1
    assert {(t["model"], t["against"]) for t in found["tests"]} == {("joint", "clip-only")}
    tested = {t["figure"]: t for t in found["tests"]}
    assert tested["r1_i2t"]["items"] == 60 and tested["r1_i2t"]["groups"] == 30
    for key in ("r1_i2t", "probe_accuracy"):
        both = [figures[m][key]["mean"] for m in ("clip-only", "joint")]
        assert tested[key]["difference"] == pytest.approx(both[1] - both[0])
    page = (room / "report.html").read_text()
    assert (
        "<svg" in page
        and "http://" not in page.replace("http://www.w3.org", "")
        and "not distinguishable" in page
    )
    assert "Validation: loss" in page and "Found and kept" in page
    table = (room / "table.md").read_text()
    assert (
        "| mean ± s.d. over seeds | base | clip-only | joint |" in table
        and "do not hold the spread" in table
    )
    assert list(project.path("cache", "ablation").iterdir()) == [], "weights are let go"
    assert (
        not project.path("runs").exists()
        and "/ablation\n" in (project.root / ".gitignore").read_text()
    )
    assert told[0][:3] == ("cells", 0, 10)
    assert ("cells", 10, 10) in [t[:3] for t in told] and any(
        "min left" in t[3] for t in told if len(t) > 3
    )


def test_what_is_done_is_not_done_again(prepared, tmp_path, recall, worked, monkeypatch, asking):
    project = copy_project(prepared, tmp_path)
    counted = cells_module.work

    def killed(cell, told=None):
        if len(worked) == 2:
            raise Interrupted(15, "Killed.")
        counted(cell, told)

    monkeypatch.setattr(cells_module, "work", killed)
    with pytest.raises(Interrupted):
        ablate(project, recall, [0, 1])
    assert worked == ["base", "clip-only-s0"] and Receipt.read(project.path("ablation")) is None
    monkeypatch.setattr(cells_module, "work", counted)
    first = ablate(project, recall, [0, 1])
    assert worked[2:] == ["joint-s0", "clip-only-s1", "joint-s1"]
    assert ablate(project, recall, [0, 1]).finished == first.finished and len(worked) == 5
    more = {**recall, "sd-only": asking("sd-only", 'evaluate.metrics=["recall"]')}
    ablate(project, more, [0, 1])
    assert worked[5:] == ["sd-only-s0", "sd-only-s1"]
    changed = {
        **more,
        "joint": asking("joint", 'evaluate.metrics=["recall"]', "objectives.denoise.weight=0.5"),
    }
    ablate(project, changed, [0, 1])
    assert worked[7:] == ["joint-s0", "joint-s1"], "another recipe of that name"


def test_a_cell_whose_files_are_damaged_is_done_again(prepared, tmp_path, recall, worked):
    project = copy_project(prepared, tmp_path)
    first = ablate(project, recall, [0])
    cells = project.path("ablation", "cells")
    items = cells / "joint-s0.safetensors"
    items.write_bytes(items.read_bytes()[:-8] + b"damaged!")
    (cells / "clip-only-s0.json").write_text('{"work": ')
    again = ablate(project, recall, [0])
    assert sorted(worked[3:]) == ["clip-only-s0", "joint-s0"]

    def timeless(receipt):
        return {
            m: {k: v for k, v in f.items() if k != "seconds"} for m, f in receipt.figures.items()
        }

    assert timeless(again) == timeless(first), "the same cell gives the same figures"


def test_an_interrupted_training_goes_on(prepared, tmp_path, recall, monkeypatch):
    from unidiff_cli.experiments import cross_validation

    project, train, resumed = copy_project(prepared, tmp_path), cross_validation.train, []

    def killed(inner, recipe, **options):
        def stop(line):
            raise Interrupted(15, "Killed.")

        return train(inner, recipe, on_step=stop, **options)

    def watched(inner, recipe, **options):
        resumed.append(options.get("resume"))
        return train(inner, recipe, **options)

    monkeypatch.setattr(cross_validation, "train", killed)
    with pytest.raises(Interrupted):
        ablate(project, recall, [0])
    monkeypatch.setattr(cross_validation, "train", watched)
    ablate(project, recall, [0])
    assert resumed == ["001-clip-only", None]


def test_keep_keeps_exports(prepared, tmp_path, recall):
    project = copy_project(prepared, tmp_path)
    ablate(project, recall, [0], keep=True)
    left = sorted(
        p.parent.parent.name.rsplit("-", 1)[0]
        for p in project.path("cache", "ablation").glob("*/exports/001-*")
    )
    assert left == ["clip-only-s0", "joint-s0"]
    assert not list(project.path("cache", "ablation").glob("*/runs"))


def test_what_is_no_fair_comparison_is_refused(asking):
    joint = asking("joint")
    for change in (
        "train.steps=3",
        "train.batch_size=8",
        "train.no_duplicates=true",
        "image_size=64",
        "generate.steps=9",
    ):
        key = change.split(".")[0] if change.startswith("gen") else change.split("=")[0]
        with pytest.raises(UsageError, match=f"joint and fashion differ in {key}"):
            refuse_unlike({"joint": joint, "fashion": asking("fashion", change)}, [0])
    with pytest.raises(UsageError, match="seeds that differ"):
        refuse_unlike({"joint": joint}, [0, 0])
    with pytest.raises(UsageError, match="taken for the base"):
        refuse_unlike({"base": joint}, [0])


def test_seeds_are_averaged_item_by_item():
    def measured(*hits):
        items = {"hit": PerItem(np.array(hits, float), ["a", "a", "b", "b"])}
        return MetricResult({"hit": float(np.mean(hits))}, items, {}, {}, {}, [])

    one = averaged([measured(1, 0, 0, 0), measured(1, 1, 0, 0)])
    assert one.items["hit"].values.tolist() == [1, 0.5, 0, 0] and one.figures == {"hit": 0.375}

    def cell(*hits):
        return [{"measured": {"m": measured(*hits)}, "training": {"seconds": 2.0}}]

    about = {"hit": FigureSpec("Hit", "retrieval", "higher", percent=True)}
    cells = {
        "base": {0: cell(0, 0, 0, 0)},
        "fashion": {0: cell(1, 0, 0, 0), 1: cell(1, 1, 0, 0)},
        "joint": {0: cell(0, 0, 0, 0), 1: cell(1, 0, 0, 0)},
    }
    found = summarised(cells, about)
    assert found["figures"]["fashion"]["hit"] == {
        "mean": 0.375,
        "sd": pytest.approx(0.1767767),
        "seeds": [0.25, 0.5],
    }
    assert [(t["model"], t["against"]) for t in found["tests"]] == [("joint", "fashion")]
    assert found["tests"][0]["difference"] == pytest.approx(-0.25)
    assert found["tests"][0]["verdict"] == "not distinguishable"  # two products say nothing
    assert found["notes"] == []
    for model, seeds in cells.items():
        for seed, (fold,) in seeds.items():
            fold["measured"]["m"].notes.extend(["Of all cells.", f"Of {model} {seed} alone."])
    assert summarised(cells, about)["notes"] == ["Of all cells."]


@pytest.mark.slow
def test_two_at_a_time_give_what_one_gives_and_ctrl_c_stops_whole(prepared, tmp_path, tiny_base):
    (tmp_path / "a").mkdir(), (tmp_path / "b").mkdir()
    one, two = copy_project(prepared, tmp_path / "a"), copy_project(prepared, tmp_path / "b")
    small = {
        "base": tiny_base,
        "train.steps": 2,
        "train.batch_size": 4,
        "generate.steps": 1,
        "prepare.near_duplicates": 0,
    }
    given = [f"--set={k}={v}" for k, v in small.items()] + ['--set=evaluate.metrics=["recall"]']

    def command(project, jobs, *more):
        return [sys.executable, "-m", "unidiff_cli.cli.app", "-C", str(project.root), "ablate", "--recipes", "clip-only,joint",
                "--seeds", "0,1", "--jobs", str(jobs), *given, *more]  # fmt: skip

    subprocess.run(command(one, 1), check=True, timeout=300)
    process = subprocess.Popen(command(two, 2), stderr=subprocess.PIPE, text=True)
    cells = two.path("ablation", "cells")
    while not list(cells.glob("base.json")):
        time.sleep(0.1)
        assert process.poll() is None
    time.sleep(2)
    process.send_signal(signal.SIGINT)
    assert (
        process.wait(timeout=60) == 130
        and "Continue with the same command" in process.stderr.read()
    )
    lines = [p.read_bytes() for p in Path("/proc").glob("[0-9]*/cmdline") if p.exists()]
    assert not [
        line for line in lines if b"unidiff_cli.ablate" in line and str(two.root).encode() in line
    ]
    subprocess.run(command(two, 2), check=True, timeout=300)
    figures = [
        json.loads((p.path("ablation") / "table.json").read_text())["figures"] for p in (one, two)
    ]
    for model in figures[0]:
        for key, value in figures[0][model].items():
            if key != "seconds":
                assert figures[1][model][key]["seeds"] == pytest.approx(value["seeds"], abs=1e-5), (
                    model,
                    key,
                )


def test_the_same_cells_are_held_against_another_recipe_when_it_is_named_first(
    prepared, tmp_path, recall, worked
):
    project = copy_project(prepared, tmp_path)

    def against():
        return {
            t["against"]
            for t in json.loads((project.path("ablation") / "table.json").read_text())["tests"]
        }

    ablate(project, recall, [0])
    first, cells = against(), list(worked)
    ablate(project, dict(reversed(recall.items())), [0])
    assert (first, against()) == ({"clip-only"}, {"joint"})
    assert worked == cells  # none is done again


def test_a_change_that_decides_no_weight_does_no_cell_again(
    prepared, tmp_path, recall, worked, asking
):
    project = copy_project(prepared, tmp_path)
    ablate(project, recall, [0])
    cells = list(worked)
    same = 'evaluate.metrics=["recall"]', "train.checkpoint_every=2", "train.preview_every=1"
    ablate(project, {name: asking(name, *same) for name in recall}, [0])
    assert worked == cells
    ablate(project, {name: asking(name, same[0], "train.lr.vision=1e-5") for name in recall}, [0])
    assert len(worked) == len(cells) + 2
