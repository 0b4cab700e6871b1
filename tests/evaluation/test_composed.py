"""Queries of an image and a word: right is the product in that colour, and never the image."""

from types import SimpleNamespace

import numpy as np
import pytest

from tests.support.evaluation import GivenOutputs, eval_set_of, unit
from unidiff_cli.errors import WorkError
from unidiff_cli.evaluation.metrics.composed import Composed, questions
from unidiff_cli.retrieval.composition import compose


def row(number, product, colour, view="front", content=""):
    return SimpleNamespace(
        id=str(number),
        group=product,
        content=content or f"c{number}",
        captions=(f"hat {product} in {colour}",),
        attributes={"color": colour, "view": view},
    )


def shop(colours=("red", "blue"), products=6):
    """Products of two images of each colour, from two sides."""
    cells = [(p, c, view) for p in range(products) for c in colours for view in ("front", "back")]
    return [row(n, f"p{p}", c, view) for n, (p, c, view) in enumerate(cells)]


def outputs_of(rows, images, words):
    return GivenOutputs(eval_set_of(rows), {"image_embeds": images, "composed.words": words})


def perfect(rows):
    """Embeddings with an axis for each product and each colour, and words of the colours."""
    axes = {name: n for n, name in enumerate(dict.fromkeys(r.group for r in rows))}
    images = np.zeros((len(rows), len(axes) + 2))
    for n, r in enumerate(rows):
        images[n, axes[r.group]] = 1
        images[n, len(axes) + ("red" == r.attributes["color"])] = 1
    return unit(images), np.eye(len(axes) + 2)[-2:]


def test_every_image_asks_for_the_other_values_of_its_product():
    asked = questions(
        ["a", "a", "a", "b", "b"],
        {"color": ["red", "blue", "blue", "red", None]},
        np.arange(5),
    )
    assert asked.images.tolist() == [0, 1, 2] and asked.values == ["blue", "red", "red"]
    assert asked.pairs.tolist() == [[0, 1], [0, 2], [1, 0], [2, 0]]


def test_a_model_of_products_and_colours_is_always_right():
    rows = shop()
    images, words = perfect(rows)
    figures = Composed().compute(outputs_of(rows, images, words))
    assert figures == {"r1_composed": 1, "r5_composed": 1, "map_composed": 1}


def test_an_image_without_its_word_finds_its_own_colour_first():
    rows = shop()
    images, _ = perfect(rows)
    figures = Composed().compute(outputs_of(rows, images, np.zeros((2, images.shape[1]))))
    assert figures["r1_composed"] == 0 and figures["map_composed"] < 0.6


def test_only_attributes_that_captions_name_are_asked_for():
    """No caption says "front" or "back", which differ within each product too."""
    rows = shop()
    images, words = perfect(rows)
    outputs = outputs_of(rows, images, words)
    items = Composed().per_item(outputs)["map_composed"]
    assert len(items.values) == len(rows)
    (note,) = Composed().notes(outputs)
    assert note.startswith(f"Image and word: {len(rows)} queries of 6 products; ")


def test_an_image_that_is_there_twice_asks_once_and_is_no_answer():
    rows = [row(n, "ab"[n // 10], ("red", "blue")[n // 5 % 2], content=f"c{n // 5}")
            for n in range(20)]  # fmt: skip
    images = unit(np.random.default_rng(0).standard_normal((20, 4)))
    items = Composed().per_item(outputs_of(rows, images, np.eye(4)[:2]))["r1_composed"]
    assert len(items.values) == 4 and list(items.groups) == ["a", "a", "b", "b"]


def test_a_product_is_what_is_resampled():
    rows = shop()
    images, words = perfect(rows)
    for item in Composed().per_item(outputs_of(rows, images, words)).values():
        assert list(item.groups) == [r.group for r in rows]


def test_a_catalogue_of_one_colour_a_product_is_refused():
    rows = [row(n, f"p{n // 2}", ("red", "blue")[n // 2 % 2]) for n in range(20)]
    with pytest.raises(WorkError, match="No held-out product has two values"):
        Composed().check(eval_set_of(rows))
    Composed().check(eval_set_of(shop()))


def test_the_query_is_that_of_retrieve():
    """`retrieve photo.jpg "blue"` searches with the same vector."""
    g = np.random.default_rng(0)
    rows = shop()
    images, words = unit(g.standard_normal((len(rows), 8))), unit(g.standard_normal((2, 8)))
    outputs = outputs_of(rows, images, words)
    ranks = Composed()._ranking(outputs).rank
    for number, (asking, value) in enumerate(
        (n, 0 if r.attributes["color"] == "red" else 1) for n, r in enumerate(rows)
    ):
        scores = images @ compose(np.stack([images[asking], words[value]]), [1, 1])
        scores[asking] = -np.inf
        wanted = "blue" if value == 0 else "red"
        right = [r.group == rows[asking].group and r.attributes["color"] == wanted for r in rows]
        assert ranks[number] == np.argmax(np.array(right)[np.argsort(-scores)])
