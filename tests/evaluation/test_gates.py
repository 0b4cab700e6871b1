"""Gates: how they are written, and when they are met."""

from pathlib import Path

import pytest

from tests.support import reports
from tests.support.reports import SPECS, model_of, report_of
from unidiff_cli.errors import UsageError, WorkError
from unidiff_cli.evaluation.gates import check_gates, parse_gates
from unidiff_cli.evaluation.measure import metric_types
from unidiff_cli.reports.schema import Interval

PAGE = Path("folds/report.html")
KNOWN = SPECS


def report_with(margin=None, **figures):
    """A report of models' figures, r1_t2i and kid, beside the base's 0.5 and 0.02."""
    figures = {"base": {"r1_t2i": 0.5, "kid": 0.02}, **figures}
    return report_of((0,) * 3, (0,) * 3).model_copy(
        update={
            "models": {name: model_of() for name in figures},
            "figures": {
                name: {key: Interval(value) for key, value in each.items()}
                for name, each in figures.items()
            },
            "margin": margin,
        }
    )


def test_a_gate_is_a_figure_a_sign_and_a_number():
    assert parse_gates("r1_t2i>=0.6, kid<2e-2", KNOWN) == [
        ("tuned", "r1_t2i", ">=", 0.6),
        ("tuned", "kid", "<", 0.02),
    ]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("kit<=0.02", "Did you mean 'kid'"), ("kid=0.02", "cannot read 'kid=0.02'")],
)
def test_another_gate_is_refused(text, sentence):
    with pytest.raises(UsageError, match=sentence):
        parse_gates(text, KNOWN)


def test_bounds_that_are_reached_are_met():
    gates = parse_gates("r1_t2i>=0.6, kid<=0.02", KNOWN)
    check_gates(gates, report_with(tuned={"r1_t2i": 0.6, "kid": 0.01}), PAGE)


def test_all_gates_that_are_not_met_are_named_with_the_page():
    gates = parse_gates("r1_t2i>=0.6, kid<=0.02", KNOWN)
    with pytest.raises(WorkError) as caught:
        check_gates(gates, report_with(tuned={"r1_t2i": 0.5, "kid": 0.03}), PAGE)
    assert "r1_t2i is 0.5, not >= 0.6; kid is 0.03, not <= 0.02." in caught.value.fact
    assert "folds/report.html" in caught.value.action


def test_a_figure_that_was_not_measured_does_not_meet_its_gate():
    with pytest.raises(WorkError, match="kid was not measured"):
        check_gates(parse_gates("kid<=0.02", KNOWN), report_with(tuned={"r1_t2i": 0.6}), PAGE)


def test_a_gate_may_name_another_model():
    gates = parse_gates("diffdis.r1_t2i>=0.3", KNOWN)
    check_gates(gates, report_with(tuned={"r1_t2i": 0.1}, diffdis={"r1_t2i": 0.4}), PAGE)
    with pytest.raises(WorkError, match="diffdis.r1_t2i is 0.2, not >= 0.3"):
        check_gates(gates, report_with(tuned={"r1_t2i": 0.4}, diffdis={"r1_t2i": 0.2}), PAGE)
    with pytest.raises(WorkError, match="diffdis.r1_t2i was not measured"):
        check_gates(gates, report_with(tuned={"r1_t2i": 0.4}), PAGE)


@pytest.mark.parametrize(
    ("not_worse", "sentence"),
    [
        (True, None),
        (False, "r1_t2i: may be worse by more than 2 points than the base's"),
        (None, "r1_t2i: too few products to tell"),
    ],
)
def test_a_gate_against_the_base_takes_the_margin(not_worse, sentence):
    gates = parse_gates("r1_t2i>=base", KNOWN, margin=2)
    tests = [reports.test_of("r1_t2i", 0.5, 0.6, not_worse=not_worse)]
    report = report_with(2, tuned={"r1_t2i": 0.6}).model_copy(update={"tests": tests})
    if sentence is None:
        check_gates(gates, report, PAGE)
        return
    with pytest.raises(WorkError, match=sentence):
        check_gates(gates, report, PAGE)


def test_a_gate_against_the_base_needs_a_test():
    report = report_with(2, tuned={"r1_t2i": 0.6}).model_copy(update={"tests": []})
    with pytest.raises(WorkError, match="r1_t2i has no interval"):
        check_gates(parse_gates("r1_t2i>=base", KNOWN, margin=2), report, PAGE)


@pytest.mark.parametrize(
    ("text", "margin", "sentence"),
    [
        ("r1_t2i>=base", None, "needs a margin"),
        ("kid<=base", 2, "is no share"),
        ("r1_t2i<=base", 2, "higher is better"),
    ],
)
def test_a_gate_against_the_base_that_means_nothing_is_refused(text, margin, sentence):
    with pytest.raises(UsageError, match=sentence):
        parse_gates(text, KNOWN, margin)


def test_every_figure_of_search_by_photo_may_stand_in_a_gate():
    known = {key: spec for kind in metric_types().values() for key, spec in kind.figures.items()}
    text = "r1_i2i>=0.4,r5_i2i>=base,map_i2i>=base,map_i2i_colour>=0.1,i2i_kind>=base"
    gates = parse_gates(text, known, margin=2)
    assert [str(gate) for gate in gates] == text.split(",")
