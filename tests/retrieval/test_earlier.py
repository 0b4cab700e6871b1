"""An index that is made again embeds only what is new, and equals one that is made anew."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.support.catalogue import photo
from tests.support.projects import copy_project, load_recipe
from unidiff_cli import Retriever, index, prepare, retrieve
from unidiff_cli.models.encoders import ClipEncoder
from unidiff_cli.project.receipt import Receipt, close


@pytest.fixture
def project(finished, tmp_path):
    return copy_project(finished, tmp_path)


@pytest.fixture
def embedded(monkeypatch):
    """How many images were embedded, call by call."""
    counts, real = [], ClipEncoder.embed_pixels

    def counted(self, pixels):
        counts.append(len(pixels))
        return real(self, pixels)

    monkeypatch.setattr(ClipEncoder, "embed_pixels", counted)
    return counts


@pytest.fixture
def changed(catalogue, tmp_path):
    """The catalogue with one image that is another."""
    copy = Path(shutil.copytree(catalogue, tmp_path / "shop"))
    photo(99, (96, 96)).save(min((copy / "images").iterdir()))
    return copy


def test_only_new_images_are_embedded(project, changed, tiny_base, embedded):
    before = Retriever.open(project)
    old = before.index.embeddings(np.arange(60))
    prepare(project, load_recipe(tiny_base), changed)
    assert index(project).counts == {"images": 60, "embedded": 1}
    assert sum(embedded) == 1
    incremental = Retriever.open(project).index.embeddings(np.arange(60))
    index(project, force=True)
    assert sum(embedded) == 61
    anew = Retriever.open(project)
    assert np.allclose(anew.index.embeddings(np.arange(60)), incremental, atol=1e-6)
    assert not np.allclose(old, incremental, atol=1e-6)


def test_an_index_of_another_export_or_a_damaged_one_is_not_used(project, changed, tiny_base):
    prepare(project, load_recipe(tiny_base), changed)
    file = project.path("index", "clip") / "embeddings.safetensors"
    file.write_bytes(file.read_bytes()[:-8])
    assert index(project).counts == {"images": 60, "embedded": 60}
    assert retrieve(project, "red dress", k=3)


def test_an_index_of_a_kind_that_is_no_longer_installed_is_made_anew(project, tiny_base, changed):
    receipt = Receipt.read(project.path("index"))
    receipt.settings["kind"] = "gone"
    close(project.path("index"), receipt, 0)
    prepare(project, load_recipe(tiny_base), changed)
    assert index(project).counts == {"images": 60, "embedded": 60}
    assert retrieve(project, "red dress", k=3)


def test_an_approximate_index_is_taken_over_and_says_its_recall(project, changed, tiny_base):
    receipt = index(project, kind="ivf")
    assert receipt.counts == {"images": 60, "embedded": 0}
    recall = receipt.figures["clip"]["recall@10"]
    assert set(recall) == {"images", "captions"} and all(0.9 <= v <= 1 for v in recall.values())
    assert retrieve(project, "red dress", k=3)
    prepare(project, load_recipe(tiny_base), changed)
    assert index(project, kind="ivf").counts == {"images": 60, "embedded": 1}
