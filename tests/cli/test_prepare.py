"""`unidiff prepare`."""

import json
import random
from pathlib import Path

import pytest
from rich.console import Console

from tests.support.catalogue import write_catalogue, write_photos
from tests.support.cli import words
from unidiff_cli.cli import console


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
    assert code == 0 and "57 samples" in out, err
    assert "3 rows left out, each with its reason: " in out and "shards/quarantine.jsonl\n" in out
    assert "damaged" in out and "truncated: the file ends before the image does" in out
    lines = Path("project/shards/quarantine.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert {Path(row["path"]).name for row in rows} == damaged
    assert all(row["reason"] and row["row"] for row in rows)


def test_more_damage_than_allowed_fails(unidiff, damaged):
    code, out, err = unidiff("-C", "project", "prepare", "shop", "--max-bad", "1%")
    assert code == 1 and "3 of 60" in err and "--max-bad" in err and out == ""
    assert not Path("project/shards").exists()


# ---------------------------------------------------------------- what is doubtful

ARCHIVE = "--set=prepare.split_words.archive=test"


@pytest.fixture
def seasons(workplace):
    """A catalogue whose column of splits says archive for six of its 24 images."""
    splits = {"split": lambda n: "archive" if n < 6 else "train"}
    write_photos(workplace / "shop", 24, **splits)
    return ("-C", "project", "prepare", "shop")


@pytest.mark.parametrize("way", [(), ("--dry-run",), ("--check",)])
def test_a_guess_stops_and_says_how_to_go_on(unidiff, seasons, way):
    code, out, err = unidiff(*seasons, *way)
    assert code == 2 and "'archive' (6 rows)" in err, err
    proposed = "--set prepare.split_words.archive=train (or val, test)"
    for text in (proposed, "--set prepare.columns.split=''", "--yes"):
        assert text in err
    assert "images out" not in out and not Path("project/shards").exists()


@pytest.mark.parametrize(
    "way, test", [(ARCHIVE, 6), ("--set=prepare.columns.split=", None), ("--yes", None)]
)
def test_each_way_to_go_on_does(unidiff, seasons, way, test):
    code, out, err = unidiff(*seasons, way, "--check")
    assert code == 0 and "images out" in out, err
    splits = next(line for line in out.splitlines() if line.startswith("splits"))
    assert test is None or f", {test} test" in splits
    assert ("'archive'" in out) is ("'archive'" in err) is (way == "--yes")


def test_a_guess_that_is_accepted_is_a_warning_that_quiet_shows(unidiff, seasons):
    for way in ("--dry-run", "--check"):
        code, _, err = unidiff("-q", *seasons, "--yes", way)
        assert code == 0 and err.startswith("warning: ") and "'archive'" in err
        assert len(err.splitlines()) == 1
    code, out, _ = unidiff("-q", *seasons, "--yes")
    assert code == 0 and "warning: " in out and "24 samples" in out


def test_strict_refuses_a_guess_and_says_that_yes_does_not_help(unidiff, seasons):
    for way in ("--dry-run", "--check"):
        code, _, err = unidiff(*seasons, "--yes", "--strict", way)
        assert code == 2 and "--strict accepts no guess" in err


@pytest.fixture
def linked(workplace):
    """A folder of 40 images, one of them a link that leads out: a warning."""
    shop = write_photos(workplace / "shop", 40)
    (workplace / "outside.jpg").write_bytes((shop / "images" / "3.jpg").read_bytes())
    (shop / "images" / "3.jpg").unlink()
    (shop / "images" / "3.jpg").symlink_to(workplace / "outside.jpg")
    return ("-C", "project", "prepare", "shop")


def test_strict_refuses_what_is_only_a_warning_elsewhere(unidiff, linked):
    code, out, err = unidiff(*linked, "--strict")
    assert code == 2 and "leave out --strict" in err and not Path("project/shards").exists()
    code, out, err = unidiff("-q", *linked)
    assert code == 0 and err.startswith("warning: 1 not read") and "39 samples" in out
    assert "warning: 1 not read" in out and "1 row left out, each with its reason" in out


def test_a_check_writes_the_page_and_a_later_prepare_works(unidiff, seasons):
    code, out, err = unidiff(*seasons, "--yes", "--check")
    left = sorted(file.name for file in Path("project/cache/prepare").iterdir())
    assert left == ["quarantine.jsonl", "report.html"] and not Path("project/shards").exists()
    assert "cache/prepare/report.html" in out and "No shards were written" in err
    code, again, err = unidiff(*seasons, "--yes")
    assert code == 0 and "24 samples" in again and "Nothing to do" not in err
    assert again.split("The report")[0] == out.split("The report")[0]


def test_a_dry_run_says_how_it_is_read_first_and_names_settings_that_were_changed(unidiff, seasons):
    changes = ("--set", "prepare.columns.id=image", "--set", "prepare.max_side=64")
    code, out, err = unidiff(*seasons, "--yes", "--dry-run", *changes)
    head, _, settings = out.partition("settings that are not the defaults:\n")
    assert code == 0 and "split = split" in head and "--check" in err
    # Two of them are those of the tests' own project file.
    expected = "columns: id: image max_side: 64 near_duplicates: 0 workers: 1"
    assert settings.split() == expected.split() and "no rows" not in out


# ---------------------------------------------------------------- 80 columns


def test_the_end_is_read_in_80_columns(unidiff, damaged, monkeypatch):
    options = {"width": 80, "soft_wrap": True, "color_system": None, **console.PLAIN}
    monkeypatch.setattr(console, "out", Console(force_terminal=True, **options))
    code, out, _ = unidiff("-C", "project", "prepare", "shop", "--check")
    table, _, after = out.partition("\n3 rows left out")
    assert code == 0 and max(map(len, table.splitlines())) <= 80
    assert "truncated: the file ends before the image does" in words(
        " ".join(line[:40] for line in table.splitlines())
    )
    # Each on a line of its own, whole.
    lines = after.splitlines()
    for name in ("quarantine.jsonl", "report.html"):
        path = Path("project/cache/prepare", name).absolute()
        assert any(line.endswith(str(path)) for line in lines)
