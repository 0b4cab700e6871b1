"""A .json table row by row: only its text is in memory whole, and one bad row costs itself.

Read are a list of objects, one inside an object ({"data": [...]}), an object by image as kohya's
scripts write it, objects one a line, COCO's captions, and rows as `_json_layouts` knows them.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from unidiff_cli.config.schema import Prepare
from unidiff_cli.data.columns import ROLES
from unidiff_cli.data.locations import Location
from unidiff_cli.data.readers import _json_layouts as layouts
from unidiff_cli.data.readers._cells import Record, cells_of, decoder, not_json
from unidiff_cli.data.readers._text import text_of
from unidiff_cli.data.sample import IMAGE_SUFFIXES, Reason
from unidiff_cli.errors import UsageError, WorkError

_BLANK = re.compile(r"[ \t\n\r]*")
# What opens or closes something, and the strings in which a bracket does not.
_BRACKET = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{}]', re.DOTALL)
_SCALAR = re.compile(r"[^\s,\]}]+")
_NAMES = frozenset(name for role in ("image", "caption") for name in ROLES[role])
# An object with one of these is a row.
CAPTIONED = frozenset(("caption", "captions", "tags", "text", "prompt"))
# Objects inside one another in which a list of rows is looked for, and their keys.
DEPTH, KEYS, OBJECTS = 3, 200, 5


def json_rows(file: Location, options: Prepare, notes: Counter[str]) -> Iterator[Record]:
    """The rows of a .json file.

    Raises WorkError where it is none, UsageError where several of its lists may be meant.
    """
    limits = options.limits
    if file.size > limits.json_bytes:
        raise WorkError(
            f"{file} is larger than {limits.json_bytes:,} bytes (prepare.limits.json_bytes).",
            "Save it as JSON lines (.jsonl), which is not read whole.",
        )
    try:
        text = _Text(text_of(file, options, limits.json_bytes), notes)
        yield from enumerate(_table(file, text, options, notes), 1)
    except ValueError as problem:
        raise WorkError(
            f"{file} is not JSON, or no table: {problem}.", "A table is a list of objects."
        ) from problem


def _table(file: Location, text: _Text, options: Prepare, notes: Counter[str]) -> Iterator[Any]:
    opening = text.peek()
    wanted = options.table.rows
    if opening != "{":
        text.take("[")
        yield from layouts.understood(_list(text), notes)
        return
    lists = text.lists(DEPTH)
    if wanted is not None:
        if wanted not in lists:
            raise _which(file, f"has no list of objects at '{wanted}'", lists)
        text.place = lists[wanted]
    elif layouts.COCO <= lists.keys():
        yield from layouts.coco(file, *(_at(text, lists[key]) for key in ("annotations", "images")))
        return
    elif len(lists) > 1:
        raise _which(file, "holds several lists of objects", lists)
    elif lists:
        text.place = next(iter(lists.values()))
    if wanted is not None or lists:
        text.take("[")
        yield from layouts.understood(_list(text), notes)
    elif text.is_lines():
        yield from layouts.understood(_objects(text), notes)
    else:
        text.take("{")
        yield from _by_image(text)


def _which(file: Location, words: str, lists: dict[str, int]) -> UsageError:
    names = ", ".join(lists) or "none"
    first = next(iter(lists), "KEY")
    return UsageError(
        f"{file} {words}: {names}." if lists else f"{file} {words}.",
        f"Name the one whose objects are rows: --set prepare.table.rows={first}",
    )


def _at(text: _Text, place: int) -> Iterator[Any]:
    text.place = place
    text.take("[")
    yield from _list(text)


def _list(text: _Text) -> Iterator[Any]:
    """The rest of a list, as rows."""
    if text.peek() == "]":
        text.take("]")
        return
    while True:
        value = text.value()
        yield value if isinstance(value, Reason) else cells_of(value)
        if text.take(",]") == "]":
            break
    text.end()


def _objects(text: _Text) -> Iterator[Any]:
    """Objects one after another, as JSON lines have them; a broken one ends with its line."""
    while text.peek():
        try:
            value = text.value()
        except ValueError as problem:
            text.next_line()
            yield not_json(problem)
        else:
            yield value if isinstance(value, Reason) else cells_of(value)


def _by_image(text: _Text) -> Iterator[Any]:
    """The rest of an object whose names are images and whose values are rows, or captions."""
    if text.peek() == "}":
        text.take("}")
        return
    while True:
        image = {"image": text.name()}
        value = text.value()
        if isinstance(value, Reason):
            yield value
        elif isinstance(value, dict):
            yield cells_of(image | value)
        else:
            yield cells_of({**image, "caption": value})
        if text.take(",}") == "}":
            break
    text.end()


class _Text:
    """JSON that is read on from a place."""

    def __init__(self, text: str, notes: Counter[str]) -> None:
        self._text, self.place = text.lstrip("\ufeff"), 0
        self._decoder = decoder(notes)
        # More follows behind a list inside an object.
        self._is_part = False

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

    def end(self) -> None:
        """Makes sure that nothing follows, where the table is not a part of something."""
        if not self._is_part and self.peek():
            raise ValueError(f"more text after its end, at character {self.place:,}")

    def name(self) -> str:
        """The name of the next value of an object. Raises ValueError."""
        name = self.value()
        self.take(":")
        if not isinstance(name, str):
            raise ValueError(f"a name expected before character {self.place:,}")
        return name

    def next_line(self) -> None:
        """Moves on to the next line."""
        end = self._text.find("\n", self.place)
        self.place = len(self._text) if end < 0 else end + 1

    def is_lines(self) -> bool:
        """Whether the object that begins here is a row.

        Another one follows it, or it is alone and names an image and a caption.
        """
        start = self.place
        try:
            value = self.value()
            if self.peek() == "{":
                return True
            names = {str(name).strip().lower() for name in value} if value else set()
            return not self.peek() and len(names & _NAMES) > 1
        except (ValueError, TypeError):
            # The first of several lines may be broken.
            return self._text.find("\n{", start) > 0 and self._text[start:].count("\n{") > 1
        finally:
            self.place = start

    def lists(self, depth: int, path: str = "") -> dict[str, int]:
        """The lists of objects in the object that begins here, by their path, with their place.

        None where names are images, or the object is a row. Those before a break are given.
        """
        start = self.place
        lists: dict[str, int] = {}
        objects: list[tuple[str, int]] = []
        try:
            self.take("{")
            for _ in range(KEYS):
                if self.peek() == "}":
                    break
                name = self.name()
                opening, place = self.peek(), self.place
                is_image = PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES
                if is_image or (path and name.lower() in CAPTIONED):
                    lists, objects = {}, []
                    break
                if opening == "[" and self._text[place + 1 : place + 200].lstrip()[:1] == "{":
                    lists[f"{path}{name}"] = place
                elif opening == "{":
                    objects.append((f"{path}{name}.", place))
                self._pass_over()
                if self.take(",}") == "}":
                    break
        except ValueError:
            # Reading it says what is broken.
            pass
        # Many objects are rows by their image.
        for name, self.place in objects if depth > 1 and len(objects) <= OBJECTS else ():
            lists |= self.lists(depth - 1, name)
        self.place = start
        self._is_part = self._is_part or bool(lists)
        return lists

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
        # Numbers of thousands of digits.
        except ValueError as refused:
            problem = refused
        self._pass_over()
        return not_json(problem)

    def _pass_over(self) -> None:
        """Moves on to behind the value that begins here."""
        opening = self.peek()
        if opening == '"' and (string := _BRACKET.match(self._text, self.place)):
            self.place = string.end()
            return
        if scalar := _SCALAR.match(self._text, self.place) if opening not in "[{" else None:
            self.place = scalar.end()
            return
        depth = 0
        for bracket in _BRACKET.finditer(self._text, self.place):
            depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(bracket[0], 0)
            if depth == 0:
                self.place = bracket.end()
                return
        raise ValueError("it ends in the middle of a row")
