"""ablate on a tiny random base: one table of a grid, and no cell is done twice."""

import json
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from tests.support.projects import copy_project, load_recipe
from unidiff_cli.config.ablation_plan import PlannedTests
from unidiff_cli.errors import Interrupted, UsageError
from unidiff_cli.experiments import cells, folds
from unidiff_cli.experiments.ablation import ablate, joint_recipes, refuse_unlike
from unidiff_cli.project.receipt import Receipt
from unidiff_cli.reports.ablation_schema import AblationReport

pytestmark = pytest.mark.usefixtures("scorer_folder")

RECALL = 'evaluate.metrics=["recall"]'
SMALL = (
    "train.steps=2",
    "train.batch_size=4",
    "train.checkpoint_every=1",
    "train.validate_every=1",
    "generate.steps=1",
    "evaluate.images=4",
)


@pytest.fixture(scope="module")
def recipe_of(tiny_base):
    """A function: a recipe's name and assignments → the recipe with few steps and images."""
    return lambda name, *assignments: load_recipe(tiny_base, *SMALL, *assignments, name=name)


@pytest.fixture
def recipes(recipe_of):
    """Two recipes measured by recall alone."""
    return {name: recipe_of(name, RECALL) for name in ("clip-only", "joint")}


@pytest.fixture
def project(prepared, tmp_path):
    return copy_project(prepared, tmp_path)


@pytest.fixture
def done(monkeypatch):
    """The names of the cells that were run."""
    names, run_cell = [], cells.run_cell

    def counted(cell, on_progress=None):
        names.append(cell.name)
        run_cell(cell, on_progress)

    monkeypatch.setattr(cells, "run_cell", counted)
    return names


def read_table(project):
    """table.json as plain data."""
    return json.loads((project.path("ablation") / "table.json").read_text())


# ---------------------------------------------------------------- the table


@pytest.fixture(scope="module")
def ablated(tmp_path_factory, prepared, recipe_of, scorer_folder):
    """A project after two recipes × two seeds × two folds, its receipt and its progress."""
    project, calls = copy_project(prepared, tmp_path_factory.mktemp("ablated")), []
    recipes = {name: recipe_of(name) for name in ("clip-only", "joint")}
    on_progress = lambda *values: calls.append(values)  # noqa: E731
    return project, ablate(project, recipes, [0, 1], 2, on_progress=on_progress), calls


def test_the_grid_has_the_base_once_for_each_fold(ablated):
    _, receipt, _ = ablated
    assert receipt.counts == {"recipes": 2, "seeds": 2, "folds": 2, "cells": 2 + 2 * 2 * 2}


def test_table_json_is_a_report(ablated):
    project, _, _ = ablated
    text = (project.path("ablation") / "table.json").read_text()
    json.loads(text, parse_constant=lambda constant: pytest.fail(f"{constant} in JSON"))
    assert AblationReport.model_validate_json(text).models == ["base", "clip-only", "joint"]


@pytest.mark.parametrize(
    "key",
    [
        "r1_t2i",
        "r10_i2t",
        "map_t2i",
        "kid",
        "clip_score",
        "clip_score_distance",
        "probe_accuracy",
        "uniformity_image",
        "seconds",
    ],
)
def test_a_figure_is_a_mean_over_seeds(ablated, key):
    figure = read_table(ablated[0])["figures"]["joint"][key]
    assert len(figure["seeds"]) == 2
    assert figure["mean"] == pytest.approx(np.mean(figure["seeds"]))
    assert figure["sd"] == pytest.approx(np.std(figure["seeds"], ddof=1))


def test_the_base_has_one_seed_and_no_training(ablated):
    base = read_table(ablated[0])["figures"]["base"]
    assert base["kid"]["sd"] is None and len(base["r1_i2t"]["seeds"]) == 1
    assert "seconds" not in base


