"""Which letters a text of a catalogue is written in, where it does not say so itself.

UTF-8 and Unicode marks are certain. Anything else is found by chardet from the lines that are not
ASCII, and is a guess: prepare shows it with an example, and `prepare.encoding` says it by name. Why
chardet: docs/decisions/2026-11-26-letters-by-chardet.md.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable
from typing import NamedTuple

from unidiff_cli.data.doubts import Doubt

# Bytes by which an encoding is found; more says no more.
ENOUGH = 1 << 18
MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# What spreadsheets, shops and editors write. Mainframes, fonts and typewriters are no candidates.
_WIDE = ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")
_SHIFTED = ("iso2022_jp_2",)
_COMMON = """
    cp1250 cp1251 cp1252 cp1253 cp1254 cp1255 cp1256 cp1257 cp1258 cp874 iso8859-2 iso8859-5
    iso8859-7 iso8859-9 iso8859-13 iso8859-15 koi8-r koi8-u cp932 euc_jis_2004 gb18030 big5hkscs
    cp949
""".split()
# Old Macs and DOS: found where they fit best, and no reason to doubt a common one.
_OLD = "mac-roman mac-cyrillic cp437 cp850 cp852 cp866".split()
# An encoding is likely where the next one that reads other letters is less likely by this factor,
# and where this many letters, those of equal words counted once, say so.
_CLEARLY, _LETTERS = 0.85, 3
# No text has these.
_CONTROLS = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f]")
_NOT_ASCII = re.compile(rb"[\x80-\xff]+")
_DIGITS = re.compile(rb"[0-9]+")
# Escape sequences that choose a Japanese alphabet.
_SHIFT = re.compile(rb"\x1b[$(][@ABDIJ]")


class Encoding(NamedTuple):
    """An encoding by Python's name, and how sure that is.

    `is_certain`: the bytes leave no doubt. `is_likely`: no other encoding comes near. `example` is
    a line that shows its letters.
    """

    name: str
    is_certain: bool
    is_likely: bool = True
    example: str = ""


def encoding_of(data: bytes, whole: bool = True) -> Encoding:
    """The encoding of a text, or of its beginning where it is not `whole`.

    What no encoding explains is taken for Windows-1252, which reads nearly any byte.
    """
    if certain := certain_encoding(data, whole):
        return certain
    if b"\0" in data[:ENOUGH]:
        return guess(data[: ENOUGH - ENOUGH % 4], _WIDE)
    if _SHIFT.search(data):
        return guess(data[:ENOUGH], _SHIFTED)
    return guess_lines(line for line in data.splitlines() if not line.isascii())


def certain_encoding(data: bytes, whole: bool = True) -> Encoding | None:
    """What a mark says, or UTF-8; None where neither is there."""
    for mark, name in MARKS:
        if data.startswith(mark):
            return Encoding(name, is_certain=True)
    if is_utf8(data, whole) and b"\0" not in data and not _SHIFT.search(data):
        return Encoding("utf-8", is_certain=True)
    return None


def guess_lines(lines: Iterable[bytes]) -> Encoding:
    """The encoding of lines that are no UTF-8; equal ones count once, whatever their numbers."""
    distinct: dict[bytes, None] = {}
    size = 0
    for line in lines:
        plain = _DIGITS.sub(b"", line.strip())[:ENOUGH]
        if plain not in distinct:
            distinct[plain] = None
            size += len(plain)
        if size > ENOUGH:
            break
    return guess(b"\n".join(distinct))


def guess(data: bytes, candidates: Iterable[str] = (*_COMMON, *_OLD)) -> Encoding:
    """The likeliest of some encodings for a text that is no UTF-8."""
    # Imported here: most catalogues never need it.
    import chardet

    ranked = [
        (str(result["encoding"]), float(result["confidence"]), text)
        for result in chardet.detect_all(
            data,
            ignore_threshold=True,
            compat_names=False,
            include_encodings=[*candidates, "cp1252"],
        )
        if result["encoding"] and (text := _read(data, str(result["encoding"])))
    ]
    if not ranked:
        return Encoding("cp1252", False, False, data[:80].decode("cp1252", "replace"))
    letters = sum(map(len, set(_NOT_ASCII.findall(data))))
    enough = letters >= _LETTERS or ranked[0][0] in (*_WIDE, *_SHIFTED)
    near = [result for result in ranked if result[1] > _CLEARLY * ranked[0][1]]
    if not enough:
        # A letter or two prove nothing; the commonest is the best guess then.
        ranked.sort(key=lambda result: result not in near or result[0] != "cp1252")
    name, confidence, text = ranked[0]
    # Of encodings that read the same, the commonest is shown.
    name = "cp1252" if any(r[0] == "cp1252" and r[2] == text for r in ranked) else name
    others = [
        other[1]
        for other in ranked[1:]
        if other[2] != text and not (other[0] in _OLD and name not in _OLD)
    ]
    is_likely = max(others, default=0.0) < _CLEARLY * confidence
    return Encoding(name, False, is_likely and enough and not is_broken(text), _example(text))


def is_utf8(data: bytes, whole: bool = True) -> bool:
    """Whether bytes are UTF-8; a character may be cut at the end of what is not whole."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(data, final=whole)
        return True
    except UnicodeDecodeError:
        return False


def is_broken(text: str) -> bool:
    """Whether a text looks like one that was read in a wrong encoding, as cafÃ© does."""
    if text.isascii():
        return False
    from ftfy.badness import badness

    words = sum(not word.isascii() for word in text.split())
    return badness(text) > 0.2 * words


def encoding_doubt(what: str, encoding: Encoding) -> Doubt | None:
    """What is doubtful of the letters of a file or folder; nothing where they are certain."""
    if encoding.is_certain:
        return None
    guess = "It is read as" if encoding.is_likely else "Its encoding is a guess:"
    return Doubt(
        f"{what} is not UTF-8. {guess} {encoding.name}, as in '{encoding.example}'.",
        f"Say so: --set prepare.encoding={encoding.name}, or name another encoding.",
        stops=not encoding.is_likely,
    )


def _read(data: bytes, name: str) -> str:
    """The text in an encoding; "" where it has none there, or control characters."""
    try:
        text = data.decode(name)
    # A character may be cut at the end.
    except UnicodeDecodeError as problem:
        if len(data) < ENOUGH or problem.start < len(data) - 8:
            return ""
        text = data[: problem.start].decode(name)
    return "" if _CONTROLS.search(text) else text


def _example(text: str) -> str:
    """A line of a text that shows its letters, shortened."""
    lines = text.splitlines()[:50]
    line = max(lines, key=lambda line: sum(letter > "\x7f" for letter in line), default="")
    line = " ".join(line.split())
    first = next((n for n, letter in enumerate(line) if letter > "\x7f"), 0)
    start = max(0, first - 12)
    return ("…" if start else "") + line[start : start + 40].rstrip('"}, ')
