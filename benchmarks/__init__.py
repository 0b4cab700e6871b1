"""What the project claims, measured: a command a subject, each writing its figures and the sheets to check them by."""

from collections.abc import Mapping
from typing import Any

from rich.table import Table

Bound = tuple[float, bool]  # what a figure is to reach, and whether more is better


def table(figures: Mapping[str, Mapping[str, Any]], bounds: Mapping[str, Bound]) -> Table:
    """Every figure of every part, beside its bound ("part.name") where it has one."""
    shown = Table("figure", "value", "target", "reached")
    for part, each in figures.items():
        for name, value in each.items():
            target = reached = ""
            if bound := bounds.get(f"{part}.{name}"):
                least, more = bound
                target = f"{'>=' if more else '<='} {least:g}"
                reached = "yes" if (value >= least if more else value <= least) else "no"
            written = (
                value
                if isinstance(value, str)
                else f"{value:,}"
                if isinstance(value, int)
                else f"{value:.4g}"
            )
            shown.add_row(f"{part}.{name}", written, target, reached)
    return shown
