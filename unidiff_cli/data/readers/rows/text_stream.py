"""A text file of a catalogue as numbered lines: unpacked within bounds, its letters found.

The encoding is found from the whole file, since the first letter that is not ASCII may come late. A
file of UTF-8 in which a few lines are something else, as when two exports were joined, is UTF-8
with exceptions.
"""

from __future__ import annotations

import codecs
import errno
import gzip
import io
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from typing import IO, Any, NamedTuple

from unidiff_cli.config.prepare import Limits, Prepare
from unidiff_cli.data.doubts import Doubt
from unidiff_cli.data.encoding import (
    ENOUGH,
    Encoding,
    certain_encoding,
    encoding_doubt,
    encoding_of,
    guess_lines,
    is_broken,
    is_utf8,
)
from unidiff_cli.data.locations import Location

PACKED = ".gz"
# Bytes that any packed table may grow to, however small it is.
GROWTH = 1 << 28
# Bytes looked at together, and the longest piece of a line.
PIECE, LONGEST = 1 << 20, 1 << 24

# A line's number and text; None for one longer than a row may be.
Line = tuple[int, str | None]


class Letters(NamedTuple):
    """The encoding of a file, and of its lines that are something else."""

    encoding: Encoding
    exceptions: Encoding | None = None
    # Whether the recipe names it.
    is_set: bool = False

    def describe(self) -> str:
        words = self.encoding.name.removesuffix("-sig")
        return f"{words} with {self.exceptions.name}" if self.exceptions else words


class _Bounded(io.RawIOBase):
    """What a gzip unpacks to; ends with an error where it has more than `most` bytes."""

    def __init__(self, packed: IO[bytes], most: int) -> None:
        self._packed, self._stream = packed, gzip.GzipFile(fileobj=packed)
        self._most, self._taken = most, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._stream.read(len(buffer))
        self._taken += len(data)
        if self._taken > self._most:
            words = f"it grows to more than {self._most:,} bytes (prepare.limits.inflation)"
            raise OSError(errno.EFBIG, words)
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._stream.close()
        self._packed.close()
        super().close()


def open_bytes(file: Location, limits: Limits) -> IO[bytes]:
    """The bytes of a file, unpacked where its name ends in .gz. Raises OSError."""
    stream = file.open()
    if not file.name.lower().endswith(PACKED):
        return stream
    most = GROWTH + limits.inflation * file.size
    return io.BufferedReader(_Bounded(stream, most), PIECE)


def letters_of(file: Location, options: Prepare) -> Letters:
    """The encoding of a file: what the recipe says, else what is found. Raises OSError."""
    return _letters(file, file.version, options.encoding, options.limits)


@lru_cache(maxsize=64)
def _letters(file: Location, version: str, name: str | None, limits: Limits) -> Letters:
    with open_bytes(file, limits) as stream:
        first = stream.read(ENOUGH)
        if name is not None:
            return _named(name, first)
        found = certain_encoding(first, whole=len(first) < ENOUGH)
        if found and found.name != "utf-8":
            return Letters(found)
        if b"\0" in first or b"\x1b$" in first:
            return Letters(encoding_of(first))
        return _found(first, stream)


def _named(name: str, first: bytes) -> Letters:
    """The encoding of the recipe, with its mark; broken letters are an example."""
    marked = certain_encoding(first, whole=False)
    if marked and codecs.lookup(marked.name.removesuffix("-sig")) == codecs.lookup(name):
        name = marked.name
    lines = [line for line in first.splitlines() if not line.isascii()]
    text = b"\n".join(lines).decode(name, "ignore") if "\n".encode(name) == b"\n" else ""
    example = " ".join(text.split())[:60] if is_broken(text) else ""
    return Letters(Encoding(name, is_certain=True, example=example), is_set=True)


def _found(first: bytes, stream: IO[bytes]) -> Letters:
    """UTF-8, UTF-8 with exceptions, or a guess, by all lines that are not ASCII."""
    lines = _Lines()
    lines.add(first)
    for piece in iter(lambda: stream.read(PIECE), b""):
        lines.add(piece)
    lines.end()
    if not lines.others:
        return Letters(Encoding("utf-8-sig", is_certain=True))
    guess = guess_lines(lines.others)
    if lines.utf8 > lines.count:
        return Letters(Encoding("utf-8-sig", is_certain=True), guess)
    return Letters(guess)


