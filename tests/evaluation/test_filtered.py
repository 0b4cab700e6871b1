"""Captions among the images of one value: fewer wrong answers, and the right ones stay."""

from types import SimpleNamespace

import numpy as np
import pytest

from tests.support.evaluation import GivenOutputs, eval_set_of, unit
from unidiff_cli.errors import WorkError
from unidiff_cli.evaluation.metrics.filtered import Filtered
from unidiff_cli.evaluation.metrics.recall import Recall

COLOURS = ("red", "blue")


def shop(products=6):
    """Each product in red and in blue, an image and a caption each."""
    cells = [(p, colour) for colour in COLOURS for p in range(products)]
    return [
        SimpleNamespace(
            id=str(n),
            group=f"p{p}",
            content=f"c{n}",
            captions=(f"hat {p} in {colour}",),
            attributes={"color": colour},
        )
        for n, (p, colour) in enumerate(cells)
    ]


def outputs_of(rows, images, texts):
    return GivenOutputs(eval_set_of(rows), {"image_embeds": images, "text_embeds": texts})


def without_colours(rows):
    """A model that knows the product and nothing of its colour, images and texts alike."""
    return np.array([np.eye(6)[int(row.group[1:])] for row in rows])


def test_a_filter_tells_apart_what_the_model_does_not():
    rows = shop()
    embeds = without_colours(rows)
    outputs = outputs_of(rows, embeds, embeds)
    # Both colours have the same score, and ties count against the model.
    assert Recall().compute(outputs)["r1_t2i"] == 0
    assert Filtered().compute(outputs) == dict.fromkeys(Filtered.figures, 1.0)
    [note] = Filtered().notes(outputs)
    assert "by color" in note and "precision 50.0 %" in note


def test_a_wrong_model_is_as_good_as_chance_among_fewer_images():
    rows = shop()
    rng = np.random.default_rng(0)
    found = [
        Filtered().compute(
            outputs_of(rows, *(unit(rng.normal(size=(len(rows), 8))) for _ in range(2)))
        )
        for _ in range(200)
    ]
    embeds = without_colours(rows)
    chance = Filtered().references(outputs_of(rows, embeds, embeds))["chance"]
    assert chance["r1_filtered"] == pytest.approx(1 / 6)
    for key, value in chance.items():
        assert np.mean([figures[key] for figures in found]) == pytest.approx(value, abs=0.03)


def test_a_caption_of_two_values_asks_for_each():
    rows = shop()
    for row in rows:
        row.captions = (f"hat {row.group}",)
    texts = np.eye(6)
    outputs = outputs_of(rows, without_colours(rows), texts)
    item = Filtered().per_item(outputs)["map_filtered"]
    assert len(item.values) == 12 and item.weights.sum() == 12 and item.values.min() == 1


def test_a_catalogue_without_kinds_is_refused_by_name():
    rows = shop()
    for row in rows:
        row.attributes = {}
    with pytest.raises(WorkError, match="filtered out of evaluate.metrics"):
        Filtered().check(eval_set_of(rows))
    embeds = without_colours(rows)
    outputs = outputs_of(rows, embeds, embeds)
    assert Filtered().per_item(outputs) == {} and Filtered().references(outputs) == {}
