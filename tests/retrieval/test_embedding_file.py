"""Embeddings are computed into the file that an index keeps."""

import errno
import os

import numpy as np
import pytest
from safetensors.numpy import save_file

from unidiff_cli.retrieval import embedding_file
from unidiff_cli.retrieval.embedding_file import (
    FILE,
    NAME,
    map_embeddings,
    new_embeddings,
    write_embeddings,
)


def some(count, size=8):
    return np.random.default_rng(0).standard_normal((count, size)).astype(np.float32)


@pytest.mark.parametrize("count", [0, 1, 1_000])
def test_a_file_that_was_filled_is_the_one_that_safetensors_writes(tmp_path, count):
    embeddings = some(count)
    filled = new_embeddings(tmp_path / "new", count, 8)
    assert not filled.any()
    filled[:] = embeddings
    folder = tmp_path / "index"
    folder.mkdir()
    write_embeddings(folder, filled)
    save_file({NAME: embeddings}, tmp_path / "plain")
    assert (folder / FILE).read_bytes() == (tmp_path / "plain").read_bytes()
    assert np.array_equal(map_embeddings(folder), embeddings)


def test_it_is_linked_and_not_written_twice(tmp_path):
    filled = new_embeddings(tmp_path / "new", 100, 8)
    write_embeddings(tmp_path, filled)
    assert os.path.samefile(tmp_path / "new", tmp_path / FILE)


def test_a_part_of_a_file_is_written_as_what_it_is(tmp_path):
    filled = new_embeddings(tmp_path / "new", 100, 8)
    filled[:] = some(100)
    write_embeddings(tmp_path, filled[10:20])
    assert np.array_equal(map_embeddings(tmp_path), some(100)[10:20])


def test_a_disk_that_cannot_link_gets_a_copy(tmp_path, monkeypatch):
    def refused(*_):
        raise OSError(errno.EPERM, "Operation not permitted")

    filled = new_embeddings(tmp_path / "new", 100, 8)
    filled[:] = some(100)
    monkeypatch.setattr(os, "link", refused)
    write_embeddings(tmp_path, filled)
    assert not os.path.samefile(tmp_path / "new", tmp_path / FILE)
    assert np.array_equal(map_embeddings(tmp_path), some(100))


def unsupported(*_):
    raise OSError(errno.EOPNOTSUPP, "Operation not supported")


@pytest.mark.parametrize("call", [None, unsupported])
def test_the_room_is_taken_where_the_system_has_no_call_for_it(tmp_path, monkeypatch, call):
    monkeypatch.delattr(embedding_file.os, "posix_fallocate", raising=False)
    if call:
        monkeypatch.setattr(embedding_file.os, "posix_fallocate", call, raising=False)
    filled = new_embeddings(tmp_path / "new", 300_000, 1)
    filled[:] = some(300_000, 1)
    write_embeddings(tmp_path, filled)
    assert np.array_equal(map_embeddings(tmp_path), some(300_000, 1))
    assert (tmp_path / "new").stat().st_blocks * 512 >= 1_200_000


def test_a_full_disk_is_an_error_and_no_dead_process(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(embedding_file.os, "posix_fallocate", full, raising=False)
    with pytest.raises(OSError, match="No space"):
        new_embeddings(tmp_path / "new", 100, 8)
