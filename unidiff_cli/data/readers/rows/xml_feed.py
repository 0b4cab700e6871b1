"""An XML feed as rows: Google Merchant's RSS and Atom, and others whose products have such names.

Read as it comes, without the tree. A document type that only names a file, as Yandex's YML has it,
is passed over and the file is not read. One that declares anything is refused, and with it entities
that grow and files that they name. Nothing is fetched.
"""

from __future__ import annotations

import html.entities
import re
import zlib
from collections import Counter
from collections.abc import Iterator
from itertools import count
from typing import Any
from xml.parsers import expat

from unidiff_cli.config.prepare import Prepare
from unidiff_cli.data.locations import Location
from unidiff_cli.data.readers.rows.cells import Cells, Record
from unidiff_cli.data.readers.rows.text_stream import open_bytes
from unidiff_cli.data.sample import Reason
from unidiff_cli.errors import WorkError

# What a product is called in feeds; likeliest first.
ROWS = ("item", "entry", "product", "offer", "shopitem", "article", "artikel", "record", "row")
# Google's own elements stand for those of RSS and Atom.
GOOGLE = "http://base.google.com/ns/1.0"
# Attributes whose value is the element's, where it has no text: <link href>, <enclosure url>.
VALUES = ("href", "url", "src", "value")
PIECE = 1 << 16
# Bytes by which a feed is recognised, and elements inside one another.
BEGINNING, DEPTH = 1 << 16, 64


def is_feed(file: Location, options: Prepare) -> bool:
    """Whether a .xml holds products: an element of such a name, with elements in it."""
    try:
        with open_bytes(file, options.limits) as stream:
            names = re.findall(rb"<(?:[\w.-]+:)?([A-Za-z]+)", stream.read(BEGINNING))
    except (OSError, EOFError, zlib.error):
        return False
    return any(name.decode().lower() in ROWS for name in names)


def xml_rows(file: Location, options: Prepare, notes: Counter[str]) -> Iterator[Record]:
    """The products of a feed. Raises WorkError where it is not readable as XML."""
    feed = _Feed(options)
    try:
        with open_bytes(file, options.limits) as stream:
            numbers = count(1)
            for piece in iter(lambda: stream.read(PIECE), b""):
                feed.parser.Parse(piece, False)
                for row in feed.take():
                    yield next(numbers), row
            feed.parser.Parse(b"", True)
    except expat.ExpatError as problem:
        raise WorkError(
            f"{file} is not readable as XML: {problem}.",
            "Mend it, or export it again; & and < in texts are written &amp; and &lt;.",
        ) from problem
    except (_Refused, LookupError, ValueError) as problem:
        raise WorkError(f"{file} is not read: {problem}.", "Export it without that.") from problem


class _Refused(Exception):
    """What no feed has."""


class _Element:
    """An element that is open: its text so far and its elements by name."""

    def __init__(self, name: str, space: str, attributes: dict[str, str]) -> None:
        self.name, self.space, self.attributes = name, space, attributes
        self.texts: list[str] = []
        self.size = 0
        self.cells: dict[str, Any] = {}
        self.spaces: dict[str, str] = {}

    def value(self) -> Any:
        """The text, else an attribute that stands for it, else the elements."""
        if self.cells:
            return self.cells
        if text := "".join(self.texts).strip():
            return text
        return next((self.attributes[key] for key in VALUES if key in self.attributes), "")

    def add(self, other: _Element) -> None:
        """Takes an element that ended; one that is repeated becomes a list."""
        name, value = other.name, other.value()
        if name not in self.cells or (other.space == GOOGLE != self.spaces[name]):
            self.cells[name] = value
        elif other.space == self.spaces[name]:
            before = self.cells[name]
            self.cells[name] = [*(before if isinstance(before, list) else [before]), value]
        else:
            return
        self.spaces[name] = other.space


class _Feed:
    """The rows of a feed as the parser meets them."""

    def __init__(self, options: Prepare) -> None:
        self._limits = options.limits
        self._open: list[_Element] = []
        # The element that is a row, by its depth and name, once one was met.
        self._row: tuple[int, str] | None = None
        self._rows: list[Cells | Reason] = []
        self._too_long = 0
        self.parser = expat.ParserCreate(options.encoding, namespace_separator=" ")
        self.parser.buffer_text = True
        self.parser.StartDoctypeDeclHandler = self._doctype
        self.parser.SkippedEntityHandler = self._skipped
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._text

    def take(self) -> list[Cells | Reason]:
        """The rows that ended since the last call."""
        rows, self._rows = self._rows, []
        return rows

    def _doctype(self, name: str, system: str | None, public: str | None, declares: int) -> None:
        if declares:
            raise _Refused("its document type (<!DOCTYPE … [) declares things, which no feed needs")

    def _skipped(self, name: str, is_parameter: bool) -> None:
        """An entity that a file declares which is not read: one of HTML's, else as it is written.

        Raises _Refused for one that is no text.
        """
        if is_parameter:
            raise _Refused("it uses entities of its document type")
        self._text(html.entities.html5.get(f"{name};", f"&{name};"))

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        space, _, name = tag.rpartition(" ")
        if len(self._open) >= DEPTH:
            raise _Refused(f"its elements lie more than {DEPTH} deep in each other")
        if self._row is None and self._open and name.lower() in ROWS:
            self._row = len(self._open), name
        self._open.append(_Element(name, space, attributes))

    def _text(self, text: str) -> None:
        if self._row is None or len(self._open) <= self._row[0]:
            return
        self._too_long += len(text)
        if self._too_long <= self._limits.row:
            self._open[-1].texts.append(text)

    def _end(self, tag: str) -> None:
        element = self._open.pop()
        if self._row is None:
            return
        if (len(self._open), element.name) == self._row:
            self._rows.append(self._cells(element))
            self._too_long = 0
        elif len(self._open) > self._row[0]:
            self._open[-1].add(element)

    def _cells(self, element: _Element) -> Cells | Reason:
        if self._too_long > self._limits.row:
            most = f"{self._limits.row:,}"
            return Reason(f"longer than {most} characters (prepare.limits.row)")
        attributes = {k: v for k, v in element.attributes.items() if " " not in k}
        return attributes | element.cells
