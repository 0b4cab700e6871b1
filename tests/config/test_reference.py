"""The reference page of recipe keys: every key once, with type, default and meaning."""

import re
from pathlib import Path

import pytest

from tests.support.recipes import leaves
from unidiff_cli import registry
from unidiff_cli.config.reference import page
from unidiff_cli.config.schema import EXTENDS, recipe_model

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def rows():
    """Key -> the other cells of its row."""
    cells = [
        re.split(r"(?<!\\) \| ", line.strip("| \n"))
        for line in page().splitlines()
        if line.startswith("| `")
    ]
    keys = [row[0] for row in cells]
    assert len(keys) == len(set(keys))
    return {row[0].strip("`† "): row for row in cells}


def test_the_committed_page_is_what_the_schema_says():
    committed = ROOT / "docs" / "reference" / "recipe-keys.md"
    assert committed.read_text(encoding="utf-8") == page(), "run: make docs"


def test_every_key_has_a_row_with_a_meaning(rows):
    # A key of files, which a recipe in force does not have.
    assert {EXTENDS, *(key for key, _ in leaves(recipe_model()))} == rows.keys()
    assert [key for key, row in rows.items() if len(row) != 4 or not row[3]] == []


@pytest.mark.parametrize("name", registry.names("objectives"))
def test_every_objective_has_a_table(name):
    assert f"\n### objectives.{name}\n" in page()


@pytest.mark.parametrize(
    ("key", "kind", "default"),
    [
        ("train.steps", "integer, ≥ 1", "`2000`"),
        ("train.schedule", "`cosine`, `linear`", "`cosine`"),
        ("train.seed", "integer, ≥ 0, ≤ 2^62", "`0`"),
        ("prepare.splits", "list of 3: number", "`[0.8, 0.1, 0.1]`"),
        ("prepare.columns.id", "text or null", "null"),
        ("base", "text or mapping", "`auto`"),
        ("base.clip", "text", "required"),
        ("evaluate.probe", "text", '`""`'),
        ("image_size", "integer, ≥ 8, a multiple of 8", "`512`"),
    ],
)
def test_a_key_has_its_type_and_default_in_words(rows, key, kind, default):
    assert rows[key][1].startswith(kind) and rows[key][2] == default


def test_keys_that_change_no_weight_are_marked(rows):
    assert rows["train.workers"][0].endswith("†") and not rows["train.steps"][0].endswith("†")
