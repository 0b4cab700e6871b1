"""A Report of two models with three figures, as plain values give it."""

from collections.abc import Sequence
from typing import Any

from unidiff_cli.reports.schema import (
    Counts,
    FigureSpec,
    FigureTest,
    Interval,
    Model,
    References,
    Report,
)

SPECS = {
    "r1_t2i": FigureSpec("R@1", "retrieval", "higher", percent=True),
    "kid": FigureSpec("KID", "generation", "lower", verdict_images=256),
    "clip_score_distance": FigureSpec("CLIP score, distance from real", "generation", "lower"),
}


def model_of(**options: Any) -> Model:
    """An export, unless the options say otherwise."""
    return Model(**{"role": "tuned", "source": "001", "weights": "b", "alpha": 1.0} | options)


def test_of(figure: str, before: float, after: float, **options: Any) -> FigureTest:
    """A paired test of tuned against base."""
    difference = after - before
    values = {
        "before": before,
        "after": after,
        "difference": difference,
        "low": difference - 0.1,
        "high": difference + 0.1,
        "p": 0.01,
        "items": 46,
        "groups": 18,
        "verdict": "better",
        "model": "tuned",
        "against": "base",
        "figure": figure,
        "sentence": f"{figure} in words.",
        "corrected": 0.02,
    }
    return FigureTest(**values | options)


def report_of(
    base: Sequence[float],
    tuned: Sequence[float],
    verdicts: Sequence[str] = ("better", "better", "not distinguishable"),
    **options: Any,
) -> Report:
    """A report of base and tuned; `base`, `tuned` and `verdicts` are by SPECS."""
    figures = {
        model: {
            key: Interval(value, value - 0.1, value + 0.1, 46, 18)
            for key, value in zip(SPECS, values, strict=True)
        }
        for model, values in (("base", base), ("tuned", tuned))
    }
    tests = [
        test_of(*each, verdict=verdict)
        for *each, verdict in zip(SPECS, base, tuned, verdicts, strict=True)
    ]
    values = {
        "title": "001-fashion against its base",
        "verdict": "A verdict.",
        "split": "test",
        "counts": Counts(rows=46, groups=18, captions=40, generated=64),
        "models": {"base": model_of(role="base", source="nano"), "tuned": model_of()},
        "figures": figures,
        "specs": SPECS,
        "references": References(chance={"r1_t2i": 0.02}, real={"clip_score_distance": 30.0}),
        "tests": tests,
        "flags": {"tuned": []},
        "details": {"base": {}, "tuned": {}},
        "notes": {"kid": ["Few images."]},
        "warnings": [],
        "left_out": {"fid": "FID over 64 images would mislead."},
        "losses": {},
        "generation": None,
        "versions": {},
        "seconds": 1.0,
    }
    return Report(**values | options)


def with_model(report: Report, name: str, model: Model, **tests: str) -> Report:
    """The report with another model of tuned's figures, tested against `against` with a verdict."""
    others = [
        test_of(t.figure, t.before, t.after, model=name, against=against, verdict=verdict)
        for against, verdict in tests.items()
        for t in report.tests_of("tuned", "base").values()
    ]
    return report.model_copy(
        update={
            "models": report.models | {name: model},
            "figures": report.figures | {name: report.figures["tuned"]},
            "details": report.details | {name: {}},
            "flags": report.flags | {name: []},
            "tests": [*report.tests, *others],
        }
    )
