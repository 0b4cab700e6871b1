"""Splits in other languages, of several words, in later rows, and images that no row names."""

import shlex
from collections import Counter
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from tests.support.catalogue import jpeg, put
from unidiff_cli.config.prepare import Columns, Prepare
from unidiff_cli.data import readers
from unidiff_cli.data.doubts import Doubt
from unidiff_cli.data.readers import Reader, table
from unidiff_cli.data.sample import Sample
from unidiff_cli.data.split_words import split_of
from unidiff_cli.models.sources import load_recipe

GOODS = ("dress", "shirt", "skirt", "coat")
TRAIN_TEST = ("train", "train", "train", "test")


def caption(n: int) -> str:
    return f"{('red', 'blue', 'green')[n % 3]} {GOODS[n % 4]} number {n}"


def catalogue(folder: Path, column: str, values: list[str], name="catalog.csv") -> Path:
    """A table with a column of these values."""
    lines = [f"image,title,{column}"]
    for n, value in enumerate(values):
        put(folder / f"p{n}.jpg")
        lines.append(f"p{n}.jpg,{caption(n)},{value}")
    put(folder / name, "\n".join(lines) + "\n")
    return folder


def in_folders(folder: Path, folders: list[str]) -> Path:
    """A table of images in these folders."""
    lines = ["file_name,text"]
    for n, name in enumerate(folders):
        put(folder / name / f"p{n}.jpg")
        lines.append(f"{name}/p{n}.jpg,{caption(n)}")
    put(folder / "metadata.csv", "\n".join(lines) + "\n")
    return folder


def read(folder: Path, **options) -> tuple[Reader, Counter[str | None], list[Doubt]]:
    """A reader after all rows are read, the splits of its samples, and its doubts."""
    reader = readers.choose(folder, Prepare(**options))
    reader.extent()
    doubts = reader.doubts()
    return reader, Counter(item.split for item in reader if isinstance(item, Sample)), doubts


@pytest.fixture
def short_head(monkeypatch):
    """Eight rows are looked at to understand a table."""
    monkeypatch.setattr(table, "HEAD", 8)


# ---------------------------------------------------------------- words


@pytest.mark.parametrize(
    ("word", "split"),
    [
        ("entraînement", "train"),
        ("ENTRAÎNEMENT", "train"),
        ("entrenamiento", "train"),
        ("Prüfung", "test"),
        ("validación", "val"),
        ("validação", "val"),
        ("treningowy", "train"),
        ("walidacja", "val"),
        ("Training set", "train"),
        ("Test set", "test"),
        ("jeu d'entraînement", "train"),
        ("conjunto de prueba", "test"),
        ("seen_test", "test"),
        ("unseen_test", "test"),
        ("test_seen", "test"),
        ("val_unseen", "val"),
        ("query/gallery", "test"),
        ("held-out test", "test"),
        ("trainval", "train"),
        ("train-dev", "train"),
        ("test-dev", "test"),
        # Held-out rows may be among them.
        ("train_test", None),
        ("train+val", None),
        ("training/test", None),
        ("val/test", None),
        ("set", None),
    ],
)
def test_words_in_other_spellings(word, split):
    assert split_of(word, "split") == split


@pytest.mark.parametrize(
    ("column", "word", "split"),
    [("es_prueba", "sí", "test"), ("is_test", "nein", "train"), ("Train/Test", "1", None)],
)
def test_yes_and_no_in_other_languages(column, word, split):
    assert split_of(word, column) == split


# ---------------------------------------------------------------- columns and folders


@pytest.mark.parametrize(
    ("column", "values", "held"),
    [
        ("jeu", ("entraînement", "entraînement", "validation", "test"), (10, 5, 5)),
        ("conjunto", ("entrenamiento", "entrenamiento", "entrenamiento", "prueba"), (15, 0, 5)),
        ("Aufteilung", ("Training", "Training", "Training", "Prüfung"), (15, 0, 5)),
        ("Dataset", ("Training set", "Training set", "Training set", "Test set"), (15, 0, 5)),
        ("Podział", ("trening", "trening", "walidacja", "test"), (10, 5, 5)),
        ("what", ("Training", "Training", "Validierung", "Test"), (10, 5, 5)),
        ("split", ("train", "train", "seen_test", "unseen_test"), (10, 0, 10)),
        # What is no split.
        ("Dataset", tuple(f"set {n}" for n in range(20)), (0, 0, 0)),
        ("kind", ("train", "bus", "car", "bus"), (0, 0, 0)),
        ("usage", ("Training", "Running", "Yoga", "Casual"), (0, 0, 0)),
        ("category", ("train set", "test kit", "doll", "doll"), (0, 0, 0)),
    ],
)
def test_columns_of_splits_are_understood(tmp_path, column, values, held):
    shop = catalogue(tmp_path, column, [values[n % len(values)] for n in range(20)])
    _, splits, doubts = read(shop)
    assert (splits["train"], splits["val"], splits["test"]) == held
    assert not doubts


