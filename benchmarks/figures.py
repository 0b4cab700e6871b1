"""Figures by part, the bounds they are to keep, and how a command measures and prints them."""

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console
from rich.table import Table

from benchmarks.measurement import all_cores, machine_facts

Figures = dict[str, float]
# Figures of parts, and facts of the machine, which may be text.
FiguresByPart = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Bound:
    """What a figure is to reach: at least, or at most."""

    value: float
    at_least: bool = False

    def reached(self, value: float) -> bool:
        """Whether a figure keeps the bound; one that is no number does not."""
        return value >= self.value if self.at_least else value <= self.value


class Part(Protocol):
    """Something to measure, with its sizes."""

    def measure(self) -> Figures:
        """Its figures."""
        ...


@dataclass(frozen=True)
class Benchmark:
    """A command: its parts at full size and small, its checks and its targets by "part.name".

    A check compares outputs: where it fails, the times beside it compare different things.
    `measure_part` measures one part.
    """

    parts: Mapping[str, Part]
    quick: Mapping[str, Part]
    checks: Mapping[str, Bound]
    targets: Mapping[str, Bound]
    measure_part: Callable[[Part], Figures]

    @property
    def bounds(self) -> dict[str, Bound]:
        """Checks and targets together."""
        return {**self.targets, **self.checks}

    def measure(self, out: Path, parts: Mapping[str, Part]) -> dict[str, dict[str, Any]]:
        """The figures of parts and the machine's facts, also in `out`/figures.json as they come."""
        out.mkdir(parents=True, exist_ok=True)
        figures: dict[str, dict[str, Any]] = {"machine": machine_facts()}
        with all_cores():
            for name, part in parts.items():
                figures[name] = self.measure_part(part)
                figures["machine"]["load_after"] = os.getloadavg()[0]
                (out / "figures.json").write_text(json.dumps(figures, indent=2) + "\n")
        return figures

    def failed_checks(self, figures: FiguresByPart) -> list[str]:
        """The checks that fail, of those whose figure was measured."""
        flat = {
            f"{part}.{name}": v for part, values in figures.items() for name, v in values.items()
        }
        return [
            name
            for name, check in self.checks.items()
            if name in flat and not check.reached(flat[name])
        ]

    def table(self, figures: FiguresByPart) -> Table:
        """Every figure of every part, beside its bound where it has one."""
        table = Table("figure", "value", "target", "reached")
        for part, values in figures.items():
            for name, value in values.items():
                target = reached = ""
                if bound := self.bounds.get(f"{part}.{name}"):
                    target = f"{'>=' if bound.at_least else '<='} {bound.value:g}"
                    reached = "yes" if bound.reached(value) else "no"
                table.add_row(f"{part}.{name}", _written(value), target, reached)
        return table

    def arguments(self, prog: str, description: str) -> argparse.ArgumentParser:
        """A parser of the options that every command has."""
        parser = argparse.ArgumentParser(prog=prog, description=description)
        add, names = parser.add_argument, ", ".join(self.parts)
        add("--out", type=Path, required=True, help="the folder of figures.json")
        add("--only", nargs="+", choices=self.parts, default=[], metavar="PART", help=names)
        add("--quick", action="store_true", help="a little of everything: proves that it runs")
        return parser

    def chosen(self, given: argparse.Namespace) -> dict[str, Part]:
        """The parts that the options ask for."""
        parts = self.quick if given.quick else self.parts
        return {name: parts[name] for name in given.only or parts}

    def run(self, out: Path, parts: Mapping[str, Part]) -> None:
        """Measures, prints the table, and ends the program with an error where a check fails."""
        figures = self.measure(out, parts)
        Console(width=110).print(self.table(figures))
        if wrong := self.failed_checks(figures):
            sys.exit(f"The outputs differ, so the times compare nothing: {', '.join(wrong)}.")


def _written(value: Any) -> str:
    if isinstance(value, str):
        return value
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
