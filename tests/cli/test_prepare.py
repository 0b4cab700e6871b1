"""`unidiff prepare`."""

import json
import random
from pathlib import Path

import pytest

from tests.support.catalogue import write_catalogue


def test_a_dry_run_writes_nothing(unidiff, workplace, catalogue):
    options = ("--dry-run", "--set", "prepare.max_side=64")
    code, out, _ = unidiff("-C", "new", "prepare", catalogue, *options)
    assert code == 0 and "max_side: 64" in out and "caption" in out and not Path("new").exists()


def test_a_second_time_does_nothing(unidiff, workplace, catalogue):
    unidiff("-C", "project", "prepare", catalogue)
    code, out, err = unidiff("-C", "project", "prepare", catalogue)
    assert code == 0 and "Nothing to do" in err and "samples" in out


def test_force_runs_again_and_the_recipe_is_remembered(unidiff, workplace, catalogue):
    unidiff("-C", "project", "prepare", catalogue)
    options = ("--force", "--recipe", "joint")
    code, _, err = unidiff("-C", "project", "prepare", catalogue, *options)
    assert code == 0 and "images: 60 of 60" in err
    assert "recipe: joint" in Path("project/unidiff.yaml").read_text()


def test_a_table_without_captions_names_its_columns(unidiff, workplace):
    write_catalogue(workplace / "shop", products=4)
    table = workplace / "shop" / "catalog.csv"
    lines = [line.split(",") for line in table.read_text().splitlines()]
    table.write_text("".join(f"{row[0]},{row[2]},{row[3]}\n" for row in lines))
    code, _, err = unidiff("-C", "project", "prepare", "shop")
    assert code == 2 and all(name in err for name in ("caption", "image", "product", "color")), err


@pytest.fixture
def wordy(workplace):
    """A catalogue whose captions begin alike and have more tokens than nano reads."""
    shop = write_catalogue(workplace / "shop", products=15)
    table = shop / "catalog.csv"
    header, *lines = table.read_text().splitlines()
    start = "of our house " * 20
    lines = [line.replace(",", f",{start}", 1) for line in lines]
    table.write_text("\n".join([header, *lines]) + "\n")
    return shop


def test_captions_are_counted_by_the_tokenizer_of_the_base(unidiff, wordy):
    code, out, err = unidiff("-C", "project", "prepare", wordy, "--set", "base=nano")
    assert code == 0 and "nano reads 40" in out and "30 (100.0%)" in out
    assert "captions equal after the cut" in out and "train.long_captions=split" in err
    page = Path("project/shards/report.html").read_text()
    assert page.count("<del") == 3 and "The tokenizer of nano counted" in page


def test_strict_refuses_captions_that_are_cut(unidiff, wordy):
    code, _, err = unidiff("-C", "project", "prepare", wordy, "--strict", "--set", "base=nano")
    assert code == 2 and "more than the 40 tokens" in err
    assert not Path("project/shards").exists()


def test_without_the_bases_tokenizer_words_are_counted(unidiff, workplace, catalogue):
    code, out, err = unidiff("-C", "project", "prepare", catalogue, "--set", "base=gone")
    assert code == 0 and "not counted" in out and "There is no base 'gone'" in err


@pytest.fixture
def damaged(workplace):
    """60 images, three of them damaged: one cut short, one a text, one of random bytes."""
    shop = write_catalogue(workplace / "shop")
    images = sorted((shop / "images").iterdir())
    images[7].write_bytes(images[7].read_bytes()[:100])
    images[20].write_text("not an image at all")
    images[33].write_bytes(random.Random(0).randbytes(2000))
    return {images[row].name for row in (7, 20, 33)}


def test_damaged_images_are_listed_with_their_reason(unidiff, damaged):
    code, out, err = unidiff("-C", "project", "prepare", "shop")
    assert code == 0 and "57 samples" in out and "3 bad" in out, err
    lines = Path("project/shards/quarantine.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert {Path(row["path"]).name for row in rows} == damaged
    assert all(row["reason"] and row["row"] for row in rows)


def test_more_damage_than_allowed_fails(unidiff, damaged):
    code, out, err = unidiff("-C", "project", "prepare", "shop", "--max-bad", "1%")
    assert code == 1 and "3 of 60" in err and "--max-bad" in err and out == ""
    assert not Path("project/shards").exists()
