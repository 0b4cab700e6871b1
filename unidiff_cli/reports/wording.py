"""Figures, differences and paired tests as people read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from unidiff_cli.reports.schema import FigureTest, PairedTest, Side, Word

# The sides of a model that figures judge, as headings.
SIDES: Mapping[Side, str] = {
    "retrieval": "Retrieval",
    "generation": "Generation",
    "knowledge": "General knowledge",
}
# The outcome of a paired test where there is no space for the word.
MARKS: Mapping[Word, str] = {
    "better": "▲",
    "worse": "▼",
    "not distinguishable": "≈",
    "too few images": "–",
}
MINUS, SPACE = "−", "\u00a0"


def format_value(value: float, percent: bool) -> str:
    """A figure: 12.5 %, 23.1, 0.0042."""
    if percent:
        # The space does not break, so the sign stays on the line.
        text = f"{value:.1%}".replace("%", f"{SPACE}%")
    elif abs(value) >= 10:
        text = f"{value:.1f}"
    elif abs(value) >= 1e-3 or value == 0:
        text = f"{value:.3g}"
    else:
        text = f"{value:.1e}"
    return text.replace("-", MINUS)


def format_difference(value: float, percent: bool) -> str:
    """A difference with its sign; of shares in percentage points."""
    size = abs(value)
    text = f"{100 * size:.1f}{SPACE}pt" if percent else format_value(size, percent)
    return ("+" if value >= 0 else MINUS) + text


def margin_words(not_worse: bool | None, margin: float) -> str:
    """The outcome of a test for not being worse by more than `margin` points."""
    by = f"worse by more than {margin:g} point{'' if margin == 1 else 's'}"
    if not_worse is None:
        return f"too few products to tell whether it is {by}"
    return f"not {by}" if not_worse else f"may be {by}"


def corrected_words(tests: Sequence[FigureTest]) -> str:
    """How the marks of one page allow for its number of comparisons; "" where it makes none."""
    comparisons = sum(test.corrected is not None for test in tests)
    if not comparisons:
        return ""
    return (
        f"This page makes {comparisons:,} comparisons. Their p values are corrected together "
        "(Holm's method): of pages whose models do not differ, at most one in twenty calls "
        "anything better or worse."
    )


def sentence(test: PairedTest, label: str, percent: bool = False, items: str = "items") -> str:
    """The outcome of a paired test with its figures, its interval and what it was taken over."""
    scale, unit, form = (100, " points", ".1f") if percent else (1, "", ".3g")

    def number(value: float, form: str = form) -> str:
        return f"{scale * value:{form}}".replace("-", MINUS)

    share = " %" if percent else ""
    values = " → ".join(number(value) + share for value in (test.before, test.after))
    change = number(test.difference, "+" + form)
    sample = f"{test.items:,} {items}"
    if test.groups != test.items:
        sample += f" in {test.groups:,} groups"
    interval, few = "", test.verdict == "too few images"
    if test.low is not None and test.high is not None:
        low, high = (number(value, "+" + form) for value in (test.low, test.high))
        interval = f"95 % interval {low} … {high}; "
    outcome = "has too few images for a verdict" if few else f"is {test.verdict}"
    return f"{label} {outcome}: {values}, {change}{unit} ({interval}{sample})."