class _Lines:
    """Counts the lines that are UTF-8, beyond ASCII, and keeps some that are not."""

    def __init__(self) -> None:
        self.utf8 = self.count = 0
        self.others: list[bytes] = []
        self._size = 0
        self._rest = b""

    def add(self, piece: bytes) -> None:
        data = self._rest + piece
        end = max(data.rfind(b"\n"), data.rfind(b"\r")) + 1
        if end == 0 and len(data) < LONGEST:
            self._rest = data
            return
        self._rest = data[end:] if end else b""
        self._take(data[:end] if end else data)

    def end(self) -> None:
        self._take(self._rest)

    def _take(self, data: bytes) -> None:
        if data.isascii():
            return
        if is_utf8(data):
            self.utf8 += max(1, data.count(b"\n"))
            return
        for line in data.splitlines():
            if not line.isascii() and is_utf8(line):
                self.utf8 += 1
            elif not line.isascii():
                self.count += 1
                if self._size < 4 * ENOUGH:
                    self.others.append(line)
                    self._size += len(line)


def letters_doubts(file: Location, letters: Letters) -> list[Doubt]:
    """What is doubtful of a file's letters."""
    if letters.is_set and letters.encoding.example:
        return [
            Doubt(
                f"{file.name} has broken letters in {letters.encoding.name}, "
                f"as in '{letters.encoding.example}'.",
                "Name another: --set prepare.encoding=utf-8, or null: it is found.",
                stops=True,
            )
        ]
    if letters.exceptions:
        doubt = encoding_doubt(f"A part of {file.name}", letters.exceptions)
        return [replace(doubt, action="To be sure, save the file again as UTF-8.")] if doubt else []
    doubt = encoding_doubt(file.name, letters.encoding)
    return [doubt] if doubt else []


def lines(file: Location, options: Prepare, newline: str = "") -> Iterator[Line]:
    """Numbered lines; bytes that the encoding has no letters for come as lone surrogates.

    Raises OSError, and EOFError or zlib.error where a packed file is damaged.
    """
    most = options.limits.row
    name = letters_of(file, options).encoding.name
    with (
        open_bytes(file, options.limits) as raw,
        io.TextIOWrapper(raw, name, errors=_ESCAPE, newline=newline) as stream,
    ):
        number = 0
        while text := stream.readline(most):
            number += 1
            whole = len(text) < most
            while len(text) == most and not text.endswith(("\n", "\r")):
                text = stream.readline(most)
            yield number, text if whole else None


def text_of(file: Location, options: Prepare, most: int) -> str:
    """The whole text of a file of at most so many bytes. Raises OSError, ValueError."""
    letters = letters_of(file, options)
    with open_bytes(file, options.limits) as stream:
        data = stream.read(most + 1)
    if len(data) > most:
        raise OSError(errno.EFBIG, f"larger than {most:,} bytes", str(file))
    text = data.decode(letters.encoding.name, _ESCAPE)
    if well_read(text):
        return text
    return "".join(mend(line, letters) or line for line in text.splitlines(keepends=True))


def well_read(text: str) -> bool:
    """Whether every byte of a text has its letter."""
    try:
        text.encode()
        return True
    except UnicodeEncodeError:
        return False


def mend(text: str, letters: Letters) -> str | None:
    """A text with bytes that have no letter, read as the file's exceptions; None: it has none."""
    if letters.exceptions is None:
        return None
    try:
        data = text.encode(letters.encoding.name.removesuffix("-sig"), "surrogateescape")
        return data.decode(letters.exceptions.name)
    except UnicodeError:
        return None


def _escaped(problem: UnicodeError) -> tuple[str, int]:
    """As surrogateescape, which does not take ASCII bytes of a letter that is cut."""
    if not isinstance(problem, UnicodeDecodeError):
        raise problem
    data = problem.object[problem.start : problem.end]
    return "".join(chr(b if b < 128 else 0xDC00 + b) for b in data), problem.end


_ESCAPE = "unidiff-escape"
codecs.register_error(_ESCAPE, _escaped)
