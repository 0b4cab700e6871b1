"""Gates: bounds on figures that an automated evaluation must meet."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from operator import ge, gt, le, lt
from pathlib import Path
from typing import NamedTuple

from unidiff_cli.errors import UsageError, WorkError, nearest

SIGNS = {">=": ge, "<=": le, ">": gt, "<": lt}
PATTERN = re.compile(
    r"(?:(?P<model>\w+)\.)?(?P<figure>[a-z]\w*)\s*(?P<sign>>=|<=|>|<)\s*"
    r"(?P<bound>-?\d+(?:\.\d*)?(?:e-?\d+)?)"
)


class Gate(NamedTuple):
    """A bound on a figure of a model of the report."""

    model: str
    figure: str
    sign: str
    bound: float

    @property
    def name(self) -> str:
        """The figure as it is written in a gate: the tuned model needs no name."""
        return self.figure if self.model == "tuned" else f"{self.model}.{self.figure}"


def parse_gates(text: str, known: Sequence[str]) -> list[Gate]:
    """Gates such as "r1_t2i>=0.6, kid<=0.02, diffdis.r1_t2i>=0.3"; without a model: the tuned one.

    Raises UsageError for anything else, and for a figure that is not among the `known` ones.
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
        gates.append(Gate(match["model"] or "tuned", figure, match["sign"], float(match["bound"])))
    return gates


def check_gates(
    gates: Sequence[Gate], figures: Mapping[str, Mapping[str, float]], page: Path
) -> None:
    """Raises WorkError that names every gate that the figures {model: {figure: …}} do not meet."""
    failures = []
    for gate in gates:
        value = figures.get(gate.model, {}).get(gate.figure)
        if value is None:
            failures.append(f"{gate.name} was not measured")
        elif not SIGNS[gate.sign](value, gate.bound):
            failures.append(f"{gate.name} is {value:.4g}, not {gate.sign} {gate.bound:g}")
    if failures:
        raise WorkError(f"The gate is not met: {'; '.join(failures)}.", f"See the report: {page}")
