"""Gates: bounds on figures that an automated evaluation must meet."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from operator import ge, gt, le, lt
from pathlib import Path
from typing import NamedTuple

from unidiff_cli.errors import UsageError, WorkError, nearest
from unidiff_cli.reports.schema import FigureSpec, Report
from unidiff_cli.reports.wording import margin_words

SIGNS = {">=": ge, "<=": le, ">": gt, "<": lt}
PATTERN = re.compile(
    r"(?:(?P<model>\w+)\.)?(?P<figure>[a-z]\w*)\s*(?P<sign>>=|<=|>|<)\s*"
    r"(?:(?P<bound>-?\d+(?:\.\d*)?(?:e-?\d+)?)|base)"
)


class Gate(NamedTuple):
    """A bound on a figure of a model of the report; None: the base's figure less the margin."""

    model: str
    figure: str
    sign: str
    bound: float | None

    @property
    def name(self) -> str:
        """The figure as it is written in a gate: the tuned model needs no name."""
        return self.figure if self.model == "tuned" else f"{self.model}.{self.figure}"

    def __str__(self) -> str:
        return f"{self.name}{self.sign}{'base' if self.bound is None else f'{self.bound:g}'}"


def parse_gates(
    text: str, known: Mapping[str, FigureSpec], margin: float | None = None
) -> list[Gate]:
    """Gates such as "r1_t2i>=0.6, kid<=0.02, diffdis.r1_t2i>=0.3"; without a model: the tuned one.

    "map_t2i>=base" is met where the figure is not worse than the base's by more than the margin.
    Raises UsageError for anything else, for a figure that is not among the `known` ones, and for a
    gate against the base without a margin or of a figure that has none.
    """
    gates = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        match = PATTERN.fullmatch(part)
        if not match:
            raise UsageError(
                f"--gate cannot read '{part}'.",
                "Write a figure, a sign and a number: r1_t2i>=0.6,kid<=0.02",
            )
        if (figure := match["figure"]) not in known:
            raise UsageError(
                f"--gate names '{figure}', which is not computed.{nearest(figure, known)}",
                f"Computed: {', '.join(known)}.",
            )
        if match["bound"] is None:
            _check_against_base(part, match["sign"], known[figure], margin)
        bound = None if match["bound"] is None else float(match["bound"])
        gates.append(Gate(match["model"] or "tuned", figure, match["sign"], bound))
    return gates


def _check_against_base(part: str, sign: str, spec: FigureSpec, margin: float | None) -> None:
    """Raises UsageError where a gate against the base has no meaning."""
    if margin is None:
        raise UsageError(
            f"--gate {part} needs a margin.", "Say by how many points it may be worse: --margin 2"
        )
    if not spec.percent:
        raise UsageError(
            f"--gate {part}: {spec.label} is no share, and a margin is in points.",
            "Give a number in place of base.",
        )
    if sign != (right := ">=" if spec.better == "higher" else "<="):
        raise UsageError(
            f"--gate {part}: {spec.better} is better of {spec.label}.", f"Write {right}base."
        )


def check_gates(gates: Sequence[Gate], report: Report, page: Path) -> None:
    """Raises WorkError that names every gate that a report does not meet."""
    if failures := [failure for gate in gates if (failure := _failure(gate, report))]:
        raise WorkError(f"The gate is not met: {'; '.join(failures)}.", f"See the report: {page}")


def _failure(gate: Gate, report: Report) -> str:
    """Why a gate is not met; empty where it is."""
    figure = report.figures.get(gate.model, {}).get(gate.figure)
    if figure is None:
        return f"{gate.name} was not measured"
    if gate.bound is not None:
        met = SIGNS[gate.sign](figure.value, gate.bound)
        return "" if met else f"{gate.name} is {figure.value:.4g}, not {gate.sign} {gate.bound:g}"
    test = report.tests_of(gate.model, report.base).get(gate.figure)
    if test is None or report.margin is None:
        return f"{gate.name} has no interval, so it cannot be compared with the base's"
    words = margin_words(test.not_worse, report.margin)
    return "" if test.not_worse else f"{gate.name}: {words} than the base's"
