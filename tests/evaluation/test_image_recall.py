"""Search by photo: right answers are other images of the product, and never the query itself."""

from types import SimpleNamespace

import numpy as np
import pytest

from tests.support.evaluation import GivenOutputs, eval_set_of, unit
from unidiff_cli.evaluation.metrics.image_recall import ImageRecall


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
