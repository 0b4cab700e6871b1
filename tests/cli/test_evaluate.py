"""`unidiff evaluate`, `compare` and `ablate`."""

import json

from huggingface_hub import ModelCard

from tests.support.cli import words


def test_it_prints_base_against_tuned(unidiff, exported):
    code, out, err = unidiff("-C", exported.root, "evaluate")
    assert code == 0 and "r1_t2i" in out and "tuned" in out, err


def test_json_is_the_report(unidiff, exported):
    code, out, _ = unidiff("-C", exported.root, "evaluate", "--json")
    figures = json.loads(out)["figures"]
    assert code == 0
    assert all({"r1_t2i", "r10_i2t"} <= set(figures[model]) for model in ("base", "tuned"))


def test_the_figures_stand_in_the_model_card_of_the_export(unidiff, exported):
    unidiff("-C", exported.root, "evaluate")
    results = ModelCard.load(exported.export() / "README.md").data.eval_results
    assert "r1_t2i" in {result.metric_type for result in results}


# ---------------------------------------------------------------- gates


def test_gates_that_are_met(unidiff, exported):
    gates = ("--gate", "r1_t2i>=0, medr_i2t<1e9")
    code, out, err = unidiff("-C", exported.root, "evaluate", *gates)
    assert code == 0 and "The gate is met" in out, err


def test_a_gate_that_is_not_met_ends_with_1_and_leaves_the_report(unidiff, exported):
    code, _, err = unidiff("-C", exported.root, "evaluate", "--gate", "r1_t2i>=1.1")
    assert code == 1 and "The gate is not met: r1_t2i is" in err and "not >= 1.1" in err
    assert (exported.path("report") / "report.html").exists()


def test_a_gate_on_a_figure_that_is_not_measured_is_refused(unidiff, exported):
    assert unidiff("-C", exported.root, "evaluate", "--gate", "kid<=0.5")[0] == 2


def test_a_gate_against_the_base_needs_a_margin(unidiff, exported):
    command = ("-C", exported.root, "evaluate", "--gate", "r1_t2i>=base")
    code, _, err = unidiff(*command)
    assert code == 2 and "--margin 2" in err
    code, _, err = unidiff(*command, "--margin", "2")
    assert code == 1 and "r1_t2i: " in err and "worse by more than 2 points" in err
    report = json.loads(exported.path("report", "report.json").read_text())
    assert report["margin"] == 2 and all("not_worse" in test for test in report["tests"])


# ---------------------------------------------------------------- folds, exports, recipes


def test_folds(unidiff, project):
    options = ("--folds", "2", "--recipe", "clip-only", "--set", "train.steps=1")
    command = ("-C", project.root, "evaluate", *options)
    code, out, err = unidiff(*command, "--json")
    report = json.loads(out)
    assert code == 0 and list(report["figures"]) == ["base", "tuned"], err
    assert report["split"] == "2 folds" and report["counts"]["folds"] == 2
    assert project.path("folds", "report.html").is_file() and not project.path("report").exists()
    code, out, err = unidiff(*command, "--gate", "r1_t2i>=1.1")
    assert code == 1 and "Nothing to do: folds" in err and "The gate is not met" in err


def test_compare_prints_exports_side_by_side(unidiff, exported):
    [name] = exported.exports()
    assert unidiff("-C", exported.root, "export", "--alpha", "0.5")[0] == 0
    code, out, err = unidiff("-C", exported.root, "compare", name, f"{name}-a0.5")
    assert code == 0 and f"{name}-a0.5" in words(out), err


def test_compare_needs_two_exports(unidiff, exported):
    assert unidiff("-C", exported.root, "compare", exported.exports()[0])[0] == 2


def test_a_wrong_inception_file_is_refused(unidiff, exported):
    options = ("--inception", exported.file, "--set", "evaluate.metrics=[kid]")
    code, _, err = unidiff("-C", exported.root, "evaluate", *options)
    assert code == 3 and "is not inception-2015-12-05.pt" in words(err)


def test_ablate_prints_its_table(unidiff, project):
    options = ("--recipes", "clip-only, sd-only", "--seeds", "0", "--steps", "1")
    command = ("-C", project.root, "ablate", *options)
    code, out, err = unidiff(*command)
    assert code == 0 and "| base | clip-only | sd-only |" in out and "Next: open" in err, err
    code, out, _ = unidiff(*command, "--json")
    table = json.loads(out)
    assert code == 0 and list(table["figures"]) == ["base", "clip-only", "sd-only"]
    counts = {"recipes": 2, "seeds": 1, "folds": 0, "cells": 3}
    assert table["steps"] == 1 and table["counts"] == counts


def test_ablate_needs_seeds_that_differ(unidiff, project):
    command = ("-C", project.root, "ablate", "--recipes", "joint", "--seeds", "0,0")
    code, out, err = unidiff(*command)
    assert code == 2 and out == "" and "seeds that differ" in words(err)
