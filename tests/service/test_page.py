"""The page: what its address asks for is what it shows, and nothing of the catalogue is script."""

import re

import pytest

from tests.support.catalogue import encoded, photo
from tests.support.service import client_of
from unidiff_cli import Retriever, index, prepare
from unidiff_cli.retrieval.synonyms import Synonym
from unidiff_cli.service.page import Asked
from unidiff_cli.service.service import Service


def shown(client, address):
    """The ids of the cards of a page."""
    answer = client.get(address)
    assert answer.status_code == 200, answer.text
    return re.findall(r'class="picture" href="/items/([^"]+)"', answer.text)


def links(client, address, words):
    """The addresses behind links whose text or label has these words."""
    page = client.get(address).text
    found = re.findall(r'<a ([^>]*href="([^"]+)"[^>]*)>([^<]*)', page)
    return [href.replace("&amp;", "&") for tag, href, text in found if words in tag + text]


@pytest.fixture(scope="module")
def retriever(finished):
    return Retriever.open(finished)


def test_it_begins_with_the_catalogue_a_product_each(client, retriever):
    rows = retriever.first(24)
    assert shown(client, "/") == [row.id for row in rows]
    assert len({row.group for row in rows}) == len(rows)


def test_a_text_shows_what_the_library_finds(client, retriever):
    wanted = [hit.id for hit in retriever.search("red dress", k=24)]
    assert shown(client, "/?q=red+dress") == wanted
    page, (best,) = client.get("/?q=red+dress").text, retriever.search("red dress", k=1)
    assert 'value="red dress"' in page and f"{best.score:.3f}" in page


def test_facets_leave_their_values_and_count_what_the_others_leave(client, retriever):
    page = client.get("/?f=color:red").text
    reds = [r for r in retriever.items.rows(range(60)) if r.attributes["color"] == "red"]
    assert set(shown(client, "/?f=color:red&n=99")) <= {row.id for row in reds}
    counts = dict(re.findall(r'value="color:(\w+)".*?<small>(\d+)</small>', page, re.S))
    # Its own values count as if it were not chosen.
    assert counts["red"] == str(len(reds)) and int(counts["blue"]) > 0
    assert re.search(r'value="color:red" checked', page)
    assert shown(client, "/?f=color:red&f=color:blue&n=99") != shown(client, "/?f=color:red&n=99")


def test_chips_take_away_one_part_each(client, item):
    address = f"/?q=dress&plus=red&minus=hat&unlike={item}"
    removed = links(client, address, "Remove ")
    assert [("plus=" in a, "minus=" in a, "unlike=" in a) for a in removed] == [
        (False, True, True),
        (True, False, True),
        (True, True, False),
    ]
    assert all("q=dress" in each for each in removed)


def test_more_like_a_card_searches_for_it_alone(client, retriever):
    first = shown(client, "/?q=dress&plus=red")[0]
    more = links(client, "/?q=dress&plus=red", "More like")[0]
    assert more == f"/?like={first}"
    assert first not in shown(client, more)


def test_an_image_that_was_sent_is_in_the_address(client, retriever):
    sent = client.post("/queries", files={"image": ("x.png", encoded(photo(1), "PNG"))})
    assert sent.status_code == 201
    name = sent.json()["image"]
    assert client.get(f"/queries/{name}").headers["content-type"] == "image/jpeg"
    assert len(shown(client, f"/?image={name}")) == 24
    # A part of a query as any other.
    assert shown(client, f"/?image={name}&q=red") != shown(client, f"/?image={name}")


def test_show_more_shows_more(client):
    (more,) = links(client, "/?q=dress", "Show more")
    assert shown(client, more)[:24] == shown(client, "/?q=dress") and len(shown(client, more)) > 24


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("/?where=colour=1", "Did you mean &#39;color&#39;?"),
        ("/?q=x&image=gone", "no longer kept"),
        ("/?like=gone", "no image &#39;gone&#39;"),
        ("/?minus=hat", "only what is unwanted"),
    ],
)
def test_what_cannot_be_answered_is_said_on_the_page(client, address, words):
    answer = client.get(address)
    assert answer.status_code == 400 and words in answer.text and "<form" in answer.text