def test_tests_are_over_all_rows(ablated):
    table = read_table(ablated[0])
    assert {(test["model"], test["against"]) for test in table["tests"]} == {("joint", "clip-only")}
    tests = {test["figure"]: test for test in table["tests"]}
    assert (tests["r1_i2t"]["items"], tests["r1_i2t"]["groups"]) == (60, 30)
    for key in ("r1_i2t", "probe_accuracy"):
        first, second = (table["figures"][name][key]["mean"] for name in ("clip-only", "joint"))
        assert tests[key]["difference"] == pytest.approx(second - first)


def test_the_page_has_plots_and_loads_nothing(ablated):
    page = (ablated[0].path("ablation") / "report.html").read_text()
    assert "<svg" in page and "http://" not in page
    assert "not distinguishable" in page
    assert "Validation: loss" in page
    specs = read_table(ablated[0])["specs"]
    for x, y in (("probe_accuracy", "map_t2i"), ("map_t2i", "kid")):
        assert f"{specs[y]['label']} and {specs[x]['label']}" in page
    assert "up and to the right is better" in page and "down and to the right is better" in page


def test_the_markdown_has_the_table_and_its_limits(ablated):
    text = (ablated[0].path("ablation") / "table.md").read_text()
    assert "| mean ± s.d. over seeds | base | clip-only | joint |" in text
    assert "- joint against clip-only: Text-to-image R@1 is" in text
    assert "do not cover new seeds" in text


def test_the_cells_leave_nothing_but_their_results(ablated):
    project, _, _ = ablated
    assert list(project.path("cache", "ablation").iterdir()) == []
    assert len(list(project.path("cells").glob("*.json"))) == 10
    assert not project.path("runs").exists()
    assert "/ablation\n" in (project.root / ".gitignore").read_text()


def test_progress_counts_cells_and_the_time_left(ablated):
    _, _, calls = ablated
    assert calls[0] == ("cells", 0, 10)
    ends = [call for call in calls if call[:3] == ("cells", 10, 10)]
    assert ends and "min left" in ends[0][3]


@pytest.mark.slow
def test_a_recipe_that_teaches_another_encoder_is_measured_by_it(project, recipe_of):
    """Its CLIP is the base's, and would be measured as that."""
    ablate(project, {"diffdis": recipe_of("diffdis", RECALL)}, [0])
    figures = read_table(project)["figures"]
    assert figures["diffdis"]["map_i2t"]["mean"] != figures["base"]["map_i2t"]["mean"]


def test_the_joint_recipe_is_told_by_its_objectives(recipe_of):
    names = ("clip-only", "sd-only", "joint", "fashion")
    assert joint_recipes({name.upper(): recipe_of(name) for name in names}) == ["JOINT"]


def test_a_plan_says_which_tests_are_made(project, recipes, done):
    tests = PlannedTests(pairs=[("joint", "base"), ("joint", "clip-only")], figures=["map_t2i"])
    ablate(project, recipes, [0], tests=tests)
    table = read_table(project)
    made = [(test["model"], test["against"], test["figure"]) for test in table["tests"]]
    assert made == [("joint", "base", "map_t2i"), ("joint", "clip-only", "map_t2i")]
    assert any("Only the tests of the plan were made" in note for note in table["notes"])
    assert "r1_i2t" in table["figures"]["joint"], "a figure without a test stays in the table"
    # The same cells, with all tests.
    ablate(project, recipes, [0])
    assert len(read_table(project)["tests"]) > 2 and len(done) == 3


@pytest.mark.parametrize(
    ("pair", "figure", "problem"),
    [
        (("joint", "clip_only"), "map_t2i", "'clip_only', and there is no such model. Did you"),
        (("joint", "base"), "map_t2j", "'map_t2j', and there is no such judged figure. Did you"),
    ],
)
def test_tests_of_what_is_not_there_cost_no_training(project, recipes, done, pair, figure, problem):
    with pytest.raises(UsageError, match=problem):
        ablate(project, recipes, [0], tests=PlannedTests(pairs=[pair], figures=[figure]))
    assert done == []


def test_a_line_through_what_is_not_there_costs_no_training(project, recipes, done):
    with pytest.raises(UsageError, match="'half', and there is no such model"):
        ablate(project, recipes, [0], joined=[("base", "half", "clip-only")])
    assert done == []


