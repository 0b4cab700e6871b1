"""Rows as columns: what they say of a catalogue is what rows as objects say, in little memory."""

import pickle
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.compute  # noqa: F401 - what it loads is no memory of rows
import pytest

from tests.support.shards import attribute_rows, random_samples, write_shards
from unidiff_cli.data import index_file
from unidiff_cli.data.index_file import INDEX, MAPPED, RowFile, read_index, write_index
from unidiff_cli.data.row import Row
from unidiff_cli.data.rows import Rows, column_of, joined, taken, with_captions
from unidiff_cli.data.shards import Shards
from unidiff_cli.errors import Damaged
from unidiff_cli.project.receipt import Receipt, close

SPLITS = ("train", "train", "val", "test")


@pytest.fixture(scope="module")
def objects() -> list[Row]:
    """60 rows in three splits, some with two captions."""
    rows = attribute_rows(60, price=lambda n: n / 2, tags=lambda n: [n, None])
    return [
        replace(row, split=SPLITS[n % 4], captions=row.captions * (1 + n % 2), image_crc=2**32 - n)
        for n, row in enumerate(rows)
    ]


@pytest.fixture(scope="module", params=[7, 16_384])
def rows(request, objects, tmp_path_factory) -> Rows:
    """The same as columns, in blocks of two sizes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index_file, "BLOCK", request.param)
        return written(tmp_path_factory.mktemp("rows"), objects)


def written(folder: Path, objects) -> Rows:
    write_index(folder, objects)
    close(folder, Receipt("prepare", {}), 0.0)
    return read_index(folder, Receipt.read(folder))


def test_rows_are_those_that_were_written(rows, objects):
    assert rows == objects and list(rows) == objects and len(rows) == 60
    assert [rows[n] for n in (0, 59, -1, 13)] == [objects[n] for n in (0, 59, -1, 13)]
    with pytest.raises(IndexError):
        rows[60]
    assert objects[8] in rows and rows.index(objects[8]) == 8


@pytest.mark.parametrize("part", [slice(3, 40), slice(None, None, 7), slice(50, 90), slice(5, 5)])
def test_slices_are_those_of_a_list(rows, objects, part):
    assert rows[part] == objects[part] and rows[part][::-2] == objects[part][::-2]


def test_some_are_taken_in_any_order(rows, objects):
    numbers = np.random.default_rng(0).integers(-60, 60, 200)
    assert rows.take(numbers) == [objects[n] for n in numbers]
    again = rows.take(numbers).take([5, 0, 5])
    assert again == [objects[numbers[n]] for n in (5, 0, 5)] == taken(objects, numbers[[5, 0, 5]])
    assert rows.take([]) == [] and list(column_of(rows.take([]), "group")) == []


def test_a_split_is_found_and_a_row_by_its_key(rows, objects):
    for split in ("train", "val", "test", "none"):
        chosen = [row for row in objects if row.split == split]
        assert rows.where("split", split) == chosen
        assert rows[10:30].where("split", split) == [row for row in chosen if row in objects[10:30]]
    assert all(rows.find(row.key) == row for row in objects)
    assert rows.find("000000999") is rows.find("") is rows.find("0000000071") is None


@pytest.mark.parametrize("name", ["id", "captions", "attributes", "image_crc", "split"])
def test_a_column_is_that_of_the_rows(rows, objects, name):
    cells = [getattr(row, name) for row in objects]
    assert list(column_of(rows, name)) == cells == column_of(objects, name)
    column = column_of(rows[4:50], name)
    assert len(column) == 46 and column[3] == cells[7] and list(column[::5]) == cells[4:50:5]


def test_other_captions_go_with_their_rows(rows, objects):
    others = [(f"one {n}", f"two {n}")[: 1 + n % 2] for n in range(60)]
    changed = with_captions(rows, others)
    assert changed == with_captions(objects, others) and rows == objects
    assert changed[40:3:-3] == [replace(objects[n], captions=others[n]) for n in range(40, 3, -3)]
    assert column_of(changed, "captions")[9] == changed[9].captions == others[9]
    assert pickle.loads(pickle.dumps(changed[:9])) == changed[:9]


def test_splits_are_joined(rows, objects):
    train, held_out = rows.where("split", "train"), rows.where("split", "val")
    assert joined(train, held_out) == joined(list(train), list(held_out))


# ---------------------------------------------------------------- files and processes


def test_a_process_is_given_the_place_of_the_file(rows, objects):
    chosen = rows.where("split", "val")
    data = pickle.dumps(chosen)
    assert len(data) < 2000 and pickle.loads(data) == chosen


def test_a_process_refuses_a_file_that_was_replaced_meanwhile(tmp_path, objects):
    data = pickle.dumps(written(tmp_path, objects))
    written(tmp_path, objects[:30])
    with pytest.raises(Damaged, match=r"index\.arrow has changed"):
        pickle.loads(data)


def test_shards_of_before_there_were_columns_are_read(tmp_path):
    samples = random_samples(20)
    folder = tmp_path / "shards"
    before = write_shards(folder, samples)
    (folder / MAPPED).unlink()
    (folder / "receipt.json").unlink()
    close(folder, Receipt("prepare", {}), 0.0)
    opened = Shards.open(folder)
    assert opened.rows() == before and opened.row(before[7].key) == before[7]
    assert [opened.image_bytes(row) for row in opened.rows()] == [data for _, data in samples]
    assert pickle.loads(pickle.dumps(opened.rows())) == before


@pytest.mark.parametrize("name", [INDEX, MAPPED])
def test_a_byte_of_either_file_that_changed_is_seen(tmp_path, objects, name):
    written(tmp_path, objects)
    data = bytearray((tmp_path / name).read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / name).write_bytes(data)
    with pytest.raises(Damaged, match=f"{name} is not what was written"):
        read_index(tmp_path, Receipt.read(tmp_path))


def test_both_files_hold_the_same(tmp_path, objects):
    written(tmp_path, objects)
    tables = [
        pyarrow.Table.from_batches(RowFile.of(tmp_path / name).batches())
        for name in (INDEX, MAPPED)
    ]
    assert tables[0].to_pylist() == tables[1].to_pylist()


def test_rows_out_of_order_are_not_written(tmp_path, objects):
    with pytest.raises(AssertionError):
        write_index(tmp_path, objects[::-1])


# ---------------------------------------------------------------- memory

COUNT = 10_000


def many():
    """Rows, one at a time."""
    for n in range(COUNT):
        caption, attributes = f"a dress number {n} of cotton", {"color": "red", "price": n}
        content, group = f"{n:064x}", f"p{n // 3}"
        yield Row(
            f"{n:09d}", f"sku-{n}", SPLITS[n % 4], group, (caption,), attributes, content=content
        )


def peak_of(work) -> tuple[float, float]:
    """The most bytes a row that Python and Arrow hold while something is done."""
    held = pyarrow.total_allocated_bytes()
    tracemalloc.start()
    work()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / COUNT, (pyarrow.total_allocated_bytes() - held) / COUNT


def test_rows_take_no_memory_until_they_are_asked_for(tmp_path, monkeypatch):
    """As objects they were 3,400 bytes each, and 2,900 more while they were written."""
    monkeypatch.setattr(index_file, "BLOCK", 500)
    assert sum(peak_of(lambda: write_index(tmp_path, many()))) < 400
    close(tmp_path, Receipt("prepare", {}), 0.0)
    receipt, held = Receipt.read(tmp_path), []
    assert sum(peak_of(lambda: held.append(read_index(tmp_path, receipt)))) < 40
    [rows] = held
    assert sum(peak_of(lambda: held.append(rows.where("split", "train")))) < 40
    assert sum(peak_of(lambda: sum(len(row.captions) for row in rows))) < 250
    assert sum(peak_of(lambda: len(set(column_of(rows, "split"))))) < 60
