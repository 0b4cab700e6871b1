"""Search by photo: right answers are other images of the product, and never the query itself."""

from types import SimpleNamespace

import numpy as np
import pytest

from tests.support.evaluation import GivenOutputs, eval_set_of, unit
from unidiff_cli.errors import WorkError
from unidiff_cli.evaluation.metrics.image_recall import (
    ImageRecall,
    query_count,
    search_by_image,
)


def rows(groups, colours=None, kinds=None, contents=None):
    """A row an image, of these products."""
    count = len(groups)
    return [
        SimpleNamespace(
            id=str(n),
            group=groups[n],
            content=contents[n] if contents else f"c{n}",
            captions=(f"thing {n}",),
            attributes={
                **({"color": colours[n]} if colours else {}),
                **({"category": kinds[n]} if kinds else {}),
            },
        )
        for n in range(count)
    ]


def measured(embeds, items):
    return ImageRecall().compute(GivenOutputs(eval_set_of(items), {"image_embeds": unit(embeds)}))


def test_other_images_of_the_product_are_right():
    """Two products of two views each; a third has one image, and asks nothing."""
    embeds = np.array([[1, 0, 0.1], [1, 0.2, 0], [0, 1, 0], [0.9, 0.5, 0], [0, 0, 1]])
    figures = measured(embeds, rows(["a", "a", "b", "b", "c"]))
    # 0 → 1 and 1 → 0 are right; 2 → 3 is right; of 3 both of a come before 2.
    assert figures["r1_i2i"] == pytest.approx(3 / 4)
    assert figures["map_i2i"] == pytest.approx((1 + 1 + 1 + 1 / 3) / 4)
    assert figures["r5_i2i"] == 1 and "map_i2i_colour" not in figures


def test_an_image_that_is_there_twice_counts_once():
    embeds = np.array([[1, 0], [1, 0], [0.1, 1], [1, 0.4], [0.2, 1]], float)
    items = rows(["a", "a", "a", "b", "b"], contents=["x", "x", "y", "z", "w"])
    # Of a the image x asks for y only: z is nearer.
    assert measured(embeds, items)["r1_i2i"] < 1
    same = rows(["a", "a", "b", "c", "d"], contents=["x", "x", "y", "z", "w"])
    assert "r1_i2i" not in measured(embeds, same)


def test_the_colour_and_the_kind_are_asked_for_where_columns_name_them():
    g = np.random.default_rng(0)
    colours = ["red", "blue"] * 10
    kinds = ["hat"] * 10 + ["bag"] * 10
    groups = [f"p{n // 4}" for n in range(20)]
    # The first axis is the kind, the others are the colours: a perfect reader of both.
    embeds = np.array(
        [[3.0 * (k == "hat"), 3.0 * (k == "bag"), c == "red", c == "blue"]
         for k, c in zip(kinds, colours, strict=True)]
    ) + 0.01 * g.standard_normal((20, 4))  # fmt: skip
    figures = measured(embeds, rows(groups, colours, kinds))
    assert figures["i2i_kind"] == 1
    assert figures["map_i2i_colour"] > figures["map_i2i"]


def test_chance_is_a_random_order():
    g = np.random.default_rng(0)
    groups = [f"p{n // 3}" for n in range(30)]
    items, found = rows(groups), []
    for _ in range(200):
        outputs = GivenOutputs(
            eval_set_of(items), {"image_embeds": unit(g.standard_normal((30, 8)))}
        )
        figures = ImageRecall().compute(outputs)
        found.append([figures["r1_i2i"], figures["map_i2i"]])
    chance = ImageRecall().references(outputs)["chance"]
    assert np.mean(found, axis=0) == pytest.approx([chance["r1_i2i"], chance["map_i2i"]], abs=0.01)


def test_a_product_is_what_is_resampled():
    outputs = GivenOutputs(
        eval_set_of(rows(["a", "a", "b", "b"])), {"image_embeds": unit(np.eye(4) + 0.1)}
    )
    for item in ImageRecall().per_item(outputs).values():
        assert list(item.groups) == ["a", "a", "b", "b"]


def test_without_two_images_of_a_product_nothing_is_measured_and_it_is_said():
    outputs = GivenOutputs(eval_set_of(rows(["a", "b"])), {"image_embeds": np.eye(2)})
    assert ImageRecall().compute(outputs) == {} and ImageRecall().references(outputs) == {}
    assert "not measured" in ImageRecall().notes(outputs)[0]
    with pytest.raises(WorkError, match="No held-out product has two images"):
        ImageRecall().check(outputs.eval_set)
    ImageRecall().check(eval_set_of(rows(["a", "a"])))
    ImageRecall().check(eval_set_of(rows(list("abcdefghij"), kinds=["hat", "bag"] * 5)))


def test_by_hand_with_colours_and_kinds():
    """On a circle: a hat in two colours, another hat, and a bag; places in degrees."""
    degrees = np.array([2, 10, 25, 30, 51, 55, 90, 95, 183, 190, 270], float)
    groups = ["a", "a", "a", "b", "b", "a", "c", "c", "d", "d", "e"]
    colours = ["red", "red", "blue", "red", "red", "blue", "blue", "blue", "red", "blue", "red"]
    kinds = ["hat"] * 6 + ["bag"] * 5
    embeds = np.stack([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))], axis=1)
    items = rows(groups, colours, kinds)
    outputs = GivenOutputs(eval_set_of(items), {"image_embeds": embeds})
    of = {key: item.values for key, item in ImageRecall().per_item(outputs).items()}
    # Of 25° (a): 30 b, 10 a, 2 a, 51 b, 55 a, …
    assert of["r1_i2i"][2] == 0 and of["r5_i2i"][2] == 1
    assert of["map_i2i"][2] == pytest.approx((1 / 2 + 2 / 3 + 3 / 5) / 3)
    # Of 2° (a): 10 a, 25 a, 30 b, 51 b, 55 a.
    assert of["map_i2i"][0] == pytest.approx((1 + 1 + 3 / 5) / 3)
    # Each image but e has another of its product; of d no colour is there twice.
    assert len(of["map_i2i"]) == 10 and len(of["map_i2i_colour"]) == 8
    # Of 25°, blue: of a only 55 is blue, the fifth.
    assert of["map_i2i_colour"][2] == pytest.approx(1 / 5)
    # Of 2° others than a: 30, 51 hats, 90, 270, 95 bags. Of 95° than c: 55, 51, 30, 25, 10 hats.
    assert of["i2i_kind"][0] == pytest.approx(2 / 5)
    assert of["i2i_kind"][7] == 0


def test_of_one_product_no_neighbour_is_looked_at():
    """All images are of one product: there is no other of any kind."""
    items = rows(["a"] * 10, kinds=["hat", "bag"] * 5)
    figures = measured(np.random.default_rng(0).standard_normal((10, 4)), items)
    assert figures["r1_i2i"] == 1 and "i2i_kind" not in figures


def test_evaluation_and_validation_search_alike():
    """`search_by_image` is what both call; pairs of a large group are not listed one by one."""
    groups = ["a"] * 300 + ["b"] * 2
    embeds = unit(np.random.default_rng(0).standard_normal((302, 8)))
    contents = [f"c{n}" for n in range(302)]
    values = search_by_image(embeds, groups, contents).values()
    outputs = GivenOutputs(eval_set_of(rows(groups, contents=contents)), {"image_embeds": embeds})
    figures = ImageRecall().compute(outputs)
    assert {key: float(each.mean()) for key, each in values.items()} == figures
    assert query_count(groups, contents) == 302 and query_count(groups, ["same"] * 302) == 0
