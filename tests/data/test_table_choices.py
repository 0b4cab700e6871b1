"""What a row of a table means: its caption, its product and its split, by name and content."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tests.support.catalogue import put
from tests.support.reading import read
from unidiff_cli.config.prepare import Columns, Prepare
from unidiff_cli.data import readers
from unidiff_cli.data.doubts import Doubt
from unidiff_cli.data.readers import Reader
from unidiff_cli.data.sample import Cause
from unidiff_cli.data.split_words import split_of
from unidiff_cli.data.splits import code_of, doubts
from unidiff_cli.errors import UsageError

GOODS = ("dress", "shirt", "skirt", "coat")


def caption(n: int) -> str:
    return f"{('red', 'blue', 'green')[n % 3]} {GOODS[n % 4]} number {n}"


def sentence(n: int) -> str:
    return f"A well made {caption(n)} for the summer"


def catalogue(folder: Path, count: int = 24, sep: str = ",", **columns) -> Path:
    """A table with an image column; another column is a function of the row's number."""
    lines = [sep.join(["image", *columns])]
    for n in range(count):
        lines.append(sep.join([f"p{n}.jpg", *(str(value(n)) for value in columns.values())]))
        put(folder / f"p{n}.jpg")
    return put(folder / "catalog.csv", "\n".join(lines) + "\n")


def reader_of(path: Path, **options) -> tuple[Reader, list[Doubt]]:
    """A reader after a pass, and its doubts."""
    reader = readers.choose(path, Prepare(**options))
    list(reader)
    return reader, reader.doubts()


# ---------------------------------------------------------------- captions


@pytest.mark.parametrize(
    ("columns", "chosen"),
    [
        ({"alt": lambda n: "image" if n == 3 else "", "title": caption}, "title"),
        ({"text": lambda n: ("no", "yes")[n % 2], "title": caption}, "title"),
        ({"text": lambda n: n % 2, "name": caption}, "name"),
        ({"title": lambda n: f"p{n}", "product_name": caption}, "product_name"),
        ({"title": lambda n: f"DSC_{n:04d}", "description": caption}, "description"),
        ({"name": lambda n: f"SKU-{n}", "description": caption}, "description"),
        ({"caption": lambda n: f"https://x.org/{n}", "alt_text": caption}, "alt_text"),
        ({"text": lambda n: f"photos/p{n}.jpg", "prompt": caption}, "prompt"),
        ({"alt": lambda n: "product image", "title": caption}, "title"),
        ({"alt": caption, "title": lambda n: "Acme Shop"}, "alt"),
        ({"title": caption, "description": caption}, "title"),
        ({"title": lambda n: f"{GOODS[n % 3]} / S", "product_title": caption}, "product_title"),
        (
            {"title": lambda n: f"Red / {n}", "product_name": caption},
            "product_name",
        ),
        ({"product_name": lambda n: GOODS[n % 4], "title": caption}, "title"),
        ({"Bezeichnung": caption, "Artikelnummer": lambda n: f"S{n}"}, "Bezeichnung"),
        ({"nom": caption, "prix": lambda n: n}, "nom"),
        (
            {"name": lambda n: f"IMG_{n:04d}", "label": lambda n: GOODS[n % 4], "notes": caption},
            "notes",
        ),
    ],
)
def test_the_caption_is_chosen_by_name_and_content(tmp_path, columns, chosen):
    reader, _ = reader_of(catalogue(tmp_path, **columns))
    assert reader.columns.captions == [chosen] and len(list(reader)) == 24
    assert reader.decisions()["caption column"] == chosen
    assert any("of 24 differ" in line for line in reader.describe())


