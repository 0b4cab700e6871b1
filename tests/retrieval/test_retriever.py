"""Queries by text, image and both, by an object that is opened once and by the stage."""

import logging

import numpy as np
import pytest
from PIL import Image

from tests.support.catalogue import COLORS
from tests.support.projects import copy_project, load_recipe
from unidiff_cli import Retriever, export, index, retrieve, train
from unidiff_cli.data.shards import Shards
from unidiff_cli.errors import NotReady, UsageError
from unidiff_cli.models import encoders
from unidiff_cli.project.receipt import Receipt
from unidiff_cli.retrieval.composition import Part
from unidiff_cli.retrieval.items import Items
from unidiff_cli.retrieval.provenance import SCHEMA
from unidiff_cli.retrieval.query import open_query
from unidiff_cli.retrieval.retrieve import retrieve_batch
from unidiff_cli.retrieval.synonyms import Synonym, learn, read_synonyms
from unidiff_cli.retrieval.thresholds import Threshold
from unidiff_cli.retrieval.where import mask_of


@pytest.fixture
def image(catalogue):
    return catalogue / "images" / "p007-1.png"


@pytest.fixture(scope="module")
def retriever(finished):
    return Retriever.open(finished)


# ---------------------------------------------------------------- answers


def test_an_image_of_the_catalogue_is_its_own_nearest(finished, image):
    hits = retrieve(finished, image=image, k=3)
    assert hits[0].path == str(image) and hits[0].score == pytest.approx(1, abs=1e-3)
    assert [hit.rank for hit in hits] == [1, 2, 3]
    assert hits[0].score >= hits[1].score >= hits[2].score
    assert hits[0].attributes["color"] in COLORS


def test_a_long_text_says_which_words_are_not_read(finished, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("unidiff"), "propagate", True)
    assert retrieve(finished, "red " * 22 + "dress", k=1)
    (line,) = [record.message for record in caplog.records if record.name == "unidiff"]
    assert line.startswith("The text has") and line.endswith("are not read: dress")


def test_a_search_covers_the_whole_catalogue_not_a_split(retriever):
    assert len(retriever.search("red dress", k=99, group_by="none")) == 60


def test_text_image_and_both_give_different_answers(retriever, image):
    answers = [
        [hit.id for hit in retriever.search(text, query, k=60, group_by="none")]
        for text, query in (("red dress", None), (None, image), ("red dress", image))
    ]
    assert answers[0] != answers[1] != answers[2] != answers[0]


def test_a_text_and_an_image_add_their_scores(retriever, image):
    parts = np.stack(
        [
            retriever.encoder.embed_captions(["red dress"])[0],
            retriever.encoder.embed_images([open_query(image)])[0],
        ]
    )
    wanted = (retriever.index.embeddings(np.arange(60)) @ parts.T).sum(1)
    hits = retriever.search("red dress", image, k=60, group_by="none")
    ids = [row.id for row in retriever.items.rows(np.argsort(-wanted).tolist())]
    assert [hit.id for hit in hits][:10] == ids[:10]


def test_parts_are_wanted_and_unwanted_by_their_weights(retriever, image):
    def ids(**query):
        hits = retriever.search("red dress", k=60, group_by="none", words=False, **query)
        return [hit.id for hit in hits]

    plain, photo = ids(), Part(open_query(image))
    assert ids(plus=[photo]) == [
        hit.id for hit in retriever.search("red dress", image, k=60, group_by="none")
    ]
    assert ids(plus=[Part("hat", 0.0)]) == plain
    middle = retriever.search("red dress", k=60, group_by="none")[30]
    strong = Part(retriever.image(middle), 9.0)
    far, near = ids(minus=[strong]), ids(plus=[strong])
    assert near.index(middle.id) < 30 < far.index(middle.id)
    with pytest.raises(UsageError, match="only what is unwanted"):
        retriever.search(minus=[photo])


def test_a_filter_leaves_only_what_it_lets_through(retriever):
    hits = retriever.search("dress", k=60, where="color = 'red'", group_by="none")
    assert hits and {hit.attributes["color"] for hit in hits} == {"red"}
    every = retriever.search("dress", k=60, group_by="none")
    assert [hit.id for hit in hits] == [h.id for h in every if h.attributes["color"] == "red"]
    assert retriever.search("dress", where="color = 'no such'") == []
    with pytest.raises(UsageError, match="no column 'colour'. Did you mean 'color'"):
        retriever.search("dress", where="colour = 'red'")


def test_the_images_of_a_product_are_one_hit_and_its_views(retriever):
    every = retriever.search("red dress", k=60, group_by="none")
    assert all(not hit.views for hit in every)
    hits = retriever.search("red dress", k=60)
    products = [hit.row.group for hit in hits]
    assert products == list(dict.fromkeys(hit.row.group for hit in every))
    for hit in hits:
        others = [h for h in every if h.row.group == hit.row.group and h.id != hit.id]
        assert [view.id for view in hit.views] == [other.id for other in others]
        assert [view.score for view in hit.views] == pytest.approx([h.score for h in others])
    assert len(retriever.search("red dress", k=5)) == 5
    assert any(hit.views for hit in hits)