# ---------------------------------------------------------------- what is done is not done again


def test_a_stopped_ablation_continues(project, recipes, done, monkeypatch):
    counted = cells.run_cell

    def killed(cell, on_progress=None):
        if len(done) == 2:
            raise Interrupted(15, "Killed.")
        counted(cell, on_progress)

    with monkeypatch.context() as patch:
        patch.setattr(cells, "run_cell", killed)
        with pytest.raises(Interrupted):
            ablate(project, recipes, [0, 1])
    assert done == ["base", "clip-only-s0"] and Receipt.read(project.path("ablation")) is None
    ablate(project, recipes, [0, 1])
    assert done[2:] == ["joint-s0", "clip-only-s1", "joint-s1"]


def test_a_finished_ablation_does_nothing(project, recipes, done):
    first = ablate(project, recipes, [0])
    assert ablate(project, recipes, [0]).finished == first.finished
    assert len(done) == 3


@pytest.mark.slow
def test_another_recipe_adds_its_cells(project, recipes, recipe_of, done):
    ablate(project, recipes, [0])
    ablate(project, {**recipes, "sd-only": recipe_of("sd-only", RECALL)}, [0])
    assert done[3:] == ["sd-only-s0"]


@pytest.mark.slow
@pytest.mark.parametrize("change", ["objectives.denoise.weight=0.5", "train.lr.vision=1e-5"])
def test_a_changed_recipe_is_done_again(project, recipes, recipe_of, done, change):
    ablate(project, recipes, [0])
    ablate(project, {**recipes, "joint": recipe_of("joint", RECALL, change)}, [0])
    assert done[3:] == ["joint-s0"]


@pytest.mark.slow
def test_a_change_that_decides_no_weight_does_nothing(project, recipes, recipe_of, done):
    ablate(project, recipes, [0])
    same = (RECALL, "train.checkpoint_every=2", "train.preview_every=1")
    ablate(project, {name: recipe_of(name, *same) for name in recipes}, [0])
    assert len(done) == 3


@pytest.mark.slow
def test_another_baseline_uses_the_same_cells(project, recipes, done):
    def baselines():
        return {test["against"] for test in read_table(project)["tests"]}

    ablate(project, recipes, [0])
    assert baselines() == {"clip-only"}
    ablate(project, dict(reversed(recipes.items())), [0])
    assert baselines() == {"joint"} and len(done) == 3


@pytest.mark.slow
def test_a_cell_with_damaged_files_is_done_again(project, recipes, done):
    def figures(receipt):
        return {
            model: {key: value for key, value in values.items() if key != "seconds"}
            for model, values in receipt.figures.items()
        }

    first = ablate(project, recipes, [0])
    folder = project.path("cells")
    arrays = folder / "joint-s0.safetensors"
    arrays.write_bytes(arrays.read_bytes()[:-8] + b"damaged!")
    (folder / "clip-only-s0.json").write_text('{"work": ')
    again = ablate(project, recipes, [0])
    assert sorted(done[3:]) == ["clip-only-s0", "joint-s0"]
    assert figures(again) == figures(first), "the same cell gives the same figures"


@pytest.mark.slow
def test_an_interrupted_training_is_resumed(project, recipes, monkeypatch):
    train, resumed = folds.train, []

    def stop(line):
        raise Interrupted(15, "Killed.")

    def recorded(inner, recipe, **options):
        resumed.append(options.get("resume"))
        return train(inner, recipe, **options)

    killed = lambda inner, recipe, **options: train(inner, recipe, on_step=stop, **options)  # noqa: E731
    monkeypatch.setattr(folds, "train", killed)
    with pytest.raises(Interrupted):
        ablate(project, recipes, [0])
    monkeypatch.setattr(folds, "train", recorded)
    ablate(project, recipes, [0])
    assert resumed == ["001-clip-only", None]


