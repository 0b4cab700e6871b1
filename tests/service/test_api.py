"""What a client gets for what it sends: hits, items, thumbnails, generations and refusals."""

import io
import json

import pytest
from PIL import Image

from tests.support.catalogue import encoded, photo
from unidiff_cli import Part, Retriever, generate
from unidiff_cli.generation.record import read_record
from unidiff_cli.retrieval.query import open_query
from unidiff_cli.retrieval.synonyms import Synonym


@pytest.fixture(scope="module")
def retriever(finished):
    return Retriever.open(finished)


def picture(seed=1):
    return ("q.png", encoded(photo(seed), "PNG"))


def ids(answer):
    assert answer.status_code == 200, answer.text
    return [hit["id"] for hit in answer.json()["hits"]]


# ---------------------------------------------------------------- retrieve


def test_a_text_finds_what_the_library_finds(client, retriever):
    answer = client.post("/v1/retrieve", data={"text": "red dress", "k": 5})
    wanted = retriever.search("red dress", k=5)
    assert ids(answer) == [hit.id for hit in wanted]
    first = answer.json()["hits"][0]
    assert first["score"] == pytest.approx(wanted[0].score, abs=1e-5)
    assert first["caption"] == wanted[0].caption and first["product"] == wanted[0].row.group
    assert [view["id"] for view in first["views"]] == [view.id for view in wanted[0].views]
    # Where a file lies on the server is nobody's business.
    assert "path" not in json.dumps(answer.json())


def test_parts_count_by_their_weights_and_against(client, retriever, item, another):
    data = {
        "text": "red^0.5",
        "item": f"{item}^2",
        "minus_text": "hat",
        "minus_item": another,
        "image_weight": "3",
        "k": 60,
        "group_by": "none",
    }
    files = [("image", picture(1)), ("minus_image", picture(2))]
    parts = [
        Part("red", 0.5),
        Part("hat", -1),
        Part(open_query(picture(1)[1]), 3),
        Part(open_query(picture(2)[1]), -1),
        retriever.like(item, 2),
        retriever.like(another, -1),
    ]
    [wanted] = retriever.search_all([parts], 60, group_by="none")
    assert ids(client.post("/v1/retrieve", data=data, files=files)) == [hit.id for hit in wanted]


def test_more_like_an_item_leaves_out_its_product(client, retriever, item):
    first = ids(client.post("/v1/retrieve", data={"item": item, "k": 3}))
    others = ids(client.post("/v1/retrieve", data={"item": item, "k": 60, "others": True}))
    own = {row.id for row in retriever.views(item)}
    assert first[0] == item and own and not own & set(others)


def test_rare_words_are_found_and_told_unless_they_are_turned_off(client, retriever):
    row = retriever.items.rows([31])[0]
    answer = client.post("/v1/retrieve", data={"text": row.group, "k": 1}).json()
    assert answer["hits"][0]["product"] == row.group
    assert answer["notes"] == [f"Images with '{row.group.lower()}' in their text come first."]
    answer = client.post("/v1/retrieve", data={"text": row.group, "words": False}).json()
    assert answer["notes"] == []


def test_a_filter_leaves_what_it_lets_through(client):
    data = {"text": "dress", "where": "color = 'red'", "k": 60, "group_by": "none"}
    hits = client.post("/v1/retrieve", data=data).json()["hits"]
    assert hits and {hit["attributes"]["color"] for hit in hits} == {"red"}


@pytest.mark.parametrize(
    ("data", "status", "words"),
    [
        ({}, 400, "nothing to search for"),
        ({"text": "  "}, 400, "nothing to search for"),
        ({"minus_text": "hat"}, 400, "only what is unwanted"),
        ({"text": "x", "where": "colour = 'red'"}, 400, "Did you mean 'color'?"),
        ({"text": "x", "where": "price <"}, 400, "is not complete"),
        ({"text": "x", "k": 0}, 400, "k:"),
        ({"text": "x", "k": 10**9}, 400, "500 hits"),
        ({"text": ["x"] * 17}, 400, "16 parts"),
        ({"text": "x" * 10_001}, 400, "10,000 characters"),
        ({"item": "nothing"}, 400, "no image 'nothing'"),
        ({"text": "x", "image_weight": ["1", "2"]}, 400, "2 weights were given for 0 images"),
        ({"text": "x", "group_by": "colour"}, 400, "no column 'colour'"),
    ],
)
def test_a_query_that_says_nothing_is_refused_in_a_sentence(client, data, status, words):
    answer = client.post("/v1/retrieve", data=data)
    assert answer.status_code == status and words in answer.json()["detail"]


# A page of script in an image, an image that unpacks to much more, a cut one, none at all.
HOSTILE = {
    "script": b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
    "polyglot": b"GIF89a/*<script>alert(1)</script>*/",
    "cut": encoded(photo(3), "JPEG")[:300],
    "empty": b"",
    "text": b"no image",
    "huge": encoded(Image.new("1", (20_000, 20_000)), "PNG"),
}


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize("place", ["/v1/retrieve", "/queries"])
def test_what_is_no_image_is_refused_in_a_sentence(client, kind, place):
    name = "../../../etc/passwd\x00.png"
    answer = client.post(place, files=[("image", (name, HOSTILE[kind]))])
    assert answer.status_code == 400 and "cannot be read as an image" in answer.json()["detail"]


# ---------------------------------------------------------------- items


