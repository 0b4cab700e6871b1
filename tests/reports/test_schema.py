"""Report: what flows is what is written, and what is written is published."""

import json
from pathlib import Path

import pytest

from tests.support.reports import model_of, report_of, with_model
from unidiff_cli.reports.schema import (
    Bars,
    ConfusionMatrix,
    Curve,
    Details,
    Flag,
    Generation,
    Interval,
    Losses,
    NearCopy,
    Report,
    Scorer,
)

BASE, TUNED = (0.3, 0.2, 25.0), (0.5, 0.1, 24.5)
SCHEMA = Path(__file__).parents[2] / "docs" / "reference" / "report.schema.json"


@pytest.fixture
def full_report():
    """A report in which no part is empty."""
    values = {"red": Interval(0.5, 0.4, 0.6, 10, 4), "blue": Interval(1 / 3)}
    labels = {"title": "A title", "caption": "A caption."}
    details = Details(
        curves=[Curve(**labels, x_label="k", y_label="R@k", x=[1, 5], y=[0.1, 0.2])],
        bars=[Bars(**labels, x_label="share", values=values)],
        confusions=[ConfusionMatrix(**labels, labels=["a", "b"], counts=[[3, 1], [0, 2]])],
        near_copies=[NearCopy(generated=3, training=40, cosine=0.99)],
    )
    flag = Flag("catalogue", "retention", None, 0.5, None, "least", 0.9, "forgotten", raised=True)
    generation = Generation(
        prompts=["red dress"],
        seeds=[0],
        image_size=64,
        steps=2,
        guidance={"base": "4 (the base's own)", "tuned": "2 (chosen)"},
        scorer=Scorer(name="nano_scorer", weights="a", millions=3.2),
        extractor="nano_scorer, 128 features",
    )
    report = report_of(
        BASE,
        TUNED,
        flags={"tuned": [flag]},
        details={"base": {}, "tuned": {"recall": details}},
        losses={"tuned": Losses(step=[1, 2], terms={"contrastive": [3.0, None]})},
        generation=generation,
        warnings=["A warning."],
    )
    return with_model(report, "alpha 0.5", model_of(role="blend", alpha=0.5), base="worse")


def test_a_report_is_read_back_as_it_was(full_report):
    text = json.dumps(full_report.model_dump(mode="json"), allow_nan=False)
    assert Report.model_validate_json(text) == full_report
    assert Report.model_validate(json.loads(text)) == full_report


def test_numbers_are_written_to_the_last_bit():
    report = report_of((1 / 3, 0.1 + 0.2, 1e-17), TUNED)
    read = Report.model_validate_json(json.dumps(report.model_dump(mode="json")))
    assert read.figures["base"]["r1_t2i"].value == 1 / 3
    assert read.figures["base"]["kid"].value == 0.1 + 0.2
    assert read.figures["base"]["clip_score_distance"].value == 1e-17


def test_an_unknown_key_is_refused():
    values = report_of(BASE, TUNED).model_dump(mode="json")
    with pytest.raises(ValueError, match="Extra inputs"):
        Report.model_validate(values | {"shows": {}})


@pytest.mark.parametrize(
    "options",
    [{"seconds": float("nan")}, {"figures": {"base": {"kid": Interval(float("inf"))}}}],
    ids=["a field", "inside"],
)
def test_a_number_that_is_not_finite_is_refused_when_the_report_is_made(options):
    with pytest.raises(ValueError, match="finite"):
        report_of(BASE, TUNED, **options)


def test_the_schema_is_published():
    assert json.loads(SCHEMA.read_text()) == Report.model_json_schema(), "run: make docs"


@pytest.mark.parametrize(
    ("compares", "limit", "measure", "share"),
    [
        ("rise", 0.5, 0.25, 0.5),
        ("most", 0.2, -0.1, 0.0),
        ("least", 0.9, 0.95, 0.5),
        ("ratio", 0.7, 0.4, 2.0),
        ("ratio", 0.7, None, 1.0),
    ],
)
def test_a_flag_says_how_much_of_its_limit_is_used(compares, limit, measure, share):
    flag = Flag("catalogue", "a_meter", 1.0, 0.5, measure, compares, limit, "words", raised=False)
    assert flag.limit_used == pytest.approx(share)


def test_a_flag_names_its_probe_and_its_meter():
    flag = Flag("everyday objects", "a_meter", 1.0, 0.5, 0.5, "least", 0.9, "gone", raised=True)
    assert flag.name == "everyday objects: a meter"
    assert flag.sentence == "gone (a_meter 0.5, the base's 1)"