def test_hits_are_grouped_by_any_column(retriever):
    hits = retriever.search("red dress", k=60, group_by="color")
    colours = [hit.attributes["color"] for hit in hits]
    assert len(colours) == len(set(colours)) == len(set(colours) & set(COLORS)) > 1
    assert all(len(hit.views) <= 10 for hit in hits)
    with pytest.raises(UsageError, match="no column 'colr'. Did you mean 'color'"):
        retriever.search("red dress", group_by="colr")


def test_two_queries_of_one_retriever_equal_two_calls_of_the_stage(finished, retriever, image):
    queries = [("red dress", None), ("blue hat", image), ("red dress", None)]
    for text, query in queries:
        assert retriever.search(text, query, k=5) == retrieve(finished, text, query, k=5)


def test_it_opens_the_index_and_the_model_once_and_reads_no_shards(finished, monkeypatch):
    calls = []
    for owner, name in ((Shards, "rows"), (Items, "open"), (encoders, "load_encoder")):
        real = getattr(owner, name)

        def counted(*args, real=real, name=name, **options):
            calls.append(name)
            return real(*args, **options)

        monkeypatch.setattr(owner, name, counted)
    retriever = Retriever.open(finished)
    retriever.search("red dress")
    retriever.search("blue hat")
    assert sorted(calls) == ["load_encoder", "open"]


def test_a_query_image_is_a_path_bytes_or_an_image(retriever, image):
    queries = (image, str(image), image.read_bytes(), open_query(image))
    answers = [retriever.search(image=query, k=5) for query in queries]
    assert all(answer == answers[0] for answer in answers)


def test_a_hit_as_json_leaves_its_row_out_and_its_image_is_in_the_shards(retriever, image):
    [hit] = retriever.search(image=image, k=1)
    assert set(hit.plain()) == {"rank", "score", "id", "caption", "path", "attributes", "views"}
    with Image.open(image) as opened:
        assert retriever.image(hit).size == opened.size


def test_the_sheet_shows_the_query_and_the_hits(finished, image, tmp_path):
    file = tmp_path / "sheet.png"
    retrieve(finished, "red dress", k=3, sheet_to=file)
    assert Image.open(file).width == 3 * 264 + 8
    retrieve(finished, "red dress", image, k=3, sheet_to=file)
    assert Image.open(file).width == 4 * 264 + 8


# ---------------------------------------------------------------- the index of a project


def test_the_index_names_its_kind_and_the_export(finished):
    receipt = Receipt.read(finished.path("index"))
    assert receipt.settings == {"export": "001-fashion", "kind": "flat", "schema": SCHEMA}
    assert [folder.name for folder in finished.path("index").iterdir() if folder.is_dir()] == [
        "clip"
    ]


def test_an_unknown_kind_of_index_is_refused(finished):
    with pytest.raises(UsageError, match="no index named 'flatt'. Did you mean 'flat'"):
        index(finished, kind="flatt")


def test_a_recipe_names_the_kind_of_index(tiny_base):
    from unidiff_cli.errors import RecipeError

    assert load_recipe(tiny_base, "index.kind=flat").index.kind == "flat"
    with pytest.raises(RecipeError, match="there is no index named 'flatt'. Did you mean 'flat'"):
        load_recipe(tiny_base, "index.kind=flatt")


def test_a_stale_index_is_refused_with_the_command_that_rebuilds_it(finished, tmp_path, recipe):
    project = copy_project(finished, tmp_path)
    name, _ = train(project, load_recipe(recipe.base, "train.steps=2"))
    export(project, name)
    with pytest.raises(NotReady, match="Run: unidiff index"):
        Retriever.open(project)
    index(project)
    assert retrieve(project, "red dress", k=1)


# ---------------------------------------------------------------- what is refused


def test_an_image_encoder_that_the_export_has_not_is_refused_with_those_it_has(finished):
    with pytest.raises(UsageError, match="has no image encoder 'diffdis'. .* encoders: clip."):
        Retriever.open(finished, encoder="diffdis")
    with pytest.raises(UsageError, match="Did you mean 'clip'"):
        retrieve(finished, "red dress", encoder="clipp")


def test_a_query_of_nothing_is_refused(retriever):
    with pytest.raises(UsageError, match="nothing to search for"):
        retriever.search()


def test_a_query_that_is_no_image_is_refused(finished, retriever, tmp_path):
    (tmp_path / "q.jpg").write_bytes(b"not an image")
    with pytest.raises(UsageError, match="q.jpg cannot be read as an image"):
        retrieve(finished, image=tmp_path / "q.jpg")
    with pytest.raises(UsageError, match="The query cannot be read as an image"):
        retriever.search(image=b"not an image")


