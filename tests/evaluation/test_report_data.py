"""What a report keeps of a run's log."""

from unidiff_cli.evaluation.report_data import _losses


def test_terms_that_are_always_zero_have_no_curve():
    lines = [
        {"step": 1, "loss": 1.5, "denoise": 1.0, "prior": 0.0, "anchor": 0.0},
        {"step": 2, "loss": 1.2, "denoise": 0.7, "prior": 0.0, "anchor": 0.5},
    ]
    losses = _losses(lines, ["anchor", "denoise", "prior", "sigmoid"])
    assert losses.terms == {"anchor": [0.0, 0.5], "denoise": [1.0, 0.7]}
    assert losses.step == [1, 2]
