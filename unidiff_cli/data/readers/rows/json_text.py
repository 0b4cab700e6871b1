"""JSON text that is read on from a place, so that its rows are never in memory together."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import PurePosixPath
from typing import Any

from unidiff_cli.data.columns import ROLES
from unidiff_cli.data.readers.rows.cells import decoder, not_json
from unidiff_cli.data.sample import IMAGE_SUFFIXES

_BLANK = re.compile(r"[ \t\n\r]*")
# What opens or closes something, and the strings in which a bracket does not.
_BRACKET = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{}]', re.DOTALL)
_SCALAR = re.compile(r"[^\s,\]}]+")
_NAMES = frozenset(name for role in ("image", "caption") for name in ROLES[role])
# An object with one of these is a row.
CAPTIONED = frozenset(("caption", "captions", "tags", "text", "prompt"))
# Objects inside one another in which a list of rows is looked for, and their keys.
DEPTH, KEYS, OBJECTS = 3, 200, 5


class JsonText:
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
            # Not by the decoder that counts: the row is read again.
            value, self.place = json.JSONDecoder().raw_decode(self._text, start)
            if self.peek() == "{":
                return True
            names = {str(name).strip().lower() for name in value} if value else set()
            return not self.peek() and len(names & _NAMES) > 1
        except (ValueError, TypeError, RecursionError):
            # The first of several lines may be broken.
            return self._text.find("\n{", start) > 0 and self._text[start:].count("\n{") > 1
        finally:
            self.place = start

    def lists(self, depth: int = DEPTH, path: str = "") -> dict[str, int]:
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

    def whole(self) -> Any:
        """The value that begins here, which is not taken; None where it is broken."""
        self.peek()
        try:
            return json.JSONDecoder().raw_decode(self._text, self.place)[0]
        except (ValueError, RecursionError):
            return None

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
