"""Embedding that was stopped goes on where it was, and leaves nothing when it is done."""

import logging
import shutil

import numpy as np
import pytest

from tests.support.projects import copy_project
from unidiff_cli import Retriever, index
from unidiff_cli.data.parts import Part
from unidiff_cli.models.encoders import ClipEncoder
from unidiff_cli.project.verify import verify
from unidiff_cli.retrieval import blocks
from unidiff_cli.retrieval.build import index_part


@pytest.fixture
def project(finished, tmp_path, monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK", 16)
    monkeypatch.setattr(blocks, "BATCH", 8)
    return copy_project(finished, tmp_path)


@pytest.fixture
def embedded(monkeypatch):
    """How many images were embedded, call by call; more than `limit` are a kill."""
    counts, real = [], ClipEncoder.embed_pixels
    counts_limit = [10**9]

    def counted(self, pixels):
        if sum(counts) + len(pixels) > counts_limit[0]:
            raise KeyboardInterrupt
        counts.append(len(pixels))
        return real(self, pixels)

    monkeypatch.setattr(ClipEncoder, "embed_pixels", counted)
    return counts, counts_limit


def files(project):
    return sorted(project.path("cache", blocks.FOLDER).glob("*"))


def stopped(project, embedded, after):
    counts, limit = embedded
    limit[0] = after
    with pytest.raises(KeyboardInterrupt):
        index(project, force=True)
    limit[0] = 10**9
    done = sum(counts)
    counts.clear()
    return done


def test_a_stopped_index_goes_on_with_the_next_block(project, embedded, caplog):
    before = Retriever.open(project).index.embeddings(np.arange(60))
    assert stopped(project, embedded, 45) == 40 and len(files(project)) == 2
    assert not [folder for folder in verify(project) if folder.damage]
    with caplog.at_level(logging.INFO, logger="unidiff"):
        assert index(project, force=True).counts == {"images": 60, "embedded": 60}
    assert sum(embedded[0]) == 28
    assert "32 images were embedded by a command that was stopped." in caplog.text
    assert np.allclose(Retriever.open(project).index.embeddings(np.arange(60)), before, atol=1e-6)
    assert files(project) == [] and not project.path("cache", blocks.FOLDER).exists()


def test_a_damaged_block_is_embedded_again(project, embedded):
    stopped(project, embedded, 40)
    file = files(project)[0]
    file.write_bytes(file.read_bytes()[:-1])
    index(project, force=True)
    assert sum(embedded[0]) == 44


def test_the_blocks_of_another_export_are_not_taken(project, embedded):
    stopped(project, embedded, 40)
    other = blocks.Blocks(project, "another")
    ours = blocks.Blocks(project, "this")
    rows = Retriever.open(project).shards.rows()
    assert other._file("clip", rows) != ours._file("clip", rows)
    assert ours._file("clip", rows) != ours._file("diffdis", rows)
    assert ours._file("clip", rows) != ours._file("clip", rows[::-1])


def test_a_file_of_somebody_else_stays(project, embedded):
    stopped(project, embedded, 40)
    mine = project.path("cache", blocks.FOLDER) / "notes.txt"
    mine.write_text("mine")
    index(project, force=True)
    assert files(project) == [mine]


def test_a_catalogue_of_one_block_writes_none(project, embedded, monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK", 64)
    index(project, force=True)
    assert not project.path("cache", blocks.FOLDER).exists()


def test_parts_are_embedded_once_and_put_together(project, embedded):
    counts, _ = embedded
    before = Retriever.open(project).index.embeddings(np.arange(60))
    # What an earlier index holds is no part of the work.
    assert [index_part(project, Part(n, 3)) for n in (1, 2, 3)] == [0, 0, 0]
    shutil.rmtree(project.path("index"))
    assert [index_part(project, Part(n, 3)) for n in (1, 2, 3)] == [28, 16, 16]
    assert index_part(project, Part(1, 3)) == 0 and sum(counts) == 60
    index(project)
    assert sum(counts) == 60 and not files(project)
    assert np.array_equal(Retriever.open(project).index.embeddings(np.arange(60)), before)
