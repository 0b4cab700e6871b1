"""Summaries of an ablation: means over seeds, paired tests, and notes of all cells."""

import numpy as np
import pytest

from unidiff_cli.evaluation.results import BootstrapSamples, MetricResult, PerItem
from unidiff_cli.experiments.cells import CellResult, Training
from unidiff_cli.experiments.summary import all_pairs, average, summarise
from unidiff_cli.reports.schema import FigureSpec

SPECS = {"hit": FigureSpec("Hit", "retrieval", "higher", percent=True)}


def result_of(*hits, notes=()):
    """The hits of four items of two products."""
    items = {"hit": PerItem(np.array(hits, float), ["a", "a", "b", "b"])}
    return MetricResult({"hit": float(np.mean(hits))}, items, notes=list(notes))


def fold_of(*hits, seconds=2.0, notes=()):
    """The one fold of a seed."""
    training = Training(seconds, []) if seconds else None
    return [CellResult("cell", {"metric": result_of(*hits, notes=notes)}, training)]


PAIRS = [("joint", "fashion")]
GRID = {
    "base": {0: fold_of(0, 0, 0, 0, seconds=None)},
    "fashion": {0: fold_of(1, 0, 0, 0), 1: fold_of(1, 1, 0, 0, seconds=4.0)},
    "joint": {0: fold_of(0, 0, 0, 0), 1: fold_of(1, 0, 0, 0)},
}


def test_seeds_are_averaged_item_by_item():
    mean = average([result_of(1, 0, 0, 0), result_of(1, 1, 0, 0)])
    assert mean.per_item["hit"].values.tolist() == [1, 0.5, 0, 0]
    assert mean.figures == {"hit": 0.375}


def test_bootstrap_samples_of_seeds_are_averaged():
    seeds = [
        MetricResult({"kid": k}, bootstrap={"kid": BootstrapSamples(np.array([k, 3.0]), 40, 7)})
        for k in (1.0, 2.0)
    ]
    values, items, groups = average(seeds).bootstrap["kid"]
    assert values.tolist() == [1.5, 3.0] and (items, groups) == (40, 7)


def test_a_figure_has_a_mean_and_a_spread_over_seeds():
    figures = summarise(GRID, SPECS, PAIRS, SPECS, generated=0).figures
    assert figures["fashion"]["hit"].model_dump() == {
        "mean": 0.375,
        "sd": pytest.approx(0.1767767),
        "seeds": [0.25, 0.5],
    }
    assert figures["base"]["hit"].sd is None, "one seed has no spread"


def test_training_has_its_seconds():
    figures = summarise(GRID, SPECS, PAIRS, SPECS, generated=0).figures
    assert figures["fashion"]["seconds"].seeds == [2.0, 4.0]
    assert "seconds" not in figures["base"]


def test_folds_of_a_seed_are_pooled():
    grid = {"base": {0: fold_of(1, 0, 0, 0) + fold_of(1, 1, 1, 1)}}
    assert summarise(grid, SPECS, [], SPECS, generated=0).figures["base"]["hit"].seeds == [5 / 8]


def test_a_figure_that_one_seed_does_not_have_is_left_out():
    without = [CellResult("cell", {"metric": MetricResult({})})]
    grid = {"base": {0: fold_of(1, 0, 0, 0), 1: without}}
    assert "hit" not in summarise(grid, SPECS, [], SPECS, generated=0).figures["base"]


def test_a_pair_is_tested_by_each_figure():
    (test,) = summarise(GRID, SPECS, PAIRS, SPECS, generated=0).tests
    assert (test.model, test.against, test.figure) == ("joint", "fashion", "hit")
    assert test.difference == pytest.approx(-0.25)
    assert test.verdict == "not distinguishable", "two products say nothing"


def test_a_figure_that_is_not_asked_for_is_in_the_table_and_not_tested():
    found = summarise(GRID, SPECS, PAIRS, [], generated=0)
    assert found.tests == [] and "hit" in found.figures["joint"]


def test_a_recipe_may_be_tested_against_the_base():
    (test,) = summarise(GRID, SPECS, [("fashion", "base")], SPECS, generated=0).tests
    assert test.difference == pytest.approx(0.375)


def test_recipes_are_tested_against_the_first_and_references_and_each_pair_once():
    pairs = all_pairs(["fashion", "joint", "other"], ["joint"])
    assert pairs == [("joint", "fashion"), ("other", "fashion"), ("other", "joint")]


def test_only_notes_of_every_cell_are_in_it():
    grid = {
        name: {
            seed: fold_of(0, 0, 0, 0, notes=["Of all cells.", f"Of {name} {seed} alone."])
            for seed in seeds
        }
        for name, seeds in GRID.items()
    }
    assert summarise(grid, SPECS, PAIRS, SPECS, generated=0).notes == ["Of all cells."]
