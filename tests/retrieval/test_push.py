"""The index in Qdrant: equal answers, no more sent than is new, and nothing of others lost."""

import json
import re
import socket
import warnings

import numpy as np
import pytest

pytest.importorskip("qdrant_client", reason="comes with the extra `qdrant`")

from qdrant_client import QdrantClient
from qdrant_client.models import (
    Distance,
    FieldCondition,
    Filter,
    MatchValue,
    PointStruct,
    VectorParams,
)

from tests.support.commands import unidiff  # noqa: F401
from tests.support.source import ROOT
from tests.support.web import reply, serving
from unidiff_cli import Part, QueryEncoder, Retriever
from unidiff_cli.errors import EnvironmentProblem, UsageError, WorkError
from unidiff_cli.project.receipt import Receipt
from unidiff_cli.retrieval import push as pushing
from unidiff_cli.retrieval import qdrant
from unidiff_cli.retrieval.push import Pushed, push
from unidiff_cli.retrieval.qdrant import Address

TO = "http://localhost:6333/shop"
PAGE = ROOT / "docs" / "guides" / "retrieval.md"


@pytest.fixture(scope="module")
def retriever(finished):
    return Retriever.open(finished)


@pytest.fixture
def client(monkeypatch):
    """Qdrant's local mode in the place of a server."""
    warnings.filterwarnings("ignore", "Payload indexes have no effect")
    client = QdrantClient(":memory:")
    monkeypatch.setattr(qdrant, "connect", lambda place, key: client)
    monkeypatch.setattr(client, "close", lambda: None)
    return client


@pytest.fixture
def filled(client, finished):
    """The same, with the index in it."""
    assert push(finished, TO) == Pushed(60, 60, 0)
    return client


def mark(finished, **changed):
    hashed = Receipt.read(finished.path("index")).inputs["exports/001-fashion"]
    return {qdrant.OURS: {"export": "001-fashion", "fingerprint": hashed} | changed}


# ---------------------------------------------------------------- what is there


def test_a_search_there_finds_what_ours_finds(filled, retriever):
    queries = retriever.embed([[Part("red dress")], [Part("blue hat"), Part("dark", 0.5)]])
    ours = retriever.search_all(
        [[Part(query)] for query in queries], 60, group_by="none", words=False
    )
    for query, hits in zip(queries, ours, strict=True):
        points = filled.query_points("shop", query.tolist(), using="clip", limit=60).points
        assert [point.payload["id"] for point in points] == [hit.id for hit in hits]
        scores = [point.score for point in points]
        assert scores == pytest.approx([hit.score for hit in hits], abs=1e-5)


def test_filters_there_ask_for_typed_attributes(filled, retriever):
    red = Filter(must=[FieldCondition(key="attributes.color", match=MatchValue(value="red"))])
    options = {"query": retriever.embed([[Part("dress")]])[0].tolist(), "using": "clip"}
    options |= {"query_filter": red, "limit": 60}
    for group_by in ("none", "product"):
        ours = retriever.search(
            "dress", k=60, where="color = 'red'", group_by=group_by, words=False
        )
        points = filled.query_points("shop", **options).points
        if group_by == "product":
            groups = filled.query_points_groups("shop", "product", **options).groups
            points = [group.hits[0] for group in groups]
        assert ours and [point.payload["id"] for point in points] == [hit.id for hit in ours]


def test_a_point_says_what_its_image_is_and_the_collection_what_made_it(
    filled, retriever, finished
):
    row = retriever.items.rows([7])[0]
    assert filled.get_collection("shop").config.metadata == mark(finished)
    chosen = Filter(must=[FieldCondition(key="id", match=MatchValue(value=row.id))])
    [point], _ = filled.scroll("shop", chosen)
    payload = point.payload
    assert (payload["product"], payload["split"]) == (row.group, row.split)
    assert payload["captions"] == list(row.captions) and payload["path"] == row.path
    assert payload["attributes"]["color"] == row.attributes["color"]


def test_a_query_needs_the_export_alone(finished, retriever):
    encoder = QueryEncoder.open(finished)
    parts = [Part("red dress"), Part("in silk", 0.5), Part("hat", -1.0)]
    query = encoder.embed("red dress", plus=[parts[1]], minus=[Part("hat")])
    assert np.array_equal(query, retriever.embed([parts])[0]) and query.dtype == np.float32
    assert mark(finished)[qdrant.OURS]["fingerprint"] == encoder.fingerprint
    with pytest.raises(UsageError, match="nothing to search for"):
        encoder.embed(" ")


def test_the_example_of_the_guide_finds_products(filled, finished, tmp_path, monkeypatch, capsys):
    [code] = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    assert len(code.splitlines()) <= 12
    (tmp_path / "unidiff-project").symlink_to(finished.root)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("qdrant_client.QdrantClient", lambda place: filled)
    exec(code, {})
    assert len(capsys.readouterr().out.splitlines()) == 5


# ---------------------------------------------------------------- once more


