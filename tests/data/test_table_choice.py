"""Which tables of a folder are the catalogue: anywhere in it, several together, or asked for."""

import csv
import io
import json
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from tests.support.catalogue import jpeg, put, tar_of
from tests.support.reading import facts, read, read_all
from unidiff_cli.config.prepare import Prepare
from unidiff_cli.data import readers
from unidiff_cli.errors import UsageError, WorkError

Row = dict[str, object]


def images(folder: Path, count: int = 4, start: int = 0) -> list[str]:
    """Images p0.jpg, p1.jpg, … and their names."""
    return [put(folder / f"p{n}.jpg").name for n in range(start, start + count)]


def text_of(number: int) -> str:
    return f"red dress number {number}"


def captions_of(samples) -> list[str]:
    return [sample.captions[0] for sample in samples]


def csv_table(path: Path, rows: list[Row]) -> Path:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return put(path, text.getvalue())


def json_lines(path: Path, rows: list[Row]) -> Path:
    return put(path, "".join(json.dumps(row) + "\n" for row in rows))


def parquet(path: Path, rows: list[Row]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    return path


def rows_of(names: list[str], prefix: str = "", image: str = "image") -> list[Row]:
    return [{image: prefix + name, "caption": text_of(int(name[1:-4]))} for name in names]


def inline_rows(numbers) -> list[Row]:
    """Rows as Hugging Face's parquet has them, the images inside."""
    return [
        {"image": {"bytes": jpeg(), "path": f"p{n}.jpg"}, "caption": text_of(n)} for n in numbers
    ]


# ---------------------------------------------------------------- a table anywhere

PLACES = {
    "one folder down, paths from the root": ("data/catalog.csv", "images", "images/"),
    "in a folder of its own, paths from the root": ("export/products.csv", "media", "media/"),
    "beside the images": ("shop/catalog.csv", "shop", ""),
    "two folders down": ("a/b/items.csv", "a/b/photos", "photos/"),
    "beside the images' folder": ("lists/catalog.csv", "lists/images", "images/"),
    "no usual name": ("exports/2024/artikel.csv", "pics", "pics/"),
}


@pytest.mark.parametrize("place", PLACES)
def test_a_table_is_found_wherever_it_lies(tmp_path, place):
    table, folder, prefix = PLACES[place]
    csv_table(tmp_path / table, rows_of(images(tmp_path / folder), prefix))
    samples, rejected = read(tmp_path)
    assert not rejected and captions_of(samples) == [text_of(n) for n in range(4)]
    assert all(sample.image.is_file() for sample in samples)


@pytest.mark.parametrize("folder", ["shop", "images", "a/b"])
def test_hugging_faces_metadata_is_found_in_a_folder(tmp_path, folder):
    names = images(tmp_path / folder)
    rows = [{"file_name": name, "text": text_of(n)} for n, name in enumerate(names)]
    json_lines(tmp_path / folder / "metadata.jsonl", rows)
    reader, samples, rejected = read_all(tmp_path)
    assert not rejected and captions_of(samples) == [text_of(n) for n in range(4)]
    assert f"{folder}/metadata.jsonl: image paths start in {folder}" in reader.origin


def test_images_of_a_table_stay_inside_the_catalogue(tmp_path):
    put(tmp_path / "secret.jpg")
    names = images(tmp_path / "shop" / "media", 20)
    rows = rows_of(names, "media/") + [{"image": "../secret.jpg", "caption": "secret"}]
    csv_table(tmp_path / "shop" / "export" / "products.csv", rows)
    samples, (rejected,) = read(tmp_path / "shop")
    assert len(samples) == 20 and "leads out" in rejected.reason.text


# ---------------------------------------------------------------- several tables


def test_a_table_in_each_split_folder_is_one_catalogue(tmp_path):
    for split, start, count in (("train", 0, 5), ("test", 5, 2)):
        names = images(tmp_path / split, count, start)
        json_lines(tmp_path / split / "metadata.jsonl", rows_of(names, image="file_name"))
    reader, samples, rejected = read_all(tmp_path)
    assert not rejected and not facts(reader)
    assert [(s.row, s.split) for s in samples][:3] == [
        ("test/metadata.jsonl:1", "test"),
        ("test/metadata.jsonl:2", "test"),
        ("train/metadata.jsonl:1", "train"),
    ]
    assert len({s.row for s in samples}) == 7 and all(s.image.is_file() for s in samples)
    assert "2 tables read together" in reader.origin[0]


SHARDS = {
    "the hub's data folder": (
        "data/train-00000-of-00002.parquet",
        "data/train-00001-of-00002.parquet",
        "data/test-00000-of-00001.parquet",
    ),
    "a folder a split": ("train/0000.parquet", "train/0001.parquet", "test/0000.parquet"),
    "splits as names": ("train.parquet", "validation.parquet", "test.parquet"),
    "splits in names": ("shop_train.parquet", "shop_val.parquet", "shop_test.parquet"),
    "Spark's parts": (
        "train/part-00000.parquet",
        "train/part-00001.parquet",
        "test/part-00000.parquet",
    ),
}


@pytest.mark.parametrize("layout", SHARDS)
def test_shards_are_one_catalogue(tmp_path, layout):
    for number, name in enumerate(SHARDS[layout]):
        parquet(tmp_path / name, inline_rows(range(3 * number, 3 * number + 3)))
    reader, samples, rejected = read_all(tmp_path)
    assert not rejected and not facts(reader)
    assert sorted(captions_of(samples)) == [text_of(n) for n in range(9)]
    assert {s.split for s in samples if s.captions[0] in map(text_of, (6, 7, 8))} == {"test"}
    assert reader.extent().rows == 9


def test_shards_of_one_split_have_none(tmp_path):
    """Prepare splits them itself then."""
    for number in range(2):
        rows = inline_rows(range(3 * number, 3 * number + 3))
        parquet(tmp_path / "data" / f"train-{number:05d}-of-00002.parquet", rows)
    samples, _ = read(tmp_path)
    assert [s.split for s in samples] == [None] * 6


def test_a_missing_shard_stops(tmp_path):
    for number in (0, 2):
        parquet(tmp_path / f"train-{number:05d}-of-00004.parquet", inline_rows([number]))
    reader, samples, _ = read_all(tmp_path)
    assert len(samples) == 2
    assert "2 shards are missing, such as train-00001-of-00004.parquet" in facts(reader, True)


def test_tables_that_differ_in_numbers_only_are_asked_for(tmp_path):
    """Two halves of an export, or two states of it: nobody knows."""
    names = images(tmp_path, 4)
    csv_table(tmp_path / "products_export_1.csv", rows_of(names[:2]))
    csv_table(tmp_path / "products_export_2.csv", rows_of(names[2:]))
    reader, samples, _ = read_all(tmp_path)
    assert len(samples) == 4 and "differ in numbers only" in facts(reader, True)
    reader, samples, _ = read_all(tmp_path, tables=["products_export_2.csv"])
    assert captions_of(samples) == [text_of(2), text_of(3)] and not facts(reader, True)


def test_several_tables_are_asked_for_by_name(tmp_path):
    names = images(tmp_path)
    for name in ("summer.csv", "winter.csv"):
        csv_table(tmp_path / name, rows_of(names))
    with pytest.raises(UsageError, match=r"several tables: summer.csv, winter.csv.*prepare.tables"):
        readers.choose(tmp_path, Prepare())
    assert len(read(tmp_path, tables=["winter.csv"])[0]) == 4
    assert len(read(tmp_path, tables=["*.csv"])[0]) == 8
    with pytest.raises(UsageError, match="names winer.csv.*Did you mean 'winter.csv'"):
        readers.choose(tmp_path, Prepare(tables=("winer.csv",)))


def test_a_usual_name_wins_and_the_other_is_named(tmp_path):
    names = images(tmp_path)
    csv_table(tmp_path / "catalog.csv", rows_of(names))
    csv_table(tmp_path / "old" / "winter.csv", rows_of(names))
    reader, samples, _ = read_all(tmp_path)
    assert len(samples) == 4 and samples[0].row == "catalog.csv:2"
    assert facts(reader) == "Tables that are not read: old/winter.csv."


def test_a_table_without_images_is_no_catalogue(tmp_path):
    """Orders, prices and sizes lie beside many catalogues."""
    csv_table(tmp_path / "products.csv", rows_of(images(tmp_path)))
    put(tmp_path / "orders.csv", "order,total\n1,19.90\n")
    reader, samples, _ = read_all(tmp_path)
    assert len(samples) == 4 and not facts(reader)


def test_equal_tables_side_by_side_are_read_once(tmp_path):
    names = images(tmp_path)
    json_lines(tmp_path / "metadata.jsonl", rows_of(names, image="file_name"))
    csv_table(tmp_path / "metadata.csv", rows_of(names, image="file_name"))
    reader, samples, _ = read_all(tmp_path)
    assert len(samples) == 4 and samples[0].row == "metadata.jsonl:1" and not facts(reader)
    assert reader.origin == ["metadata.csv has the same rows as metadata.jsonl, which is read"]


def test_different_tables_side_by_side_stop(tmp_path):
    names = images(tmp_path)
    json_lines(tmp_path / "metadata.jsonl", rows_of(names, image="file_name"))
    csv_table(tmp_path / "metadata.csv", rows_of(names[:3], image="file_name"))
    reader, samples, _ = read_all(tmp_path)
    assert len(samples) == 4 and "side by side and differ" in facts(reader, True)
    reader, samples, _ = read_all(tmp_path, tables=["metadata.csv"])
    assert len(samples) == 3 and not facts(reader)


def test_images_that_several_tables_name_stop(tmp_path):
    """metadata.csv in the root and in a folder: nobody knows which is the newer."""
    names = images(tmp_path / "train")
    csv_table(tmp_path / "metadata.csv", rows_of(names, "train/", "file_name"))
    csv_table(tmp_path / "train" / "metadata.csv", rows_of(names, image="file_name"))
    reader, samples, _ = read_all(tmp_path)
    assert len(samples) == 8
    assert "4 images are named by several tables" in facts(reader, True)
    reader, samples, _ = read_all(tmp_path, tables=["metadata.csv"])
    assert len(samples) == 4 and not facts(reader)


def test_metadata_of_every_class_is_one_catalogue(tmp_path):
    for folder in ("dress", "shirt"):
        json_lines(tmp_path / folder / "metadata.jsonl", rows_of(images(tmp_path / folder)))
    reader, samples, _ = read_all(tmp_path)
    assert len({s.row for s in samples}) == 8 and not facts(reader)
    assert {s.split for s in samples} == {None}


# ---------------------------------------------------------------- what is not read


@pytest.mark.parametrize("name", ["metadata.json1", "catalog.xls", "Produkte.ods"])
def test_what_looks_like_a_table_stops_where_classes_would_be_captions(tmp_path, name):
    images(tmp_path / "dress")
    put(tmp_path / name, b"x")
    reader, samples, _ = read_all(tmp_path)
    assert len(samples) == 4 and name in facts(reader, True)


def test_what_looks_like_a_table_warns_where_texts_are_captions(tmp_path):
    for name in images(tmp_path):
        put((tmp_path / name).with_suffix(".txt"), "a dress")
    put(tmp_path / "metadata.json1", b"x")
    reader, samples, _ = read_all(tmp_path)
    assert len(samples) == 4 and not facts(reader, True) and "json1" in facts(reader, False)


def test_a_table_that_cannot_be_used_says_so(tmp_path):
    images(tmp_path / "dress")
    put(tmp_path / "sizes.csv", "size,chest\nS,88\n")
    with pytest.raises(UsageError, match=r"no column that names images.*prepare.reader=folder"):
        readers.choose(tmp_path, Prepare())
    assert len(read(tmp_path, reader="folder")[0]) == 4


def test_a_table_that_cannot_be_opened_says_so(tmp_path):
    """Whatever lies beside: nobody knows what it holds."""
    for name in images(tmp_path):
        put((tmp_path / name).with_suffix(".txt"), "a dress")
    put(tmp_path / "artikel.parquet", b"PAR1 and no more")
    with pytest.raises(WorkError, match=r"artikel.parquet .*prepare.reader=folder"):
        readers.choose(tmp_path, Prepare())
    assert len(read(tmp_path, reader="folder")[0]) == 4


def test_any_json_may_hold_anything(tmp_path):
    images(tmp_path / "dress")
    put(tmp_path / "package.json", '{"name": "shop", "version": "1"}')
    put(tmp_path / "settings.json", '[{"key": "a"}]')
    reader, samples, _ = read_all(tmp_path)
    assert captions_of(samples) == ["a photo of dress"] * 4 and not facts(reader)


def test_a_json_of_any_name_is_read_where_it_names_images(tmp_path):
    names = images(tmp_path / "pics")
    put(tmp_path / "export" / "artikel.json", json.dumps(rows_of(names, "pics/")))
    assert captions_of(read(tmp_path)[0]) == [text_of(n) for n in range(4)]


def test_tars_and_texts_beside_a_table_are_named(tmp_path):
    names = images(tmp_path)
    csv_table(tmp_path / "catalog.csv", rows_of(names))
    put(tmp_path / "p0.txt", "other words")
    tar_of(tmp_path / "old.tar", [("0.jpg", jpeg()), ("0.txt", b"c")])
    reader, samples, _ = read_all(tmp_path)
    assert captions_of(samples)[0] == text_of(0)
    assert "old.tar" in facts(reader) and "1 texts beside images" in facts(reader)


# ---------------------------------------------------------------- img2dataset and LAION


def img2dataset(folder: Path, count: int = 10, failed=(3,)) -> None:
    """A shard as img2dataset's output format `files` has it."""
    rows = []
    for n in range(count):
        status = "failed_to_download" if n in failed else "success"
        rows.append(
            {"url": f"https://x/{n}", "key": f"{n:09d}", "caption": text_of(n), "status": status}
        )
        if n not in failed:
            put(folder / "00000" / f"{n:09d}.jpg")
    parquet(folder / "00000.parquet", rows)


def test_img2datasets_parquet_finds_its_folder(tmp_path):
    img2dataset(tmp_path)
    samples, (rejected,) = read(tmp_path)
    assert captions_of(samples) == [text_of(n) for n in range(10) if n != 3]
    assert all(sample.image.is_file() for sample in samples)
    assert rejected.row == "00000.parquet:4" and "failed_to_download" in rejected.reason.text
    assert read(tmp_path, where={"status": "success"})[1] == []


def test_img2datasets_shards_are_one_catalogue(tmp_path):
    for shard in range(2):
        key = [f"{shard:05d}{n:04d}" for n in range(3)]
        for name in key:
            put(tmp_path / f"{shard:05d}" / f"{name}.jpg")
        rows = [{"key": k, "caption": text_of(n), "status": "success"} for n, k in enumerate(key)]
        parquet(tmp_path / f"{shard:05d}.parquet", rows)
        put(tmp_path / f"{shard:05d}_stats.json", '{"count": 3}')
    reader, samples, rejected = read_all(tmp_path)
    assert len(samples) == 6 and not rejected and not facts(reader)
    assert all(sample.image.is_file() for sample in samples)


def test_texts_of_img2dataset_win_over_its_notes(tmp_path):
    """files, with a .txt and a .json of each image; the parquet says the same."""
    img2dataset(tmp_path, failed=())
    for n in range(10):
        put(tmp_path / "00000" / f"{n:09d}.txt", text_of(n))
    samples, rejected = read(tmp_path)
    assert captions_of(samples) == [text_of(n) for n in range(10)] and not rejected


def test_addresses_beside_numbered_images_are_refused(tmp_path):
    """LAION's own parquet: its order says nothing once a download failed."""
    images(tmp_path / "00000")
    rows = [{"URL": f"https://x/{n}.jpg", "TEXT": text_of(n)} for n in range(4)]
    parquet(tmp_path / "part-00000.parquet", rows)
    with pytest.raises(UsageError, match=r"by web address.*column key"):
        readers.choose(tmp_path, Prepare())


# ---------------------------------------------------------------- tables without captions


@pytest.mark.parametrize(
    "bare", ["test.csv", "a_test.csv", "test/metadata.csv", "test-00000-of-00001.csv"]
)
def test_a_table_without_captions_does_not_take_its_family_along(tmp_path, bare):
    """The test of a contest has images only, and sorts before the train."""
    train = tmp_path / bare.replace("test", "train")
    csv_table(train, rows_of(images(train.parent, 6)))
    test = tmp_path / bare
    csv_table(test, [{"image": name} for name in images(test.parent, 3, 6)])
    reader, samples, rejected = read_all(tmp_path)
    assert not rejected and captions_of(samples) == [text_of(n) for n in range(6)]
    assert f"Tables that are not read: {bare}" in facts(reader)


def test_an_example_of_a_submission_is_not_read_in_silence(tmp_path):
    csv_table(tmp_path / "train.csv", rows_of(images(tmp_path, 6)))
    further = images(tmp_path, 3, 6)
    csv_table(tmp_path / "test.csv", [{"image": name} for name in further])
    rows = [{"image": name, "caption": "a photo"} for name in further]
    csv_table(tmp_path / "sample_submission.csv", rows)
    with pytest.raises(UsageError, match="several tables: train.csv, sample_submission.csv"):
        read(tmp_path)
    samples, _ = read(tmp_path, tables=["train.csv"])
    assert captions_of(samples) == [text_of(n) for n in range(6)]


@pytest.mark.parametrize("name", ["stock.csv", "lists/ratings.csv", "views.jsonl"])
def test_a_table_of_images_without_captions_is_named(tmp_path, name):
    names = images(tmp_path)
    csv_table(tmp_path / "catalog.csv", rows_of(names))
    rows = [{"image": image, "price": number} for number, image in enumerate(names)]
    (json_lines if name.endswith("jsonl") else csv_table)(tmp_path / name, rows)
    reader, samples, _ = read_all(tmp_path)
    assert captions_of(samples) == [text_of(n) for n in range(4)]
    assert facts(reader, stops=False) == f"Tables that are not read: {name}."
