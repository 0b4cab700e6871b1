"""Zero-shot classification: attribute columns, predictions, and attributes of generated images."""

import numpy as np
import pytest

from tests.support.evaluation import GivenOutputs, eval_set_of, rows_of, unit
from unidiff_cli.data.attributes import class_columns
from unidiff_cli.errors import WorkError
from unidiff_cli.evaluation import classification
from unidiff_cli.evaluation.metrics import attributes
from unidiff_cli.evaluation.metrics.zero_shot import ZeroShot

# Twelve rows: six red, five blue, one without a colour.
ROWS = [
    {"colour": c, "title": f"no {i}", "price": i, "cut": "slim" if i else "wide"}
    for i, c in enumerate(["red"] * 6 + ["blue"] * 5 + [" "])
]


def embed(texts):
    """A text tower that knows two words."""
    return unit(np.array([[1.0 + 5 * ("red" in t), 1.0 + 5 * ("blue" in t), 0.5] for t in texts]))


# ---------------------------------------------------------------- attribute columns


def test_attributes_are_columns_with_a_few_values():
    columns = class_columns(ROWS)
    assert columns == {"colour": ["red"] * 6 + ["blue"] * 5 + [None]}


def test_values_that_differ_in_case_are_spelled_as_the_first():
    mixed = [row | {"colour": row["colour"].upper()} if row["price"] % 2 else row for row in ROWS]
    assert class_columns(mixed)["colour"] == ["red"] * 6 + ["blue"] * 5 + [None]


def test_a_description_is_no_attribute():
    described = [
        row | {"description": f"A shirt in {row['colour']}, cut from the softest cotton there is."}
        for row in ROWS
    ]
    assert list(class_columns(described)) == ["colour"]


# ---------------------------------------------------------------- predictions


def test_prompts_name_the_attribute_in_words():
    prompts = classification.class_prompts("sleeve_length", ["long"], ["{attribute} {value}"])
    assert prompts == [["sleeve length long"]]


def test_predictions_by_hand():
    images = np.array([[1.0, 0, 0]] * 5 + [[0, 1, 0]] * 6 + [[1, 1, 0]])
    column = [row["colour"].strip() or None for row in ROWS]
    predictions = classification.predict(images, "colour", column, embed)
    confusion = predictions.confusion
    assert confusion.values == ("blue", "red")
    assert confusion.matrix.tolist() == [[5, 0], [1, 5]]
    assert confusion.accuracy == 10 / 11 == predictions.hits.mean()
    assert confusion.balanced == (1 + 5 / 6) / 2
    assert confusion.chance == 1 / 2 and confusion.majority == 6 / 11


def test_a_tie_counts_as_wrong():
    middle = np.array([[1.0, 1, 0]])
    classes = classification.embed_classes("colour", ["blue", "red"], embed)
    assert classification.classify(middle, classes, np.array([0])) == [1]
    assert classification.classify(middle, classes, np.array([1])) == [0]


def test_a_class_is_the_mean_of_its_prompts():
    embeds = classification.class_embeds(np.array([[[1.0, 0], [0, 1]]]))
    assert embeds == pytest.approx(np.array([[0.5, 0.5]]) * np.sqrt(2))


# ---------------------------------------------------------------- zero_shot


def test_zero_shot_uses_the_models_own_text_tower():
    eval_set = eval_set_of(rows_of(*["a"] * 12, attributes=ROWS))
    outputs = GivenOutputs(
        eval_set, {"image_embeds": np.array([[1.0, 0, 0]] * 6 + [[0, 1, 0]] * 6)}
    )
    outputs.embed_captions = lambda key, captions: embed(captions)
    metric = ZeroShot()
    assert metric.compute(outputs) == {"zero_shot": 1, "zero_shot_balanced": 1}
    assert metric.references(outputs)["chance"]["zero_shot"] == 0.5
    assert set(metric.per_item(outputs)) == {"zero_shot"}
    assert "100.0 % right" in metric.notes(outputs)[0]


def test_zero_shot_needs_an_attribute():
    with pytest.raises(WorkError, match="needs an attribute of 2 to 50 values"):
        ZeroShot().check(eval_set_of(rows_of(*["a"] * 4, attributes=ROWS[:4])))


# ---------------------------------------------------------------- attributes of generated images


def test_only_what_a_prompt_names_counts():
    prompts = ["A Dark-Red dress", "redwood table", "a plain hat", "blue"]
    values = attributes.named_values(prompts, ["dark red", "red", "red", None])
    assert values == ["dark red", None, None, None]


RED, BLUE = np.array([1.0, 0, 0]), np.array([0.0, 1, 0])
COLUMN = ["red", "blue", None, "red"]


def test_attribute_hits_by_hand():
    generated, real = np.array([RED, RED, RED, BLUE]), np.array([RED, BLUE])
    colour = attributes.judge_attribute("colour", COLUMN, generated, real, embed)
    assert colour.images.tolist() == [0, 1, 3] and colour.hits.tolist() == [1, 0, 0]
    assert colour.real_hits.tolist() == [1, 1] and colour.majority == 2 / 3
    assert colour.recognized


def test_an_attribute_that_the_scorer_gets_wrong_is_not_recognized():
    generated, real = np.array([RED] * 4), np.array([BLUE, RED])
    colour = attributes.judge_attribute("colour", COLUMN, generated, real, embed)
    assert not colour.recognized