@pytest.mark.parametrize(
    ("columns", "words", "stops"),
    [
        ({"caption": lambda n: "a photo of sks dress"}, "only 1 differ", False),
        ({"caption": lambda n: GOODS[n % 4]}, "only 4 differ", False),
        (
            {"title": lambda n: "Bild folgt" if n % 3 == 0 else caption(n)},
            "'Bild folgt' is the caption of 8 rows in the first 24 rows",
            False,
        ),
        ({"title": lambda n: caption(n) if n % 2 else "", "description": caption}, "50%", False),
        (
            {
                "name": lambda n: f"{GOODS[n % 4]} {n // 4 % 2}",
                "description": lambda n: f"a {caption(n)}",
            },
            "only 8 differ, so the caption is 'description'",
            False,
        ),
        (
            {"name": lambda n: f"{chr(65 + n)}nna Mey{chr(97 + n)}", "listing": sentence},
            "'name' may hold names of people",
            False,
        ),
        (
            {"text": lambda n: f"It broke after {n} days", "product_title": caption},
            "'text' and 'product_title' may both be the caption",
            True,
        ),
        ({"prompt": sentence, "title": lambda n: caption(n + 1)}, "may both be the caption", True),
        ({"text": lambda n: ("no", "yes")[n % 2]}, "holds yes and no", True),
        ({"name": lambda n: f"IMG_{n:04d}"}, "holds names of files", True),
        ({"notes": caption, "remarks": lambda n: caption(n + 1)}, "one of: notes, remarks", True),
    ],
)
def test_a_doubtful_caption_is_said(tmp_path, columns, words, stops):
    _, (doubt, *_) = reader_of(catalogue(tmp_path, **columns))
    assert words in doubt.fact and doubt.stops == stops


def test_a_kind_of_goods_is_no_caption(tmp_path):
    with pytest.raises(UsageError, match="no caption column.*{label}"):
        read(catalogue(tmp_path, label=lambda n: GOODS[n % 4], colour=lambda n: n % 4))


