"""The verdict of a report: one word for each side of a model, with its figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from unidiff_cli.reports.schema import FigureTest, Report
from unidiff_cli.reports.wording import SIDES, format_value

TOO_FEW = "too few images for a verdict"
# What the images of a split are; those of any other split were held out.
IMAGES = {"train": "training images", "val": "validation images"}


def verdict(report: Report) -> str:
    """Better, worse, mixed or not distinguishable for each side of every model but blends.

    A model is compared with the base, and with every other model that it was tested against. The
    word follows the tests, which allow for all comparisons of the report. Where several extractors
    look at generated images, "better" needs a better figure by each.
    """
    comparisons = [(name, report.base) for name in list(report.models)[1:]]
    comparisons += [(test.model, test.against) for test in report.tests]
    pairs = [pair for pair in dict.fromkeys(comparisons) if report.models[pair[0]].role != "blend"]
    lines = []
    for model, against in pairs:
        if words := _sides(report, model, against):
            name = f"{model} against {against}: " if len(pairs) > 1 else ""
            lines.append(name + " ".join(words))
    lines.append(_sample(report, len(pairs)))
    # Several pairs are only readable with a line for each.
    return ("\n" if len(pairs) > 1 else " ").join(lines)


def _sample(report: Report, pairs: int) -> str:
    """What the figures were taken over."""
    counts = report.counts
    images = IMAGES.get(report.split, "held-out images")
    generated = f", {counts.generated:,} generated" if counts.generated else ""
    if counts.folds:
        runs = f"{counts.folds} training runs, one for each fold"
    else:
        runs = "one training run each" if pairs > 1 else "one training run"
    return (
        f"Over {counts.rows:,} {images} of {counts.groups:,} products or groups{generated}; "
        f"{runs}, so seeds are not in these intervals."
    )


def _sides(report: Report, model: str, against: str) -> list[str]:
    """A sentence for each side that has tests, and one for the flagged collapse meters."""
    tests = report.tests_of(model, against)
    with_base = against == report.base
    unclear = "not distinguishable from before" if with_base else "not distinguishable"
    sentences = []
    for side, name in SIDES.items():
        keys = [
            key
            for key, spec in report.specs.items()
            if spec.judges == side and spec.headline and key in tests
        ]
        if not keys:
            continue
        word = _word(report, keys, tests) or unclear
        changes = "; ".join(_change(report, against, model, tests[key]) for key in keys)
        sentences.append(f"{name}: {word} ({changes}).")
    flags = report.flags.get(model, []) if with_base else []
    if raised := [flag.words for flag in flags if flag.raised]:
        sentences.append(f"Collapse meters flagged: {'; '.join(raised)}.")
    return sentences


def _word(report: Report, keys: Sequence[str], tests: Mapping[str, FigureTest]) -> str:
    """The word of a side by the tests of its figures; "" where nothing can be told apart."""
    judged = [key for key in keys if tests[key].verdict != "too few images"]
    if not judged:
        return TOO_FEW
    words = {key: tests[key].verdict for key in judged}
    outcomes = set(words.values()) - {"not distinguishable"}
    if len(outcomes) > 1:
        return "mixed"
    if outcomes == {"better"} and (silent := _silent(report, keys, words)):
        return f"not confirmed by {' and '.join(silent)}"
    return outcomes.pop() if outcomes else ""


def _silent(report: Report, keys: Sequence[str], words: Mapping[str, str]) -> list[str]:
    """Where several extractors look: those by which no figure is better."""
    names = [name for name in dict.fromkeys(report.specs[key].extractor for key in keys) if name]
    better = {report.specs[key].extractor for key, word in words.items() if word == "better"}
    return [name for name in names if name not in better] if len(names) > 1 else []


def _change(report: Report, before: str, after: str, test: FigureTest) -> str:
    """A figure of two models: KID 0.2 → 0.1."""
    spec = report.specs[test.figure]
    values = (report.figures[model][test.figure].value for model in (before, after))
    change = f"{spec.label} {' → '.join(format_value(value, spec.percent) for value in values)}"
    return f"{change}, {TOO_FEW}" if test.verdict == "too few images" else change
