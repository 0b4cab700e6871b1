"""A store of rows: found by key, added in packs, whole or missing, bounded."""

import hashlib
import pickle

import numpy as np
import pytest

from unidiff_cli.project.row_store import KEYS, RowStore, keys_of, write_pack


def keys(*numbers):
    return keys_of(hashlib.sha256(str(n).encode()).hexdigest() for n in numbers)


def rows(*numbers):
    return np.array([[n, n + 0.5] for n in numbers], np.float32)


def add(folder, *numbers):
    return write_pack(folder, keys(*numbers), rows(*numbers))


def held(folder, *numbers):
    """Which of some numbers a store has, each with its own row."""
    store = RowStore(folder)
    places = store.places(keys(*numbers))
    there = [n for n, place in zip(numbers, places, strict=True) if place >= 0]
    assert np.array_equal(store.take(places[places >= 0]), rows(*there)) or not there
    return there


def test_rows_are_found_by_key_in_any_order_and_pack(tmp_path):
    add(tmp_path, 3, 1)
    add(tmp_path, 2)
    store = RowStore(tmp_path)
    assert store.places(keys(2, 9, 3)).tolist()[1] == -1
    assert np.array_equal(store.take(store.places(keys(2, 3, 1, 2))), rows(2, 3, 1, 2))


def test_an_empty_store_has_nothing(tmp_path):
    assert RowStore(tmp_path / "none").places(keys(1, 2)).tolist() == [-1, -1]


def test_keys_with_zero_bytes_at_their_end_are_told_apart(tmp_path):
    ends = keys_of(["ab" * 31 + "00", "ab" * 30 + "0000", "ab" * 32])
    write_pack(tmp_path, ends, rows(0, 1, 2))
    store = RowStore(tmp_path)
    assert np.array_equal(store.take(store.places(ends)), rows(0, 1, 2))


def test_a_loader_process_reads_the_same(tmp_path):
    add(tmp_path, 1, 2)
    store = RowStore(tmp_path, checked=False)
    store.take([0])
    again = pickle.loads(pickle.dumps(store))
    assert np.array_equal(again.take(again.places(keys(2, 1))), rows(2, 1))


@pytest.mark.parametrize("ending", ["rows", "keys"])
@pytest.mark.parametrize("damage", ["flip", "cut", "gone"])
def test_a_damaged_pack_is_missing_and_the_others_are_not(tmp_path, ending, damage):
    broken = add(tmp_path, 1, 2)
    add(tmp_path, 3)
    file = broken if ending == "rows" else broken.with_name(broken.stem + KEYS)
    data = bytearray(file.read_bytes())
    data[-40] ^= 1
    if damage == "gone":
        file.unlink()
    else:
        file.write_bytes(data if damage == "flip" else data[:-1])
    assert held(tmp_path, 1, 2, 3) == [3]
    add(tmp_path, 1)
    assert held(tmp_path, 1, 2, 3) == [1, 3]
    RowStore(tmp_path).tidy(keys(1, 2, 3))
    assert len(list(tmp_path.iterdir())) == 4


def test_rows_that_nobody_wants_are_kept_until_they_outnumber_the_others(tmp_path, monkeypatch):
    monkeypatch.setattr("unidiff_cli.project.row_store.PACK", 4)
    for start in range(0, 12, 4):
        add(tmp_path, *range(start, start + 4))
    RowStore(tmp_path).tidy(keys(*range(2, 8)))
    assert held(tmp_path, *range(12)) == list(range(12))
    RowStore(tmp_path).tidy(keys(2, 3, 4))
    assert held(tmp_path, *range(12)) == [2, 3, 4]


def test_many_small_packs_are_joined(tmp_path, monkeypatch):
    monkeypatch.setattr("unidiff_cli.project.row_store.SMALL_PACKS", 5)
    for number in range(8):
        add(tmp_path, number)
    (tmp_path / f".x.npy.{2**30}.new").write_bytes(b"left by a killed writer")
    RowStore(tmp_path).tidy(keys(*range(8)))
    assert held(tmp_path, *range(8)) == list(range(8))
    assert len(list(tmp_path.iterdir())) == 2