@pytest.mark.slow
def test_exports_can_be_kept(project, recipes):
    ablate(project, recipes, [0], keep_exports=True)
    folder = project.path("cache", "ablation")
    names = {path.parents[1].name.rsplit("-", 1)[0] for path in folder.glob("*/exports/001-*")}
    assert names == {"clip-only-s0", "joint-s0"}
    assert not list(folder.glob("*/runs"))


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ("train.steps=3", "train.steps"),
        ("train.batch_size=8", "train.batch_size"),
        ("train.no_duplicates=true", "train.no_duplicates"),
        ("image_size=64", "image_size"),
        ("generate.steps=9", "generate"),
    ],
)
def test_recipes_that_differ_in_more_than_objectives_are_refused(recipe_of, change, key):
    recipes = {"joint": recipe_of("joint"), "fashion": recipe_of("fashion", change)}
    with pytest.raises(UsageError, match=f"joint and fashion differ in {key}"):
        refuse_unlike(recipes, [0])


def test_a_seed_given_twice_is_refused(recipe_of):
    with pytest.raises(UsageError, match="seeds that differ"):
        refuse_unlike({"joint": recipe_of("joint")}, [0, 0])


def test_a_recipe_named_base_is_refused(recipe_of):
    with pytest.raises(UsageError, match="taken for the base"):
        refuse_unlike({"base": recipe_of("joint")}, [0])


# ---------------------------------------------------------------- processes


def ablate_command(project, base, jobs):
    """`unidiff ablate` of two recipes and two seeds, in another process."""
    values = {
        "base": base,
        "train.steps": 2,
        "train.batch_size": 4,
        "generate.steps": 1,
        "prepare.near_duplicates": 0,
    }
    options = [f"--set={key}={value}" for key, value in values.items()] + [f"--set={RECALL}"]
    grid = ["--recipes", "clip-only,joint", "--seeds", "0,1", "--jobs", str(jobs)]
    program = [sys.executable, "-m", "unidiff_cli.cli", "-C", str(project.root)]
    return [*program, "ablate", *grid, *options]


def cell_processes(project):
    """The command lines of the processes that run cells of a project."""
    lines = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    return [line for line in lines if b"processes" in line and str(project.root).encode() in line]


@pytest.mark.slow
def test_two_processes_give_what_one_gives_and_stop_whole(prepared, tmp_path, tiny_base):
    (tmp_path / "a").mkdir(), (tmp_path / "b").mkdir()
    one, two = copy_project(prepared, tmp_path / "a"), copy_project(prepared, tmp_path / "b")
    subprocess.run(ablate_command(one, tiny_base, 1), check=True, timeout=300)
    command = ablate_command(two, tiny_base, 2)
    # Not a pipe: nobody reads it before the end, and a full one would stop the command.
    said = tmp_path / "stderr"
    with open(said, "w") as stream:
        # A job in the background of a shell has SIGINT ignored, and so has what it starts.
        heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
        process = subprocess.Popen(command, stderr=stream, preexec_fn=heard)
    while not list(two.path("cells").glob("base.json")):
        time.sleep(0.1)
        assert process.poll() is None
    time.sleep(2)
    # Between two cells there may be none for a moment.
    while not cell_processes(two):
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 130
    assert "Continue with the same command" in said.read_text()
    assert not cell_processes(two)
    subprocess.run(command, check=True, timeout=300)
    first, second = (read_table(project)["figures"] for project in (one, two))
    for model, figures in first.items():
        for key, value in figures.items():
            if key != "seconds":
                seeds = second[model][key]["seeds"]
                assert seeds == pytest.approx(value["seeds"], abs=1e-5), (model, key)


@pytest.mark.slow
def test_cells_end_with_the_process_that_started_them(prepared, tmp_path, tiny_base):
    project = copy_project(prepared, tmp_path)
    process = subprocess.Popen(ablate_command(project, tiny_base, 2), stderr=subprocess.DEVNULL)
    while not cell_processes(project):
        time.sleep(0.1)
        assert process.poll() is None
    process.kill()
    process.wait()
    deadline = time.monotonic() + 30
    while cell_processes(project):
        time.sleep(0.1)
        assert time.monotonic() < deadline