def test_a_second_push_sends_nothing_and_one_that_was_stopped_goes_on(
    client, finished, monkeypatch
):
    monkeypatch.setattr(pushing, "BATCH", 16)
    monkeypatch.setattr(pushing, "PAGE", 7)
    seen = []

    def stop_late(label, done, total):
        seen.append((label, done, total))
        if done == 32:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        push(finished, TO, on_progress=stop_late)
    assert seen == [("pushing", 16, 60), ("pushing", 32, 60)]
    assert push(finished, TO) == Pushed(60, 28, 0)
    assert push(finished, TO) == Pushed(60, 0, 0)


def test_what_changed_is_sent_what_is_gone_is_removed_and_what_is_foreign_stays(filled, finished):
    gone = "00000000-0000-4000-8000-000000000000"
    [first, *_], _ = filled.scroll("shop", limit=5, with_vectors=True)
    changed = first.payload | {qdrant.OURS: "of an earlier caption", "captions": ["before"]}
    points = [
        PointStruct(id=first.id, payload=changed, vector=first.vector),
        PointStruct(id=gone, payload={qdrant.OURS: "x"}, vector=first.vector),
        PointStruct(id=5, payload={"theirs": True}, vector=first.vector),
    ]
    filled.upsert("shop", points)
    assert push(finished, TO) == Pushed(60, 1, 1)
    assert not filled.retrieve("shop", [gone]) and filled.retrieve("shop", [5])
    assert filled.retrieve("shop", [first.id])[0].payload == first.payload
    assert filled.count("shop").count == 61


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("metadata", "size", "words"),
    [
        (None, 32, "was not made by unidiff"),
        ({"unidiff": {"export": "000-old", "fingerprint": "x"}}, 32, "another model, 000-old, and"),
        ({}, 3, r"has vectors of 3 \(clip\), and the index of \d+ \(clip\)"),
    ],
)
def test_a_collection_that_is_not_for_this_index_is_left_as_it_is(
    client, finished, metadata, size, words
):
    vectors = {"clip": VectorParams(size=size, distance=Distance.COSINE)}
    metadata = mark(finished) if metadata == {} else metadata
    client.create_collection("shop", vectors, metadata=metadata)
    with pytest.raises(UsageError, match=words):
        push(finished, TO)
    assert client.count("shop").count == 0


@pytest.mark.parametrize(
    "text",
    [
        "localhost:6333/shop",
        "ftp://localhost/shop",
        "http://localhost:6333",
        "http://localhost:6333/",
        "http://localhost:x/shop",
        "http:///shop",
        "http://localhost:6333/..",
        "http://localhost:6333/a%2Fb",
        "http://me:secret@localhost:6333/shop",
        "http://localhost:6333/shop?api-key=secret",
    ],
)
def test_an_address_that_names_no_collection_is_refused_without_its_secrets(finished, text):
    with pytest.raises(UsageError, match="is no address of a collection") as refused:
        push(finished, text)
    assert "secret" not in str(refused.value) and "QDRANT_API_KEY" in str(refused.value)


def test_an_address_may_have_a_folder_before_the_collection():
    assert Address.of("https://shop.example/qdrant/shop-2") == Address(
        "https://shop.example/qdrant", "shop-2"
    )


def test_a_server_that_is_not_there_refuses_or_is_too_old_is_named(finished):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
    with pytest.raises(EnvironmentProblem, match=f"Qdrant at http://127.0.0.1:{port} does not"):
        push(finished, f"http://127.0.0.1:{port}/shop")
    with serving() as web:
        exists, to = "/collections/shop/exists", f"{web.address}/shop"
        web.answers[exists] = lambda request: reply(request, b"{}", 401)
        with pytest.raises(EnvironmentProblem, match="does not accept the key"):
            push(finished, to, key="wrong")
        assert web.headers[-1]["api-key"] == "wrong"
        error = json.dumps({"status": {"error": "The disk is full."}}).encode()
        web.answers[exists] = lambda request: reply(request, error, 500)
        with pytest.raises(WorkError, match=r"answered 500: The disk is full\. Run it again"):
            push(finished, to)
        answer = {"result": {"exists": False}, "status": "ok", "time": 0}
        web.answers[exists] = json.dumps(answer).encode()
        web.answers["/"] = json.dumps({"title": "qdrant", "version": "1.9.2"}).encode()
        with pytest.raises(EnvironmentProblem, match="is 1.9.2, .* Update it to 1.16"):
            push(finished, to)


# ---------------------------------------------------------------- the command


def test_the_command_says_what_it_sent(client, finished, unidiff):  # noqa: F811
    code, out, err = unidiff("-C", finished.root, "index", "--to", TO)
    assert (code, out) == (0, f"{TO}: 60 images, 60 sent, 0 removed\n") and "pushing: 60" in err
    for others in (["--force"], ["--rollback"], ["--export", "001-fashion"]):
        code, _, err = unidiff("-C", finished.root, "index", "--to", TO, *others)
        assert code == 2 and "and another option were given" in err
