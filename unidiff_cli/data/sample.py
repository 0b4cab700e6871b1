"""Defines what a reader makes of a row of a catalogue: a sample, or why it is none."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

from unidiff_cli.data.locations import OUTSIDE, Location

IMAGE_SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .jfif .png .apng .webp .gif .bmp .tif .tiff .avif".split()
)
# Images of formats that are not read: each is a row, and decoding it says what it is.
FOREIGN_SUFFIXES = frozenset(
    ".heic .heif .psd .svg .tga .ico .jp2 .jxl .eps .dng .cr2 .ppm .pgm .pbm .pnm".split()
)
# Why a row gives no image whose file is not there.
NO_FILE = "no such file"


@dataclass(frozen=True)
class Sample:
    """One image with its text, as the catalogue has it. `row` says where it came from."""

    row: str
    image: Location
    captions: tuple[str, ...]
    attributes: dict[str, Any] = field(default_factory=dict)
    id: str | None = None
    product: str | None = None
    split: str | None = None


class Cause(StrEnum):
    """What rejected rows are counted by, where their words differ from row to row."""

    NO_CAPTION = "no caption"
    DAMAGED = "damaged"
    NOT_JSON = "not JSON"
    UNREAD_CAPTION = "captions that look like a list and cannot be read"
    LINK = "links that lead out of the catalogue"
    UNREADABLE = "folders that cannot be read"
    SMALL = "smaller than prepare.min_side"
    STRIP = "longer than prepare.max_aspect allows"
    PLACEHOLDER = "one image for many products (prepare.placeholder)"
    MASK = "two greys only, as masks have (prepare.masks)"
    DUPLICATE = "equal to another image (prepare.dedupe: drop)"


# Of rows of which nobody knows what they hold.
UNREAD = (Cause.LINK, Cause.UNREADABLE)
# Of sound images that a rule of the recipe leaves out: no bad rows.
RULES = (Cause.SMALL, Cause.STRIP, Cause.PLACEHOLDER, Cause.MASK, Cause.DUPLICATE)


@dataclass(frozen=True)
class Reason:
    """Why a row gives no sample, in words."""

    text: str
    cause: Cause | None = None

    @property
    def counted_as(self) -> str:
        """The words under which rows with like reasons are counted."""
        return self.cause.value if self.cause else self.text

    @property
    def is_rule(self) -> bool:
        """Whether a rule of the recipe leaves the row out, and nothing is broken."""
        return self.cause in RULES


def unreadable(problem: OSError | ValueError, what: str = "") -> Reason:
    """Why a file cannot be read, by the error of trying; `what` names it."""
    words = str(getattr(problem, "strerror", None) or problem)
    if words == OUTSIDE:
        return Reason(f"{what or 'it'} is {OUTSIDE}", Cause.LINK)
    return Reason(f"{what} cannot be read: {words}".lstrip())


@dataclass(frozen=True)
class Rejected:
    """A row that gives no sample, and why."""

    row: str
    reason: Reason
    path: str = ""


class Extent(NamedTuple):
    """How much a catalogue holds; `digest` changes when a row, a caption or an image file does."""

    digest: str
    # None: only reading it tells.
    rows: int | None
    bytes: int
