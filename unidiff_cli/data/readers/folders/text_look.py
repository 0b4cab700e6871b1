"""What the texts of a catalogue have in common: their encoding, and what their lines are.

It is found by looking at all of them before the first is read. A guess is said or asked for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from unidiff_cli.config.prepare import Prepare
from unidiff_cli.data import captions
from unidiff_cli.data.doubts import Doubt
from unidiff_cli.data.encoding import ENOUGH, MARKS, encoding_of, is_utf8
from unidiff_cli.data.readers.folders.text_kinds import (
    are_tags,
    has_bad_letters,
    is_wordless,
    prompt_of,
)

# A line that goes on in the next one ends like this.
_GOES_ON = re.compile(r"(?:[,;:-]|\b(?:a|an|the|of|and|or|with|in|on|at|by|for|from|to))$", re.I)
# The share of texts of several lines above which all are taken for wrapped.
WRAPPED = 0.5
# The share of texts without words above which they are no captions, and of those with bad letters
# above which their encoding is not the one of all.
WORDLESS, BAD_LETTERS = 0.5, 0.02
GENERATED = "texts with settings of an image generator, of which the prompt is the caption"

# A name and its bytes.
NamedText = tuple[str, bytes]


@dataclass
class TextLook:
    """How the texts of a catalogue are read."""

    # Of texts that are neither UTF-8 nor marked; None where there are none.
    encoding: str | None = None
    is_sure: bool = True
    # Whether a text of several lines is one caption.
    is_wrapped: bool = False
    foreign: int = 0
    several_lines: int = 0
    # Texts of several lines that look like one sentence.
    wrapped: list[str] = field(default_factory=list)
    looked_at: int = 0
    # Texts with the settings of an image generator.
    generated: int = 0
    # Texts whose lines may be tags.
    tags: int = 0
    # Texts of numbers, and those whose letters look wrong; and one of each, quoted.
    wordless: int = 0
    bad_letters: int = 0
    examples: dict[str, str] = field(default_factory=dict)

    @property
    def are_boxes(self) -> bool:
        """Whether most texts are numbers, such as the boxes of a detector, and no captions."""
        return self.wordless > WORDLESS * self.looked_at

    def decode(self, data: bytes) -> str:
        """A text by its own mark, else as UTF-8, else in the encoding of all. UnicodeError."""
        for mark, name in MARKS:
            if data.startswith(mark):
                return data.decode(name, "replace")
        if self.encoding is None or _is_plain(data):
            return data.decode("utf-8")
        return data.decode(self.encoding, "replace")

    def captions_in(self, text: str) -> list[str]:
        """The captions of a text: each line, all of it, or the list that it holds.

        Raises ValueError for what looks like a list and cannot be read.
        """
        prompt = prompt_of(text)
        if prompt is not None:
            return [prompt] if prompt else []
        lines = captions.text_captions(text)
        return [text] if self.is_wrapped and lines == text.splitlines() else lines

    def decisions(self) -> dict[str, str]:
        lines = {"a text of several lines": "one caption" if self.is_wrapped else "a caption each"}
        encoding = {"encoding of texts": self.encoding} if self.encoding else {}
        generated = {"texts of image generators": f"{self.generated:,}, read without settings"}
        return (
            (lines if self.several_lines else {}) | encoding | (generated if self.generated else {})
        )

    def doubts(self, options: Prepare) -> Iterator[Doubt]:
        """What may be meant otherwise."""
        if self.foreign and not options.encoding:
            yield Doubt(
                f"{self.foreign:,} texts of images are not UTF-8; they are read as "
                f"{self.encoding}.",
                f"Say which encoding they have: --set prepare.encoding={self.encoding}",
                stops=not self.is_sure,
            )
        if self.bad_letters > BAD_LETTERS * max(1, self.foreign):
            yield Doubt(
                f"{self.bad_letters:,} of {self.foreign:,} texts do not look right in "
                f"{self.encoding}, such as {self.examples['letters']}. They may have several "
                "encodings.",
                "Save all texts as UTF-8, or name the encoding of all: prepare.encoding",
                stops=not options.encoding,
            )
        if self.are_boxes and not options.sidecar:
            yield Doubt(
                f"{self.wordless:,} of {self.looked_at:,} texts of images hold numbers and no "
                f"words, such as {self.examples['numbers']}. They may be boxes, and are no "
                "captions.",
                "Move them out of the catalogue and lay captions beside the images; or if these "
                "are captions: --set prepare.sidecar=lines",
                stops=True,
            )
        if self.tags > WRAPPED * self.several_lines and not options.sidecar:
            reading = "one caption" if self.is_wrapped else "one caption a line"
            yield Doubt(
                f"{self.tags:,} texts look like tags, one a line, such as "
                f"{self.examples['tags']}; each is read as {reading}.",
                "Say what a text is: --set prepare.sidecar=text (one caption) or "
                "--set prepare.sidecar=lines (one caption a line)",
                stops=True,
            )
        if self.wrapped and not options.sidecar:
            many = f"{len(self.wrapped):,} of {self.several_lines:,} texts with several lines"
            reading = "one caption" if self.is_wrapped else "one caption a line"
            yield Doubt(
                f"{many} look like one wrapped sentence, such as {self.wrapped[0]}; "
                f"each is read as {reading}.",
                "Say what a text is: --set prepare.sidecar=text (one caption) or "
                "--set prepare.sidecar=lines (one caption a line)",
                stops=True,
            )


def look_at(texts: Callable[[], Iterable[NamedText]], options: Prepare) -> TextLook:
    """Looks at all texts, twice: first for their letters, then for their lines."""
    look, sample = TextLook(), bytearray()
    for _, data in texts():
        if not _is_plain(data):
            look.foreign += 1
            sample += data[: max(0, ENOUGH - len(sample))] + b"\n"
    if look.foreign:
        guess = encoding_of(bytes(sample))
        look.encoding, look.is_sure = guess.name, guess.is_likely
        look.encoding = options.encoding or look.encoding
    for name, data in texts():
        text = look.decode(data)
        look.looked_at += 1
        if not _is_plain(data) and has_bad_letters(text):
            look.bad_letters += 1
            look.examples.setdefault("letters", _quoted(name, text))
        if prompt_of(text) is not None:
            look.generated += 1
            continue
        if is_wordless(text):
            look.wordless += 1
            look.examples.setdefault("numbers", _quoted(name, text))
            continue
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        look.several_lines += len(lines) > 1
        if are_tags(lines):
            look.tags += 1
            look.examples.setdefault("tags", _quoted(name, text))
        if len(lines) > 1 and _is_wrapped(lines):
            look.wrapped.append(name)
    share = len(look.wrapped) / max(1, look.several_lines)
    look.is_wrapped = options.sidecar == "text" or (options.sidecar is None and share >= WRAPPED)
    return look


def _quoted(name: str, text: str) -> str:
    """A text's name and its beginning."""
    return f"{name} ('{captions.fold(text)[:40]}')"


def _is_plain(data: bytes) -> bool:
    """Whether a text says itself how it is read: by a mark, or by being UTF-8."""
    return any(data.startswith(mark) for mark, _ in MARKS) or (b"\0" not in data and is_utf8(data))


def _is_wrapped(lines: list[str]) -> bool:
    """Whether lines go on in the next one, as those of a paragraph do and captions do not."""
    goes_on = any(_GOES_ON.search(line) for line in lines[:-1])
    return goes_on or (lines[0][0].isupper() and any(line[0].islower() for line in lines[1:]))
