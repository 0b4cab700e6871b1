"""Products that are folders of images beside a table, and views of a product by file names."""

import json

import pytest

from tests.support.catalogue import jpeg, put, tar_of
from tests.support.reading import facts, read, read_all
from unidiff_cli.config.prepare import Columns

SKUS = [f"S{n:03d}" for n in range(6)]


def table(header: str, *rows: str) -> str:
    return "\n".join([header, *rows]) + "\n"


def put_folders(folder, *files: str) -> None:
    for number, sku in enumerate(SKUS):
        for file in files:
            put(folder / sku / file, jpeg(size=(40 + number, 40)))


# ---------------------------------------------------------------- cells that name folders


@pytest.mark.parametrize("place", ["", "images", "products"])
@pytest.mark.parametrize("column", ["sku", "folder", "Artikelnummer"])
def test_a_number_that_names_a_folder_gives_all_its_images(tmp_path, place, column):
    put_folders(tmp_path / place, "1.jpg", "2.jpg", "more/3.jpg", "1_mask.png")
    rows = (f"{sku},red dress {sku},9.95" for sku in SKUS)
    put(tmp_path / "sortiment.csv", table(f"{column},title,price", *rows))
    reader, samples, rejected = read_all(tmp_path)
    assert not rejected and not facts(reader, True)
    assert len(samples) == 18 and {s.captions for s in samples} == {
        (f"red dress {sku}",) for sku in SKUS
    }
    assert len({s.product for s in samples}) == 6
    assert "images are found in the folders that" in "\n".join(reader.describe())


def test_a_mapped_column_may_name_folders(tmp_path):
    put_folders(tmp_path, "1.jpg", "2.jpg")
    rows = (f"{sku},dress {sku},x" for sku in SKUS)
    put(tmp_path / "a.csv", table("where,title,image", *rows))
    samples, _ = read(tmp_path, columns=Columns(image="where"))
    assert len(samples) == 12


def test_a_number_without_its_folder_costs_its_row(tmp_path):
    put_folders(tmp_path, "1.jpg")
    rows = (f"{sku},dress {sku}" for sku in [*SKUS * 2, "S999"])
    put(tmp_path / "a.csv", table("sku,title", *rows))
    samples, rejected = read(tmp_path)
    assert len(samples) == 12
    assert [item.reason.text for item in rejected] == [
        "no image: the folder 'S999' is not there or holds none"
    ]


@pytest.mark.parametrize("words", [["dress", "hat"], ["train", "test"]])
def test_folders_of_classes_and_splits_are_no_products(tmp_path, words):
    for word in words:
        for n in range(6):
            put(tmp_path / word / f"{n}.jpg")
    rows = (f"{word},title {n}" for word in words for n in range(6))
    put(tmp_path / "a.csv", table("kind,title", *rows))
    put(tmp_path / "b.txt", "")
    with pytest.raises(Exception, match="no column that names images"):
        read(tmp_path, reader="table")


def test_a_file_may_lie_in_the_folder_that_another_cell_names(tmp_path):
    put_folders(tmp_path / "images", "1.jpg", "2.jpg")
    rows = (f"{sku},{n}.jpg,dress {sku} {n}" for sku in SKUS for n in (1, 2))
    put(tmp_path / "a.csv", table("sku,image,title", *rows))
    reader, samples, rejected = read_all(tmp_path)
    assert not rejected and not facts(reader, True)
    assert sorted(s.image.relative_to(reader.root) for s in samples) == sorted(
        f"images/{sku}/{n}.jpg" for sku in SKUS for n in (1, 2)
    )
    assert "images are found as images/<sku>/<image>" in reader.describe()


@pytest.mark.parametrize("cell", ["../S000", "/etc", "..", "S000/../..", "C:\\S000"])
def test_a_folder_outside_is_not_read(tmp_path, cell):
    shop = tmp_path / "shop"
    put_folders(shop, "1.jpg")
    put_folders(tmp_path, "9.jpg")
    rows = (f"{sku},dress {sku}" for sku in [*SKUS * 2, cell])
    put(shop / "a.csv", table("sku,title", *rows))
    reader, samples, _ = read_all(shop)
    assert all(s.image.relative_to(reader.root).startswith("S00") for s in samples)


# ---------------------------------------------------------------- views by file names

VIEWS = ["front", "back", "side", "detail_2", "Rückseite", "close-up"]


@pytest.mark.parametrize("between", ["_", "-", " ", "."])
def test_views_of_file_names_are_one_product(tmp_path, between):
    for sku in SKUS:
        for view in VIEWS:
            put(tmp_path / f"{sku}{between}{view}.jpg")
            put(tmp_path / f"{sku}{between}{view}.txt", f"dress {sku}")
    reader, samples, _ = read_all(tmp_path)
    assert len(samples) == 36 and {s.product for s in samples} == set(SKUS)
    assert "products from views in file names: 6, such as S000" in reader.describe()
    assert {s.product for s in read(tmp_path, columns=Columns(product=""))[0]} == {None}


