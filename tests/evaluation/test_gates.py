"""Gates: how they are written, and when they are met."""

from pathlib import Path

import pytest

from unidiff_cli.errors import UsageError, WorkError
from unidiff_cli.evaluation.gates import check_gates, parse_gates

PAGE = Path("folds/report.html")
KNOWN = ["r1_t2i", "kid"]


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
    check_gates(gates, {"tuned": {"r1_t2i": 0.6, "kid": 0.01}}, PAGE)


def test_all_gates_that_are_not_met_are_named_with_the_page():
    gates = parse_gates("r1_t2i>=0.6, kid<=0.02", KNOWN)
    with pytest.raises(WorkError) as caught:
        check_gates(gates, {"tuned": {"r1_t2i": 0.5, "kid": 0.03}}, PAGE)
    assert "r1_t2i is 0.5, not >= 0.6; kid is 0.03, not <= 0.02." in caught.value.fact
    assert "folds/report.html" in caught.value.action


def test_a_figure_that_was_not_measured_does_not_meet_its_gate():
    with pytest.raises(WorkError, match="kid was not measured"):
        check_gates(parse_gates("kid<=0.02", KNOWN), {"tuned": {"r1_t2i": 0.6}}, PAGE)


def test_a_gate_may_name_another_model():
    gates = parse_gates("diffdis.r1_t2i>=0.3", KNOWN)
    check_gates(gates, {"tuned": {"r1_t2i": 0.1}, "diffdis": {"r1_t2i": 0.4}}, PAGE)
    with pytest.raises(WorkError, match="diffdis.r1_t2i is 0.2, not >= 0.3"):
        check_gates(gates, {"tuned": {"r1_t2i": 0.4}, "diffdis": {"r1_t2i": 0.2}}, PAGE)
    with pytest.raises(WorkError, match="diffdis.r1_t2i was not measured"):
        check_gates(gates, {"tuned": {"r1_t2i": 0.4}}, PAGE)