def test_an_item_has_its_captions_attributes_and_views(client, retriever, item):
    answer = client.get(f"/v1/items/{item}").json()
    row, *others = retriever.views(item)
    assert answer["captions"] == list(row.captions) and answer["attributes"] == row.attributes
    assert [view["id"] for view in answer["views"]] == [other.id for other in others]
    pixels = Image.open(io.BytesIO(client.get(answer["image"]).content))
    assert pixels.size == (answer["width"], answer["height"])
    small = client.get(answer["thumbnail"])
    assert small.headers["content-type"] == "image/jpeg"
    assert Image.open(io.BytesIO(small.content)).size == pixels.size
    # From memory this time.
    assert client.get(answer["thumbnail"]).content == small.content


@pytest.mark.parametrize(
    "name",
    ["none", "..%2F..%2Funidiff.yaml", "../../unidiff.yaml", "%00", "{item}/../x", "ü" * 99],
)
@pytest.mark.parametrize("part", ["", "/image", "/thumbnail"])
def test_nothing_but_an_id_gives_anything(client, item, name, part):
    answer = client.get(f"/v1/items/{name}{part}".replace("{item}", item))
    assert answer.status_code == 404 and "detail" in answer.json()


# ---------------------------------------------------------------- generate


def ended(client, job):
    """The last event of a generation, and the states on the way."""
    states, last = [], {}
    with client.stream("GET", f"/v1/generate/{job['id']}/events") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        for line in stream.iter_lines():
            if line.startswith("event:"):
                states.append(line.split()[1])
            elif line.startswith("data:"):
                last = json.loads(line.removeprefix("data:"))
    return last, states


def test_a_generation_gives_the_images_of_the_command(client, finished, tmp_path):
    wanted = {"prompt": "red dress", "count": 2, "seed": 5, "steps": 3, "guidance": 2.0}
    answer = client.post("/v1/generate", json=wanted)
    assert answer.status_code == 202
    last, states = ended(client, answer.json())
    assert last["state"] == "done" == states[-1] and last["done"] == last["steps"] == 3
    assert [one["record"]["seed"] for one in last["images"]] == [5, 6]
    from tests.support.projects import copy_project
    from unidiff_cli.models.sources import generation_settings

    project = copy_project(finished, tmp_path)
    options = generation_settings(
        project.export(), project, assignments=["generate.steps=3", "generate.guidance=2"]
    )
    (folder,) = generate(project, ["red dress"], options, count=2, seed=5)
    for n, one in enumerate(last["images"]):
        data = client.get(one["image"]).content
        file = tmp_path / "one.png"
        file.write_bytes(data)
        assert read_record(file).seed == 5 + n
        with Image.open(file) as ours, Image.open(folder / f"{n}.png") as theirs:
            assert list(ours.getdata()) == list(theirs.getdata())
    # It is a query as any other.
    name = f"{last['id']}-1"
    assert client.get(f"/queries/{name}").content == client.get(last["images"][1]["image"]).content
    assert client.get(f"/?image={name}").status_code == 200
    for other in ("-2", "-9", "-²", "-x", ""):
        assert client.get(f"/queries/{last['id']}{other}").status_code == 404


@pytest.mark.parametrize(
    "wanted",
    [
        {},
        {"prompt": " "},
        {"prompt": "x", "count": 0},
        {"prompt": "x", "count": 17},
        {"prompt": "x", "steps": 0},
        {"prompt": "x", "seed": -1},
        {"prompt": "x", "guidance": -1},
        {"prompt": "x", "size": 512},
        {"prompt": "x", "size": "512"},
    ],
)
def test_a_generation_that_cannot_be_is_refused_at_once(client, wanted):
    answer = client.post("/v1/generate", json=wanted)
    assert answer.status_code == 400 and answer.json()["detail"]


def test_what_was_never_asked_for_is_not_there(client):
    for place in ("/v1/generate/x", "/v1/generate/x/events", "/v1/generate/x/images/0"):
        assert client.get(place).status_code == 404
    assert client.delete("/v1/generate/x").status_code == 404
    assert client.get("/queries/x").status_code == 404


# ---------------------------------------------------------------- watching


def test_health_and_metrics(client, finished, item):
    health = client.get("/healthz").json()
    assert health["status"] == "ok" and health["images"] == 60
    assert health["export"] == finished.current_export()
    client.get(f"/v1/items/{item}")
    text = client.get("/metrics").text
    line = 'unidiff_requests_total{method="GET",route="/v1/items/{id:path}",status="200"}'
    assert line in text and "unidiff_index_images 60.0" in text


def test_the_document_describes_every_route_and_loads_nothing_from_elsewhere(client):
    document = client.get("/openapi.json").json()
    assert {"/v1/retrieve", "/v1/generate", "/v1/items/{id}", "/healthz"} <= document[
        "paths"
    ].keys()
    page = client.get("/docs").text
    assert "swagger" in page and "http://" not in page and "https://" not in page
    assert client.get("/static-docs/swagger-ui-bundle.js").status_code == 200


def test_what_a_word_stands_for_is_offered_and_not_applied(client, service, monkeypatch):
    known = {"rouge": Synonym("color", "red", 9, 9)}
    monkeypatch.setattr(service.catalogue.retriever, "_synonyms", known)
    answer = client.post("/v1/retrieve", data={"text": "rouge dress", "k": 60}).json()
    [offer] = answer["offers"]
    assert offer["words"] == ["rouge"] and offer["where"] == "color = 'red'"
    assert {hit["attributes"]["color"] for hit in answer["hits"]} != {"red"}
    taken = {"text": "rouge dress", "k": 60, "where": offer["where"]}
    answer = client.post("/v1/retrieve", data=taken).json()
    assert {hit["attributes"]["color"] for hit in answer["hits"]} == {"red"}
    assert answer["offers"] == []