@pytest.mark.parametrize(
    ("column", "values", "words"),
    [
        ("Train/Test", ("Yes", "Yes", "Yes", "No"), "'Yes' (15 rows), 'No' (5 rows)"),
        ("dataset", ("A", "A", "A", "B"), "'A' (15 rows), 'B' (5 rows)"),
        ("jeu", ("test", "autre", "train", "train"), "'autre' (5 rows)"),
        ("phase", ("train", "train", "train", "kontroll"), "'kontroll' (5 rows)"),
        ("what", ("train", "val", "koe", "train"), "'koe' (5 rows)"),
        ("split", ("train", "train", "train", "train+val"), "'train+val' (5 rows)"),
        ("what", ("Training set", "Training set", "Test set", "Test set"), "'what' may say"),
    ],
)
def test_what_is_half_understood_stops(tmp_path, column, values, words):
    _, _, (doubt,) = read(catalogue(tmp_path, column, [values[n % 4] for n in range(20)]))
    assert words in doubt.fact and doubt.stops
    assert not read(tmp_path, columns=Columns(split=""))[2]


@pytest.mark.parametrize(
    ("folders", "held", "word"),
    [
        (["entrainement"] * 8 + ["validation", "test"], (8, 1, 1), ""),
        (["Entraînement"] * 8 + ["Essai"] * 2, (8, 0, 2), ""),
        (["opetus"] * 8 + ["validation", "test"], (8, 1, 1), "'opetus' (8 rows)"),
        (["train"] * 8 + ["koe"] * 2, (10, 0, 0), "'koe' (2 rows)"),
        (["seen_test", "train", "train"], (2, 0, 1), ""),
        (["train", "bus", "car", "train", "bus", "car"], (0, 0, 0), ""),
    ],
)
def test_folders_of_splits_are_understood_or_asked_for(tmp_path, folders, held, word):
    _, splits, doubts = read(in_folders(tmp_path, folders))
    assert (splits["train"], splits["val"], splits["test"]) == held
    assert [doubt.stops for doubt in doubts] == [True] * bool(word)
    assert all(word in doubt.fact for doubt in doubts)


def test_a_folder_is_explained_by_the_recipe(tmp_path):
    shop = in_folders(tmp_path, ["train"] * 8 + ["koe"] * 2)
    _, splits, doubts = read(shop, split_words={"koe": "test"})
    assert splits == {"train": 8, "test": 2} and not doubts


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        ("train seen_test unseen_test", {"train": 2, "test": 4}),
        ("items_entrenamiento items_prueba", {"train": 2, "test": 2}),
    ],
)
def test_names_of_tables_say_the_split(tmp_path, names, splits):
    for number, name in enumerate(names.split()):
        rows = [f"{name}-{n}.jpg,{caption(2 * number + n)}" for n in range(2)]
        for n in range(2):
            put(tmp_path / f"{name}-{n}.jpg")
        put(tmp_path / f"{name}.csv", "\n".join(["image,title", *rows]) + "\n")
    assert read(tmp_path)[1] == splits


# ---------------------------------------------------------------- later rows


@pytest.mark.parametrize(
    ("column", "late"),
    [("purpose", "test"), ("what", "prueba"), ("jeu", "validation"), ("what", "holdout")],
)
def test_a_split_that_later_rows_show_is_read(tmp_path, short_head, column, late):
    shop = catalogue(tmp_path, column, ["train"] * 12 + [late] * 4)
    reader, splits, doubts = read(shop)
    assert splits == {"train": 12, split_of(late): 4}
    if column == "what":
        (doubt,) = doubts
        assert f"'{late}' (4)" in doubt.fact and not doubt.stops
        assert not read(shop, columns=Columns(split=column))[2]
    assert reader.decisions()["split column"] == column


def test_folders_that_later_rows_show_are_splits(tmp_path, short_head):
    shop = in_folders(tmp_path, ["train"] * 12 + ["test"] * 4)
    _, splits, (doubt,) = read(shop)
    assert splits == {"train": 12, "test": 4} and "'test' (4)" in doubt.fact
    assert not read(shop, split_words={"test": "test"})[2]
    assert read(shop, columns=Columns(split=""))[1] == {None: 16}