def test_captions_that_repeat_within_a_product_are_no_doubt(tmp_path):
    path = catalogue(tmp_path, title=lambda n: caption(n // 6), product_id=lambda n: f"P{n // 6}")
    assert not reader_of(path)[1]


def test_the_photos_of_one_product_may_have_one_caption(tmp_path):
    title = {"title": lambda n: caption(max(n, 8))}
    assert not reader_of(catalogue(tmp_path / "a", sku=lambda n: f"S{max(n, 8)}", **title))[1]
    (doubt,) = reader_of(catalogue(tmp_path / "b", **title))[1]
    assert "is the caption of 9 rows" in doubt.fact


def test_a_caption_column_without_texts_is_read(tmp_path):
    path = catalogue(tmp_path, title=caption, notes=lambda n: "")
    assert len(read(path, columns=Columns(caption="notes"))[1]) == 24


@pytest.mark.parametrize(
    "columns",
    [
        {
            "title": lambda n: caption(n // 3),
            "sku": lambda n: f"S{n // 3}",
            "description": sentence,
        },
        {"title": caption, "notes": sentence},
        {"name": caption, "description": sentence},
        # One holds the other.
        {"text": sentence, "title": caption},
    ],
)
def test_a_title_is_not_given_up_for_a_longer_text(tmp_path, columns):
    reader, doubts = reader_of(catalogue(tmp_path, **columns))
    assert reader.columns.captions == [next(iter(columns))] and not doubts


def test_several_caption_columns_give_several_captions_or_the_first(tmp_path):
    path = catalogue(
        tmp_path, title=lambda n: caption(n) if n % 2 else "", description=lambda n: f"about {n}"
    )
    columns = Columns(caption=("title", "description"))
    captions = [s.captions for s in read(path, columns=columns)[0]]
    assert captions[:2] == [("about 0",), (caption(1), "about 1")]
    first = [s.captions for s in read(path, columns=columns, captions="first")[0]]
    assert first[:2] == [("about 0",), (caption(1),)]
    assert "title" not in read(path, columns=columns)[0][0].attributes
    _, rejected = read(path, columns=Columns(caption="title"))
    assert len(rejected) == 12 and rejected[0].reason.cause is Cause.NO_CAPTION


def test_numbered_caption_columns_are_all_read(tmp_path):
    columns = {f"caption_{k}": lambda n, k=k: f"{caption(n)} seen {k} times" for k in range(5)}
    assert {len(s.captions) for s in read(catalogue(tmp_path, **columns))[0]} == {5}


def test_a_caption_column_that_is_not_there_is_named(tmp_path):
    path = catalogue(tmp_path, title=caption)
    with pytest.raises(UsageError, match="prepare.columns.caption is 'titel'.*'title'"):
        read(path, columns=Columns(caption=("title", "titel")))


# ---------------------------------------------------------------- products


@pytest.mark.parametrize(
    ("columns", "chosen", "products"),
    [
        ({"product_id": lambda n: f"P{n // 3}"}, "product_id", 8),
        ({"id": lambda n: n // 3}, "id", 8),
        ({"sku": lambda n: f"S{n // 5}"}, "sku", 5),
        ({"asin": lambda n: f"B00{n // 2}X"}, "asin", 12),
        ({"handle": lambda n: f"red-dress-{n // 4}"}, "handle", 6),
        ({"style_code": lambda n: f"ST{n // 4}", "sku": lambda n: f"S{n}"}, "style_code", 6),
        ({"Item Group ID": lambda n: n // 2, "id": lambda n: n}, "Item Group ID", 12),
        # Three photos of each, told by their names.
        (
            {"product": lambda n: ("Anna", "Berta", "Clara", "Dora", "Emma", "Fina")[n // 4]},
            "product",
            6,
        ),
        ({"sku": lambda n: f"S{n}"}, None, 0),
        ({}, None, 0),
    ],
)
def test_rows_are_grouped_by_a_column_that_is_said(tmp_path, columns, chosen, products):
    path = catalogue(tmp_path, title=lambda n: caption(n // 4), **columns)
    reader, _ = reader_of(path)
    assert reader.decisions().get("product column") == chosen
    assert len({s.product for s in read(path)[0]} - {None}) == products


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (lambda n: GOODS[n % 4], "kinds of goods, 4 in 40 rows"),
        (lambda n: "Acme", "1 different value in 40 rows"),
        (lambda n: f"K{n % 2}", "2 different values in 40 rows"),
    ],
)
def test_a_column_of_kinds_groups_nothing_and_it_is_said(tmp_path, values, words):
    path = catalogue(tmp_path, 40, caption=caption, product=values)
    assert {s.product for s in read(path)[0]} == {None}
    _, (doubt,) = reader_of(path)
    assert words in doubt.fact and not doubt.stops
    mapped = read(path, columns=Columns(product="product"))[0]
    assert {s.product for s in mapped} == {values(n) for n in range(4)}


def test_a_parent_without_a_parent_is_its_own(tmp_path):
    path = catalogue(
        tmp_path,
        9,
        title=caption,
        sku=lambda n: f"S{n}",
        parent_sku=lambda n: "" if n % 3 == 0 else f"S{n - n % 3}",
    )
    assert [s.product for s in read(path)[0]] == [f"S{n - n % 3}" for n in range(9)]


# ---------------------------------------------------------------- splits


@pytest.mark.parametrize(
    ("word", "column", "split"),
    [
        ("Train", "split", "train"),
        ("TEST", "split", "test"),
        ("hold-out", "split", "test"),
        ("Held Out", "split", "test"),
        ("eval", "split", "test"),
        ("query", "split", "test"),
        ("gallery", "split", "test"),
        ("dev", "split", "val"),
        ("seen", "split", "train"),
        ("unseen", "split", "test"),
        ("test_unseen", "split", "test"),
        ("test-A", "split", "test"),
        ("val2017", "split", "val"),
        ("validation_matched", "split", "val"),
        ("train-dev", "split", "train"),
        ("restval", "split", "train"),
        ("1", "is_test", "test"),
        ("0", "is_test", "train"),
        ("True", "isTest", "test"),
        ("no", "in_train", "test"),
        ("yes", "is_val", "val"),
        ("1.0", "holdout", "test"),
        ("1", "split", None),
        ("0", "flag", None),
        ("spring", "split", None),
        ("2023", "split", None),
        ("new_test", "split", None),
        ("", "split", None),
    ],
)
def test_words_of_a_split(word, column, split):
    assert split_of(word, column) == split


@pytest.mark.parametrize(
    ("column", "values", "options", "splits"),
    [
        ("split", lambda n: "test_unseen" if n % 4 == 0 else "train", {}, (18, 0, 6)),
        ("subset", lambda n: ("query", "gallery", "train")[n % 3], {}, (8, 0, 16)),
        ("is_test", lambda n: int(n % 4 == 0), {}, (18, 0, 6)),
        ("is_train", lambda n: n % 4 != 0, {}, (18, 0, 6)),
        ("phase", lambda n: "dev" if n % 4 == 0 else "train", {}, (18, 6, 0)),
        (
            "season",
            lambda n: 2023 + (n % 4 == 0),
            {"columns": Columns(split="season"), "split_words": {"2024": "test", "2023": "train"}},
            (18, 0, 6),
        ),
        # A column of these words, whatever it is called.
        ("dataset", lambda n: "test" if n % 4 == 0 else "train", {}, (18, 0, 6)),
        # Columns with such names and words that mean other things.
        ("category", lambda n: ("train set", "test kit", "doll")[n % 3], {}, (0, 0, 0)),
        ("usage", lambda n: ("Casual", "Sports")[n % 2], {}, (0, 0, 0)),
        ("set", lambda n: f"set of {n}", {}, (0, 0, 0)),
        ("is_test", lambda n: int(n % 4 == 0), {"columns": Columns(split="")}, (0, 0, 0)),
    ],
)
def test_held_out_rows_are_held_out(tmp_path, column, values, options, splits):
    path = catalogue(tmp_path, caption=caption, **{column: values})
    counts = Counter(s.split for s in read(path, **options)[0])
    assert (counts["train"], counts["val"], counts["test"]) == splits
    assert not reader_of(path, **options)[1]


@pytest.mark.parametrize(
    ("column", "values", "words"),
    [
        ("split", lambda n: 2023 + n % 2, "'2023' (12 rows)"),
        ("partition", lambda n: n % 3, "'0' (8 rows)"),
        ("split", lambda n: "spring" if n % 4 == 0 else "train", "'spring' (6 rows)"),
        ("is_valid", lambda n: n % 2, "may say which rows are held out"),
        ("fold", lambda n: n % 5, "says no split"),
    ],
)
def test_what_may_be_a_split_and_is_not_understood_is_said(tmp_path, column, values, words):
    path = catalogue(tmp_path, caption=caption, **{column: values})
    _, (doubt,) = reader_of(path)
    # The rows of a fold are no held-out rows yet.
    assert words in doubt.fact and doubt.stops == (column != "fold")
    assert "prepare.columns.split" in doubt.action
    assert not reader_of(path, columns=Columns(split=""))[1]


def test_a_mapped_split_of_which_nothing_is_understood_is_an_error(tmp_path):
    path = catalogue(tmp_path, caption=caption, flag=lambda n: n % 2)
    with pytest.raises(UsageError, match="none of its values is understood: 0, 1"):
        read(path, columns=Columns(split="flag"))
    words = {"0": "train", "1": "test"}
    assert Counter(s.split for s in read(path, columns=Columns(split="flag"), split_words=words)[0])


@pytest.mark.parametrize(
    ("folders", "splits"),
    [
        (("train", "train", "test"), {"train": 8, "test": 4}),
        (("img/train2017", "img/train2017", "img/val2017"), {"train": 8, "val": 4}),
        (("Train/red", "Train/blue", "Test/red"), {"train": 8, "test": 4}),
        (("train", "train", "train"), {None: 12}),
        (("red", "test", "blue"), {None: 12}),
    ],
)
def test_folders_of_images_say_the_split(tmp_path, folders, splits):
    names = [f"{folders[n % 3]}/p{n}.jpg" for n in range(12)]
    rows = "".join(f"{name},{caption(n)}\n" for n, name in enumerate(names))
    for name in names:
        put(tmp_path / name)
    path = put(tmp_path / "metadata.csv", "file_name,text\n" + rows)
    assert Counter(s.split for s in read(path)[0]) == splits
    assert {s.split for s in read(path, columns=Columns(split=""))[0]} == {None}
    is_split = splits.keys() != {None}
    assert ("split column" in reader_of(path)[0].decisions()) == is_split


def test_a_folder_beside_train_and_test_that_is_not_understood_stops(tmp_path):
    rows = ["train/a.jpg,a dress", "test/b.jpg,a hat", "extra/c.jpg,a bag"]
    for row in rows:
        put(tmp_path / row.partition(",")[0])
    path = put(tmp_path / "metadata.csv", "file_name,text\n" + "\n".join(rows))
    _, (doubt,) = reader_of(path)
    assert "'extra' (1 row)" in doubt.fact and doubt.stops


def codes(splits):
    """Splits by their numbers."""
    return np.array([code_of(name) for name in splits])


@pytest.mark.parametrize(
    ("splits", "words"),
    [
        (["test"] * 3, "All rows are in test"),
        (["val", "test"], "All rows are in test and val"),
        (["train"] * 20, "nothing is held out"),
        (["train"] * 3, ""),
        (["train", "val"] * 10, ""),
        (["train", "val", "test"], ""),
    ],
)
def test_what_training_will_lack_is_said(splits, words):
    facts = [doubt.fact for doubt in doubts(codes(splits), (0.8, 0.1, 0.1))]
    assert len(facts) == bool(words) and all(words in fact for fact in facts)
    assert not doubts(codes(["train"] * 20), (1.0, 0.0, 0.0))
