"""Another index takes the place of the one in force, and no request notices."""

import pytest

from tests.support.catalogue import write_catalogue
from tests.support.projects import copy_project
from tests.support.service import client_of
from unidiff_cli import index, prepare
from unidiff_cli.errors import NotReady
from unidiff_cli.service.catalogue import Current, chosen_of
from unidiff_cli.service.service import Service


@pytest.fixture
def project(finished, tmp_path):
    return copy_project(finished, tmp_path)


def test_a_new_index_is_taken_up_once(project):
    current = Current(project, None)
    before = current.catalogue
    assert not current.changed()
    index(project, force=True)
    assert current.changed() and current.reload() and not current.changed()
    assert current.catalogue is not before and not current.problem
    # A request that began before still finds, and opens, what it began with.
    [hit] = before.retriever.search("red dress", k=1)
    assert before.retriever.image(hit).size == (48, 48)


def test_what_cannot_be_used_leaves_all_as_it_was(project, recipe, tmp_path):
    service = Service(project)
    with client_of(service) as client:
        first = client.post("/v1/retrieve", data={"text": "red dress"}).json()
        images = {hit["id"]: client.get(hit["image"]).content for hit in first["hits"]}
        prepare(project, recipe, write_catalogue(tmp_path / "other", products=9))
        assert service.current.changed() and not service.current.reload()
        # It is looked at again only when something else changes.
        assert not service.current.changed()
        assert "stale" in client.get("/healthz").json()["problem"]
        assert client.post("/v1/retrieve", data={"text": "red dress"}).json() == first
        # Files of the other catalogue lie there now: never another image than the one asked for.
        for name, data in images.items():
            answer = client.get(f"/v1/items/{name}/image")
            assert answer.content == data or answer.status_code == 503
        index(project)
        assert service.current.changed() and service.current.reload()
        health = client.get("/healthz").json()
        assert health["problem"] == "" and health["images"] == 18


def test_a_project_without_an_index_is_not_served(prepared):
    with pytest.raises(NotReady, match="unidiff train"):
        Service(prepared)


def test_choices_of_an_address():
    assert chosen_of(["a:b", "a:c:d", "a:b", "none", "x:"]) == {"a": ["b", "c:d"]}
