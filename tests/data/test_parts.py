"""Prepare spread over jobs and over a Ray cluster: the bytes are those of one process."""

import pytest

from tests.support.catalogue import write_photos
from tests.support.cluster import two_nodes
from tests.support.preparing import bytes_of, is_whole, run
from unidiff_cli.config.prepare import Prepare
from unidiff_cli.config.schema import Recipe
from unidiff_cli.data import decode
from unidiff_cli.data.parts import Part
from unidiff_cli.data.prepare import prepare, prepare_part
from unidiff_cli.errors import EnvironmentProblem, UsageError
from unidiff_cli.project.project import Project


@pytest.mark.parametrize("text", ["3", "0/4", "5/4", "a/b", "1/", "/4", "-1/4", "1/0", "1.0/2"])
def test_what_is_no_part_is_refused(text):
    with pytest.raises(UsageError, match="is no part"):
        Part.parse(text)


def test_parts_hold_every_unit_once():
    parts = [Part.parse(f"{n}/3") for n in (1, 2, 3)]
    assert [[part.holds(n) for part in parts].count(True) for n in range(20)] == [1] * 20


def test_what_jobs_decoded_is_not_decoded_again(tmp_path, monkeypatch):
    source = write_photos(tmp_path / "shop", 40)
    (source / "images" / "7.jpg").unlink()
    project, recipe = Project(tmp_path / "project"), Recipe(prepare=Prepare(workers=1))
    done = [prepare_part(project, recipe, source, Part(n, 3)) for n in (1, 2, 3)]
    assert [len(each.samples) for each in done] == [14, 12, 13]
    assert sum(len(each.rejected) for each in done) == 1
    monkeypatch.setattr(decode, "prepare_image", lambda source, **options: decode.CRASHED)
    receipt = prepare(project, recipe, source)
    # The bad one is tried again.
    assert (receipt.counts["samples"], receipt.counts["bad"]) == (39, 1)
    monkeypatch.undo()
    _, fresh = run(tmp_path, source, project="fresh")
    ours = bytes_of(project.path("shards"))
    # There it has another reason.
    del ours["quarantine.jsonl"]
    assert ours.items() <= bytes_of(fresh).items() and is_whole(fresh)


@pytest.mark.slow
def test_a_node_that_is_lost_costs_nothing(tmp_path):
    """Two nodes decode; one is taken away midway."""
    source, told = write_photos(tmp_path / "shop", 400), []
    project, recipe = Project(tmp_path / "project"), Recipe(prepare=Prepare())
    with two_nodes() as (address, lose):

        def tell(what, done, total):
            told.append((what, done))
            if what == "images" and done >= 100:
                lose()

        prepare(project, recipe, source, engine="ray", address=address, on_progress=tell)
    assert ("images", 400) in told
    _, fresh = run(tmp_path, source, project="fresh")
    assert bytes_of(project.path("shards")) == bytes_of(fresh)


@pytest.mark.slow
def test_a_cluster_that_is_not_there_is_a_sentence(tmp_path):
    pytest.importorskip("ray", reason="comes with the extra `ray`")
    source = write_photos(tmp_path / "shop", 10)
    project, recipe = Project(tmp_path / "project"), Recipe(prepare=Prepare())
    with pytest.raises(EnvironmentProblem, match="cluster 127.0.0.1:9 cannot be reached"):
        prepare(project, recipe, source, engine="ray", address="127.0.0.1:9")
