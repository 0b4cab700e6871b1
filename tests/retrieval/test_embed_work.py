"""Blocks of images as units of work, and those of an index over a Ray cluster."""

import numpy as np
import pytest

from tests.support.catalogue import write_photos
from tests.support.cluster import two_nodes
from tests.support.exports import write_export
from tests.support.projects import copy_project
from unidiff_cli import Project, Retriever, index, prepare
from unidiff_cli.config.prepare import Prepare
from unidiff_cli.config.schema import Recipe
from unidiff_cli.errors import EnvironmentProblem
from unidiff_cli.models.encoders import ClipEncoder
from unidiff_cli.retrieval import blocks
from unidiff_cli.retrieval.embed_work import EmbedBlock


def embeddings(project, count):
    return Retriever.open(project).index.embeddings(np.arange(count))


def test_blocks_done_elsewhere_are_all_that_index_needs(finished, tmp_path, monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK", 16)
    project, before = copy_project(finished, tmp_path), embeddings(finished, 60)
    block = EmbedBlock(project.root, project.export(None).name, "state", True, 4)
    assert [block(number) for number in (2, 0, 3, 1)] == [16, 16, 12, 16]
    # Once more gives nothing new.
    assert block(2) == 0
    monkeypatch.setattr(ClipEncoder, "embed_pixels", None)
    assert index(project, force=True).counts == {"images": 60, "embedded": 60}
    assert np.allclose(embeddings(project, 60), before, atol=1e-6)


def test_another_state_is_opened_anew(finished, tmp_path):
    project = copy_project(finished, tmp_path)
    name = project.export(None).name
    # An index that is there has them all.
    assert EmbedBlock(project.root, name, "before", False, 1)(0) == 0
    assert EmbedBlock(project.root, name, "forced", True, 1)(0) == 60


@pytest.mark.slow
def test_a_node_that_is_lost_while_it_embeds_costs_nothing(tmp_path, tiny_base):
    """Two nodes embed; one is taken away midway. Nothing is lost, and nothing is there twice."""
    count, told = 5 * blocks.BLOCK + 100, []
    project = Project(tmp_path / "project")
    prepare(project, Recipe(prepare=Prepare()), write_photos(tmp_path / "shop", count))
    write_export(project, tiny_base)
    index(project)
    alone = embeddings(project, count)
    with two_nodes() as (address, lose):

        def tell(what, done, total):
            told.append((done, total))
            lose()

        receipt = index(project, force=True, engine="ray", address=address, on_progress=tell)
    assert (count, count) in told
    assert receipt.counts == {"images": count, "embedded": count}
    assert np.allclose(embeddings(project, count), alone, atol=1e-6)
    assert not project.path("cache", blocks.FOLDER).exists()


@pytest.mark.slow
def test_an_index_over_no_cluster_is_a_sentence(finished, tmp_path):
    pytest.importorskip("ray", reason="comes with the extra `ray`")
    project = copy_project(finished, tmp_path)
    with pytest.raises(EnvironmentProblem, match="cluster 127.0.0.1:9 cannot be reached"):
        index(project, force=True, engine="ray", address="127.0.0.1:9")
    # The one from before is still there.
    assert len(embeddings(project, 60)) == 60
