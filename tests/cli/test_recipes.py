"""`unidiff recipes`: list, show, copy, validate, schema."""

import json
from pathlib import Path

import pytest

from unidiff_cli.config.shipped import shipped_recipes


@pytest.fixture
def on_base(tiny_base):
    return "--set", f"base={tiny_base}"


def test_list(unidiff, workplace):
    code, out, err = unidiff("recipes", "list")
    assert code == 0 and "fashion" in out and "sd-only" in out and err == ""
    assert {"name", "description"} == set(json.loads(unidiff("recipes", "list", "--json")[1])[0])


def test_show_prints_the_file(unidiff, workplace):
    shipped = shipped_recipes()["fashion"].read_text()
    assert unidiff("recipes", "show", "fashion") == (0, shipped, "")


def test_show_resolved_prints_every_default_and_the_bases_numbers(unidiff, workplace, on_base):
    out = unidiff("recipes", "show", "fashion", "--resolved", *on_base)[1]
    assert "checkpoint_every: 3" in out and "image_size: 32" in out and "kind: auto" in out


def test_show_resolved_says_what_steps_auto_is_here(unidiff, workplace, on_base, prepared):
    options = ("recipes", "show", "fashion", "--resolved", *on_base, "--set", "train.steps=auto")
    code, out, err = unidiff("-C", prepared.root, *options)
    assert code == 0 and "steps: auto\n" in out and "steps 329: " in err
    assert "once a catalogue is prepared" in unidiff(*options)[2]


def test_copy(unidiff, workplace):
    assert unidiff("recipes", "copy", "fashion", "mine.yaml")[:2] == (0, "mine.yaml\n")
    assert Path("mine.yaml").read_text() == shipped_recipes()["fashion"].read_text()


def test_validate_names_the_objectives(unidiff, workplace, on_base):
    unidiff("recipes", "copy", "fashion", "mine.yaml")
    code, out, _ = unidiff("recipes", "validate", "mine.yaml", *on_base)
    assert code == 0 and "mine: valid. Objectives: anchor, consistency, contrastive, " in out


def test_validate_names_the_line_of_a_problem(unidiff, workplace, on_base):
    text = shipped_recipes()["fashion"].read_text().replace("denoise:", "denose:")
    Path("mine.yaml").write_text(text)
    line = next(i for i, row in enumerate(text.splitlines(), 1) if "denose:" in row)
    code, out, err = unidiff("recipes", "validate", "mine.yaml", *on_base)
    assert code == 2 and out == ""
    assert f"mine.yaml:{line}: no objective named 'denose'. Did you mean 'denoise'?" in err


def test_schema(unidiff, workplace):
    properties = json.loads(unidiff("recipes", "schema")[1])["properties"]
    assert properties["train"] and properties["index"]
