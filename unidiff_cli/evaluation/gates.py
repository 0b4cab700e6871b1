"""TODO docstring."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from unidiff_cli.errors import UsageError, WorkError, nearest

# ---------------------------------------------------------------- gates


class Gate(NamedTuple):
    """A bound on a figure of a model: the tuned one, or another of the report such as `diffdis` or `base`."""

    model: str
    figure: str
    sign: str
    bound: float


def gates(text: str, known: Sequence[str]) -> list[Gate]:
    """Bounds such as "r1_t2i>=0.6, kid<=0.02, diffdis.r1_t2i>=0.3". Raises UsageError for anything else and for figures
    not computed."""
    found = []
    for part in filter(None, (p.strip() for p in text.split(","))):
        match = re.fullmatch(
            r"(?:(?P<model>\w+)\.)?(?P<figure>[a-z]\w*)\s*(?P<sign>>=|<=|>|<)\s*(?P<bound>-?\d+(?:\.\d*)?(?:e-?\d+)?)",
            part,
        )
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
        found.append(Gate(match["model"] or "tuned", figure, match["sign"], float(match["bound"])))
    return found


def check(asked: Sequence[Gate], figures: Mapping[str, Mapping[str, float]], page: Path) -> None:
    """Raises WorkError naming every gate that is not met by the figures {model: {figure: …}}, or whose figure there is not."""
    signs = {">=": float.__ge__, "<=": float.__le__, ">": float.__gt__, "<": float.__lt__}
    said = []
    for gate in asked:
        name = gate.figure if gate.model == "tuned" else f"{gate.model}.{gate.figure}"
        if gate.figure not in figures.get(gate.model, {}):
            said.append(f"{name} cannot be told here")
        elif not signs[gate.sign](value := float(figures[gate.model][gate.figure]), gate.bound):
            said.append(f"{name} is {value:.4g}, asked {gate.sign} {gate.bound:g}")
    if said:
        raise WorkError(
            f"The gate is not met: {'; '.join(said)}.", f"The report says more: see {page}"
        )
