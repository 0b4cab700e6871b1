"""The attributes of a catalogue as choices with counts, and what is chosen of them as a filter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow
import pyarrow.compute as pc

from unidiff_cli.retrieval.items import Items

# Values by attribute: what is chosen.
Chosen = Mapping[str, Sequence[str]]
# Choices of an attribute that are shown, and attributes.
MOST, MOST_FACETS = 8, 12
# Values of an attribute, at most so many and one for so many images: one of more is no choice but a
# name or a number of its own for each product.
MOST_VALUES, FEW_VALUES, IMAGES_EACH = 1_000, 12, 20
# Between the bounds of a range of numbers, in the value of a choice.
TO = ".."


@dataclass(frozen=True)
class Choice:
    """A value of an attribute, and how many images have it among those that are left."""

    value: str
    count: int
    chosen: bool

    @property
    def label(self) -> str:
        """How it is shown."""
        low, between, high = self.value.partition(TO)
        if not between:
            return self.value
        return f"from {low}" if not high else f"below {high}" if not low else f"{low} to {high}"


@dataclass(frozen=True)
class Facet:
    """An attribute with its choices, the most frequent first, ranges of numbers in order."""

    name: str
    choices: tuple[Choice, ...]


def filters_of(chosen: Chosen, columns: Mapping[str, bool], besides: str = "") -> list[str]:
    """The filters that leave what is chosen: of each attribute any of its values.

    `columns` says of each attribute whether it holds numbers. `besides` is left out.
    """
    return [
        _clause(name, values, columns[name])
        for name, values in chosen.items()
        if values and name != besides and name in columns
    ]


class Facets:
    """The attributes of an index's rows that people choose by."""

    def __init__(self, items: Items) -> None:
        self._items = items
        self._ranges: dict[str, tuple[str, ...]] = {}
        # By name, whether it holds numbers.
        self.columns: dict[str, bool] = {}
        most = min(MOST_VALUES, max(FEW_VALUES, len(items) // IMAGES_EACH))
        for name in items.attributes:
            column = items.column(name)
            if "`" in name or pyarrow.types.is_date(column.type):
                continue
            if pyarrow.types.is_floating(column.type):
                if ranges := _ranges(column):
                    self.columns[name], self._ranges[name] = True, ranges
            elif 1 < len(pc.unique(_values(column))) <= most:
                self.columns[name] = False
            if len(self.columns) == MOST_FACETS:
                break

    def count(self, name: str, allowed: np.ndarray | None, chosen: Sequence[str]) -> Facet:
        """The choices of an attribute among the rows that are left (N,)."""
        column = self._items.column(name)
        if allowed is not None:
            column = column.filter(pyarrow.array(allowed))
        if self.columns[name]:
            numbers = column.combine_chunks().drop_null().to_numpy()
            counts = {each: _within(numbers, each) for each in self._ranges[name]}
            return _facet(name, [(each, counts[each]) for each in counts if counts[each]], chosen)
        pairs = pc.value_counts(_values(column)).to_pylist()
        counted = {p["values"]: p["counts"] for p in pairs if p["values"] is not None}
        order = sorted(counted, key=lambda value: (value not in chosen, -counted[value], value))
        shown = order[: max(MOST, len(chosen))]
        return _facet(name, [(value, counted[value]) for value in shown], chosen)


def _facet(name: str, counted: Sequence[tuple[str, int]], chosen: Sequence[str]) -> Facet:
    there = {value for value, _ in counted}
    # What is chosen stays, so that it can be taken back.
    missing = [(value, 0) for value in chosen if value not in there]
    return Facet(name, tuple(Choice(v, n, v in chosen) for v, n in (*counted, *missing)))


def _values(column: pyarrow.ChunkedArray) -> pyarrow.ChunkedArray:
    """The texts of a column, those of lists one by one."""
    return pc.list_flatten(column) if pyarrow.types.is_list(column.type) else column


def _ranges(column: pyarrow.ChunkedArray) -> tuple[str, ...]:
    """Ranges of numbers that hold about a quarter of the rows each; none for one number."""
    numbers = column.combine_chunks().drop_null().to_numpy()
    if not len(numbers):
        return ()
    inner = [_round(each) for each in np.quantile(numbers, [0.25, 0.5, 0.75])]
    bounds = [each for each in dict.fromkeys(inner) if numbers.min() < each <= numbers.max()]
    if not bounds:
        return ()
    edges = ["", *(f"{each:g}" for each in bounds), ""]
    return tuple(f"{low}{TO}{high}" for low, high in zip(edges, edges[1:], strict=False))


def _round(number: float) -> float:
    """A number with two digits, as people bound ranges."""
    return float(f"{number:.2g}")


def _within(numbers: np.ndarray, bounds: str) -> int:
    low, _, high = bounds.partition(TO)
    inside = np.ones(len(numbers), bool)
    if low:
        inside &= numbers >= float(low)
    if high:
        inside &= numbers < float(high)
    return int(inside.sum())


def _clause(name: str, values: Sequence[str], is_number: bool) -> str:
    if not is_number:
        return f"`{name}` in ({', '.join(map(_quoted, values))})"
    return f"({' or '.join(_range_clause(name, value) for value in values)})"


def _range_clause(name: str, bounds: str) -> str:
    low, _, high = bounds.partition(TO)
    sides = [(">=", low), ("<", high)]
    # What is no number is text, which the filter refuses by name.
    clauses = [f"`{name}` {sign} {_number(side)}" for sign, side in sides if side]
    return f"({' and '.join(clauses) or f'`{name}` is not null'})"


def _number(text: str) -> str:
    try:
        return f"{float(text):g}"
    except ValueError:
        return _quoted(text)


def _quoted(text: str) -> str:
    doubled = text.replace("'", "''")
    return f"'{doubled}'"