def test_odd_addresses_ask_for_nothing(client):
    for address in (
        "/?n=x",
        "/?n=-1",
        "/?n=99999",
        "/?f=none",
        "/?f=none:x",
        "/?f=:x",
        "/?f=color:",
    ):
        assert client.get(address).status_code == 200, address


def test_a_product_has_its_page(client, retriever, item):
    page = client.get(f"/items/{item}").text
    row, *others = retriever.views(item)
    assert row.captions[0] in page and all(f"/items/{each.id}" in page for each in others)
    assert row.id not in shown(client, f"/items/{item}")
    assert client.get("/items/none").status_code == 404


def test_the_report_is_shown_once_there_is_one(client, finished):
    assert client.get("/report").status_code == 404
    assert 'href="/report"' not in client.get("/").text


def test_an_address_is_written_as_it_is_read():
    asked = Asked(q="a b&c", plus=["x^2"], f=["a:b:c"], n=48)
    assert asked.link(n=48) == "/?q=a+b%26c&plus=x%5E2&f=a%3Ab%3Ac&n=48"
    assert Asked().link() == "/"


SCRIPT = "<script>alert('x')</script>\"onload='alert(1)"


@pytest.mark.slow
def test_nothing_of_a_catalogue_is_script(tmp_path, finished, recipe):
    """In captions, attributes, names of columns, products and ids."""
    import csv

    from tests.support.projects import copy_project

    shop = tmp_path / "shop"
    shop.mkdir()
    names = ["image", "caption", "id", f"color{SCRIPT}", "product", "mark"]
    with open(shop / "rows.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        for n in range(12):
            photo(n).save(shop / f"{n}.jpg")
            cell = f"{SCRIPT}{n % 2}"
            writer.writerow(
                [f"{n}.jpg", f"a {cell} {n}", f"id/{n}{SCRIPT}", cell, cell + str(n), cell]
            )
    project = copy_project(finished, tmp_path)
    prepare(project, recipe, shop)
    index(project)
    with client_of(Service(project)) as client:
        for address in ("/", "/?q=x", f"/?q={SCRIPT}", f"/?plus={SCRIPT}&q=x", f"/?where={SCRIPT}"):
            page = client.get(address).text
            assert "<script>alert" not in page and "\"onload='alert" not in page, address
        assert "&lt;script&gt;alert" in client.get("/").text
        hit = client.post("/v1/retrieve", data={"text": "x"}).json()["hits"][0]
        assert client.get(hit["image"]).headers["content-type"].startswith("image/")
        assert client.get(hit["thumbnail"]).status_code == 200
        item = client.get(f"/items/{hit['image'].split('/')[3]}")
        assert item.status_code == 200 and "<script>alert" not in item.text


def test_an_offer_is_a_link_to_its_choice_or_else_to_its_filter(client, service, monkeypatch):
    retriever = service.catalogue.retriever
    monkeypatch.setattr(retriever, "_synonyms", {"rouge": Synonym("color", "red", 9, 9)})
    [taken] = links(client, "/?q=rouge+dress", "Only red")
    assert taken == "/?q=rouge+dress&f=color%3Ared"
    assert not links(client, taken, "Only red")
    # What is no choice of the page is added to the filter of one's own.
    monkeypatch.setattr(retriever, "_synonyms", {"rouge": Synonym("path", "a", 9, 9)})
    [taken] = links(client, "/?q=rouge&where=color+%3D+'red'", "Only a")
    assert taken == "/?q=rouge&where=%28color+%3D+%27red%27%29+and+path+%3D+%27a%27"