def test_a_blank_text_finds_nothing(retriever):
    with pytest.raises(UsageError, match="nothing to search for"):
        retriever.search(" \n")


# ---------------------------------------------------------------- words


def test_images_that_hold_a_word_of_the_text_come_first(retriever):
    product = retriever.items.rows([30])[0].attributes["product"]
    hits = retriever.search(product, k=60, group_by="none")
    assert hits[0].attributes["product"] == product and len(hits) == 60
    assert len({hit.id for hit in hits}) == 60
    named = [hit.attributes["product"] == product for hit in hits]
    assert named == sorted(named, reverse=True)
    scores = [hit.score for hit in hits[sum(named) :]]
    assert scores == sorted(scores, reverse=True)
    assert retriever.search(product)[0].row.group == hits[0].row.group


def test_without_words_the_cosine_alone_decides(retriever):
    product = retriever.items.rows([30])[0].attributes["product"]
    scores = [h.score for h in retriever.search(product, k=60, group_by="none", words=False)]
    assert scores == sorted(scores, reverse=True)


def test_words_keep_to_the_filter(retriever):
    hits = retriever.search("red dress", k=60, where="color = 'blue'", group_by="none")
    assert {hit.attributes["color"] for hit in hits} == {"blue"}


def test_words_of_no_image_are_said(finished, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("unidiff"), "propagate", True)
    caplog.set_level(logging.INFO, "unidiff")
    retrieve(finished, "red drss", k=1)
    retrieve_batch(finished, ["red dress", "submarine"], k=1)
    assert [record.message for record in caplog.records if record.name == "unidiff"] == [
        "Images with 'red' in their text come first.",
        "No caption and no attribute has the word 'drss'. Did you mean 'dress'?",
        "red dress: Images with 'red' or 'dress' in their text come first.",
        "submarine: No caption and no attribute has the word 'submarine'.",
    ]


# ---------------------------------------------------------------- no good match


def test_an_image_like_none_of_the_catalogue_is_said_to_match_none(retriever, image, monkeypatch):
    query, noise = [Part(open_query(image))], Image.effect_noise((48, 48), 200).convert("RGB")
    monkeypatch.setattr(retriever, "threshold", Threshold(0.99, 30))
    assert retriever.notes(query, retriever.search(image=image)) == []
    (doubt,) = retriever.notes([Part(noise)], retriever.search(image=noise))
    assert doubt.startswith("No good match: the best score is 0.")
    assert doubt.endswith("95 % of the images whose product is in the catalogue reach 0.990.")
    assert retriever.notes([*query, Part("hat")], retriever.search("hat", noise)) == []


def test_without_enough_validation_images_nothing_is_said(retriever, monkeypatch):
    noise = Image.effect_noise((48, 48), 200).convert("RGB")
    monkeypatch.setattr(retriever, "threshold", Threshold(None, 3))
    assert retriever.notes([Part(noise)], retriever.search(image=noise)) == []


def test_a_filter_for_what_a_word_stands_for_is_offered_and_not_applied(
    finished, caplog, monkeypatch
):
    known = {"rouge": Synonym("color", "red", 9, 9)}
    caplog.set_level(logging.INFO, "unidiff")
    monkeypatch.setattr("unidiff_cli.retrieval.opened.read_synonyms", lambda folder: known)
    monkeypatch.setattr(logging.getLogger("unidiff"), "propagate", True)
    hits = retrieve(finished, "rouge dress", k=60)
    assert {hit.attributes["color"] for hit in hits} != {"red"}
    assert """Only those: --where "color = 'red'\"""" in caplog.text
    caplog.clear()
    retrieve_batch(finished, ["rouge dress", "hat"], k=1)
    assert caplog.text.count("rouge dress: In captions 'rouge' stands for color 'red'") == 1
    caplog.clear()
    retrieve(finished, "dress", minus=["rouge"], k=1)
    retrieve(finished, "rouge dress", k=1, where="color = 'red'")
    assert "stands for" not in caplog.text


def test_an_index_learns_what_words_stand_for(finished):
    rows = Shards.open(finished.path("shards")).rows()
    assert read_synonyms(finished.path("index")) == learn(rows)


def test_the_rows_of_a_filter_are_found_once_and_kept_as_they_are(retriever, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "unidiff_cli.retrieval.browsable.mask_of",
        lambda where, items: asked.append(where) or mask_of(where, items),
    )
    first = retriever.allowed("color = 'red' or color = 'blue'")
    retriever.search_all([[Part("dress")]], 3, where=["color = 'red' or color = 'blue'"])
    both = retriever.allowed(["color = 'red' or color = 'blue'", "color != 'red'"])
    assert asked == ["color = 'red' or color = 'blue'", "color != 'red'"]
    assert 0 < both.sum() < first.sum()
    with pytest.raises(ValueError, match="read-only"):
        first[0] = True