def test_classes_in_later_rows_are_no_splits(tmp_path, short_head):
    shop = in_folders(tmp_path, ["train"] * 10 + ["bus"] * 8 + ["car"] * 8)
    assert read(shop)[1:] == ({None: 26}, [])


@pytest.mark.parametrize("words", ["False True", "0 1", "no yes"])
def test_a_flag_that_later_rows_set_is_asked_for(tmp_path, short_head, words):
    no, yes = words.split()
    _, _, (doubt,) = read(catalogue(tmp_path, "is_valid", [no] * 12 + [yes] * 4))
    assert "is_valid" in doubt.fact and doubt.stops


def test_several_tables_show_a_split_together(tmp_path):
    rows = [("train", n) for n in range(6)] + [("test", n) for n in range(6, 8)]
    for n in range(8):
        put(tmp_path / f"p{n}.jpg")
    for number, split in enumerate(("train", "test")):
        part = [f"p{n}.jpg,{caption(n)},{s}" for s, n in rows if s == split]
        name = f"part-{number:05d}-of-00002.csv"
        put(tmp_path / name, "\n".join(["image,title,what", *part]) + "\n")
    _, splits, doubts = read(tmp_path)
    assert splits == {"train": 6, "test": 2} and "'test' (2)" in doubts[0].fact


def test_a_parquet_with_images_shows_its_late_split(tmp_path, short_head):
    for name, late, words in (("a", "test", "'test' (4)"), ("b", "kontroll", "")):
        rows = [
            {"image": jpeg(), "text": caption(n), "what": "train" if n < 12 else late}
            for n in range(16)
        ]
        path = tmp_path / f"{name}.parquet"
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
        _, splits, doubts = read(path)
        assert splits == ({"train": 12, "test": 4} if words else {None: 16})
        assert all(words in doubt.fact for doubt in doubts) and bool(doubts) == bool(words)


# ---------------------------------------------------------------- images that no row names


def test_a_folder_without_rows_is_said(tmp_path):
    names = [f"p{n}.jpg" for n in range(6)]
    for n, name in enumerate(names):
        put(tmp_path / "train" / name)
        put(tmp_path / "test" / f"q{n}.jpg")
    rows = [f"{name},{caption(n)}" for n, name in enumerate(names)]
    put(tmp_path / "train" / "metadata.csv", "\n".join(["file_name,text", *rows]) + "\n")
    reader, _, (doubt,) = read(tmp_path)
    assert "6 images in test are named by no row of the table, such as test/q0.jpg" in doubt.fact
    assert not doubt.stops and 6 in reader.notes.values()


@pytest.mark.parametrize(
    ("extra", "options", "fact"),
    [
        ("val/q.jpg", {}, "1 image in val is named by no row"),
        ("more/q.jpg", {}, ""),
        ("thumbnails/q.jpg", {}, ""),
        ("q1.jpg q2.jpg q3.jpg", {}, "3 images in the catalogue are named by no row"),
        ("q1.jpg q2.jpg q3.jpg", {"tables": ["catalog.csv"]}, ""),
        ("q1.jpg q2.jpg q3.jpg", {"where": {"view": "main"}}, ""),
    ],
)
def test_many_unnamed_images_are_doubtful(tmp_path, extra, options, fact):
    catalogue(tmp_path, "view", ["main"] * 24)
    for name in extra.split():
        put(tmp_path / name)
    _, _, doubts = read(tmp_path, **options)
    assert len(doubts) == bool(fact) and all(fact in doubt.fact for doubt in doubts)


@pytest.mark.parametrize("word", ["Set A", "0.0", "a'b", "x.y z"])
def test_what_a_doubt_proposes_can_be_pasted(tmp_path, word):
    rows = [f"a.jpg,hat {n},{word if n < 4 else 'train'}" for n in range(12)]
    put(tmp_path / "a.jpg")
    put(tmp_path / "a.csv", "\n".join(["image,title,split", *rows]))
    (doubt,) = [doubt for doubt in read(tmp_path)[2] if doubt.stops]
    proposed = doubt.action.partition(": ")[2].partition(" (or val")[0]
    flag, text = shlex.split(proposed)
    assert flag == "--set"
    recipe = load_recipe("fashion", assignments=[text])
    assert recipe.prepare.split_words == {word: "train"}


@pytest.mark.parametrize("column", ["conjunto", "ensemble", "in_gallery", "unseen"])
def test_a_yes_or_no_of_something_else_is_no_split(tmp_path, column):
    assert not read(catalogue(tmp_path, column, [("no", "si")[n % 2] for n in range(20)]))[2]