def test_rows_of_views_are_one_product_where_no_column_says_it(tmp_path):
    rows = []
    for sku in SKUS:
        for view in ("front", "back"):
            put(tmp_path / f"{sku}_{view}.jpg")
            rows.append(f"{sku}_{view}.jpg,dress {sku} from the {view}")
    put(tmp_path / "a.csv", table("image,title", *rows))
    reader, samples, _ = read_all(tmp_path)
    assert {s.product for s in samples} == set(SKUS)
    assert reader.decisions()["product column"] == "images whose names differ in their view"
    assert {s.product for s in read(tmp_path, columns=Columns(product=""))[0]} == {None}


@pytest.mark.parametrize(
    "names", [["a_front", "b_front"], ["a_1", "a_2"], ["red_dress", "red_hat"]]
)
def test_other_names_are_no_views(tmp_path, names):
    names = [name[:200] for name in names]
    for name in names:
        put(tmp_path / "hat" / f"{name}.jpg")
    assert {s.product for s in read(tmp_path)[0]} == {None}
    put(tmp_path / "a.csv", table("image,title", *(f"hat/{name}.jpg,x {name}" for name in names)))
    assert {s.product for s in read(tmp_path)[0]} == {None}


# ---------------------------------------------------------------- other kinds that stop


@pytest.mark.parametrize("lines", ["dress/{n}", "dress/{n}.jpg", "images/dress/{n}"])
def test_lists_of_splits_stop(tmp_path, lines):
    for n in range(12):
        put(tmp_path / "images" / "dress" / f"{n}.jpg")
    for split, numbers in {"train": range(8), "test": range(8, 12)}.items():
        text = "\n".join(lines.format(n=n) for n in numbers)
        put(tmp_path / "meta" / f"{split}.txt", text)
    words = facts(read_all(tmp_path)[0], True)
    assert "meta/test.txt, meta/train.txt" in words


@pytest.mark.parametrize("header", ["Train/Test", "train_test_split", "Train or test"])
def test_short_words_of_a_split_are_understood(tmp_path, header):
    put(tmp_path / "a.jpg")
    rows = (f"a.jpg,dress {n},{'Te' if n > 7 else 'Tr'}" for n in range(10))
    put(tmp_path / "a.csv", table(f"image,title,{header}", *rows))
    samples, _ = read(tmp_path)
    assert [s.split for s in samples].count("test") == 2
    assert [s.split for s in samples].count("train") == 8


def test_akeneos_pictures_are_found(tmp_path):
    lines = []
    for n, sku in enumerate(SKUS):
        put(tmp_path / "images" / f"{sku}.jpg")
        picture = [{"locale": None, "scope": None, "data": f"images/{sku}.jpg"}]
        name = [{"locale": "en_US", "scope": None, "data": f"dress {n}"}]
        values = {"name": name, "picture": picture}
        lines.append(
            json.dumps({"identifier": sku, "family": "x", "parent": "P", "values": values})
        )
    put(tmp_path / "products.jsonl", "\n".join(lines))
    samples, rejected = read(tmp_path)
    assert not rejected and [s.captions for s in samples] == [(f"dress {n}",) for n in range(6)]


def test_captions_in_several_languages_are_said(tmp_path):
    put(tmp_path / "a.jpg")
    titles = ({"en": f"hat {n}", "fr": f"chapeau {n}", "de": ""} for n in range(6))
    rows = [json.dumps({"image": "a.jpg", "title": title}) for title in titles]
    put(tmp_path / "a.jsonl", "\n".join(rows))
    reader, samples, _ = read_all(tmp_path)
    assert samples[0].captions == ("hat 0", "chapeau 0")
    assert "several languages, and all are read: en, fr." in facts(reader)


def test_the_table_with_the_most_captions_is_proposed(tmp_path):
    for n in range(6):
        put(tmp_path / "train" / f"{n}.jpg")
        put(tmp_path / "test" / f"{n}.jpg")
    put(tmp_path / "train.csv", table("id,text", *(f"train/{n}.jpg,hat {n}" for n in range(6))))
    put(tmp_path / "sample_submission.csv",
        table("id,text", *(f"test/{n}.jpg,a hat" for n in range(6))))  # fmt: skip
    with pytest.raises(Exception, match="several tables") as caught:
        read(tmp_path)
    assert "prepare.tables=[train.csv]" in str(caught.value)


def test_a_packed_folder_with_a_table_is_to_be_unpacked(tmp_path):
    members = {f"shop/images/{n}.jpg": jpeg() for n in range(6)}
    rows = (f"images/{n}.jpg,hat {n}" for n in range(6))
    members["shop/catalog.csv"] = table("image,caption", *rows).encode()
    tar_of(tmp_path / "shop.tar", members.items())
    assert "holds a table, shop/catalog.csv" in facts(read_all(tmp_path)[0], True)


# One zip alone is the catalogue; of two nobody knows.
@pytest.mark.parametrize("names", ["train.zip test.zip", "data/train.arrow", "a.feather b.zip"])
def test_what_may_hold_the_images_is_named_where_there_are_none(tmp_path, names):
    for name in names.split():
        put(tmp_path / name, b"PK\5\6" + bytes(18))
    doubt = facts(read_all(tmp_path)[0], True)
    assert all(name in doubt for name in names.split()) and "not read" in doubt
