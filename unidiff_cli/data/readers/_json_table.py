"""A .json table row by row: only its text is in memory whole, and one bad row costs itself."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from unidiff_cli.config.schema import Limits
from unidiff_cli.data.locations import Location
from unidiff_cli.data.readers._cells import Record, cells_of, not_json, refuse_constant
from unidiff_cli.data.sample import Reason
from unidiff_cli.errors import WorkError

_BLANK = re.compile(r"[ \t\n\r]*")
# What opens or closes something, and the strings in which a bracket does not.
_BRACKET = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{}]', re.DOTALL)
_SCALAR = re.compile(r"[^\s,\]}]+")


def json_rows(file: Location, limits: Limits) -> Iterator[Record]:
    """The rows of a list of objects, or of an object by image, as kohya's scripts write it.

    That is {"a.jpg": {...}} or {"a.jpg": "a red dress"}. Raises WorkError for any other file.
    """
    if file.size > limits.json_bytes:
        raise WorkError(
            f"{file} is larger than {limits.json_bytes:,} bytes (prepare.limits.json_bytes).",
            "Save it as JSON lines (.jsonl), which is not read whole.",
        )
    try:
        text = _Text(file.read(limits.json_bytes).decode("utf-8-sig"))
        opening = text.take("[{")
        yield from enumerate(_rows(text, ordered=opening == "["), 1)
    except ValueError as problem:
        raise WorkError(
            f"{file} is not JSON, or no table: {problem}.", "A table is a list of objects."
        ) from problem


def _rows(text: _Text, ordered: bool) -> Iterator[Any]:
    closing = "]" if ordered else "}"
    if text.peek() == closing:
        text.take(closing)
    else:
        while True:
            image = {} if ordered else {"image": text.name()}
            value = text.value()
            if isinstance(value, Reason):
                yield value
            elif ordered or isinstance(value, dict):
                yield cells_of(image | value if image else value)
            else:
                yield cells_of({**image, "caption": value})
            if text.take("," + closing) == closing:
                break
    if text.peek():
        raise ValueError(f"more text after its end, at character {text.place:,}")


class _Text:
    """JSON that is read on from a place."""

    def __init__(self, text: str) -> None:
        self._text, self.place = text, 0
        self._decoder = json.JSONDecoder(parse_constant=refuse_constant)

    def peek(self) -> str:
        """The next character that is not blank; "" at the end."""
        self.place = _BLANK.match(self._text, self.place).end()  # type: ignore[union-attr]
        return self._text[self.place : self.place + 1]

    def take(self, expected: str) -> str:
        """The next character, one of those expected. Raises ValueError."""
        found = self.peek()
        if not found or found not in expected:
            wanted = " or ".join(expected)
            raise ValueError(f"{wanted} expected at character {self.place:,}")
        self.place += 1
        return found

    def name(self) -> str:
        """The name of the next value of an object. Raises ValueError."""
        name = self.value()
        self.take(":")
        if not isinstance(name, str):
            raise ValueError(f"a name expected before character {self.place:,}")
        return name

    def value(self) -> Any:
        """The next value, or why it cannot be taken, where its end is known all the same.

        Raises ValueError where it is not.
        """
        self.peek()
        start = self.place
        try:
            value, self.place = self._decoder.raw_decode(self._text, start)
            return value
        except json.JSONDecodeError:
            raise
        except RecursionError:
            problem = ValueError("nested too deeply")
        # NaN, and numbers of thousands of digits.
        except ValueError as refused:
            problem = refused
        self._pass_over()
        return not_json(problem)

    def _pass_over(self) -> None:
        """Moves on to behind the value that begins here."""
        if scalar := _SCALAR.match(self._text, self.place) if self.peek() not in "[{" else None:
            self.place = scalar.end()
            return
        depth = 0
        for bracket in _BRACKET.finditer(self._text, self.place):
            depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(bracket[0], 0)
            if depth == 0:
                self.place = bracket.end()
                return
        raise ValueError("it ends in the middle of a row")
