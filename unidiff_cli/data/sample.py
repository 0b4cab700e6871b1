"""One row of a catalogue as a reader gives it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

IMAGE_SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif")
)
FOREIGN = frozenset(
    (".heic", ".heif", ".psd", ".svg", ".tga", ".ico", ".jp2", ".jxl", ".eps", ".dng", ".cr2")
)
SPLITS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}


@dataclass(frozen=True)
class Sample:
    """One image with its text, as the catalogue has it. `row` says where it came from."""

    row: str
    image: Path | bytes
    captions: tuple[str, ...]
    attributes: dict[str, Any] = field(default_factory=dict)
    id: str | None = None
    product: str | None = None
    split: str | None = None


@dataclass(frozen=True)
class Rejected:
    """A row that gives no sample, and why."""

    row: str
    reason: str
    path: str = ""


class Extent(NamedTuple):
    """How much a catalogue holds; `digest` changes when a row, a caption or an image file does."""

    digest: str
    rows: int | None  # None: only reading tells
    bytes: int
