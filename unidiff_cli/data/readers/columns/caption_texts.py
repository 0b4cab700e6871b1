"""What the columns of a table hold as captions: sentences, or numbers, codes and names of files."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from unidiff_cli.data import captions
from unidiff_cli.data.readers.columns.image_cells import images_of, is_address, is_image_name
from unidiff_cli.data.readers.rows.cells import Cells

# Rows below which nothing is said of how distinct values are.
FEW_ROWS = 10
# The share of cells that makes a column one of numbers, codes or names of files.
MOST = 0.8
# Columns whose texts are about a product, but no description of its image.
SAYS_NO = frozenset("url link address email slug handle path sku id gtin ean html seo meta".split())
_ANSWERS = frozenset("yes no true false y n t f 0 1 ja nein oui non si".split())
_CAMERA = re.compile(
    r"(?:img|dsc|dscn|dscf|p|pic|photo|image|scan|pxl)?[\s_-]*\d{2,}(?:[\s_-]\d+)*"
)


@dataclass(frozen=True)
class Texts:
    """What the cells of a column hold: shares of the rows, and how many of its texts differ."""

    filled: float
    distinct: int
    texts: int
    # Why they are no captions; "" where they may be.
    flaw: str
    # The share of texts with two words or more.
    sentences: float

    @property
    def distinct_share(self) -> float:
        return self.distinct / self.texts if self.texts else 0.0


class CaptionTexts:
    """The texts of a table's columns in its first rows; `images` are the columns of images."""

    def __init__(self, head: Sequence[Cells], images: Sequence[str]) -> None:
        self.head, self._images = head, images
        self._cache: dict[str, Texts] = {}

    def of(self, name: str) -> Texts:
        """What a column's cells hold."""
        if name not in self._cache:
            self._cache[name] = self._read(name)
        return self._cache[name]

    def all(self, name: str) -> list[str]:
        """The first caption of each row; "" where there is none."""
        return [first_caption(row.get(name)) for row in self.head]

    def _read(self, name: str) -> Texts:
        texts = self.all(name)
        filled = [text for text in texts if text]
        total = max(1, len(filled))
        return Texts(
            filled=len(filled) / max(1, len(texts)),
            distinct=len({captions.same_text(text) for text in filled}),
            texts=len(filled),
            flaw=self._flaw(name, texts) if filled else "empty",
            sentences=sum(" " in text or not text.isascii() for text in filled) / total,
        )

    def _flaw(self, name: str, texts: Sequence[str]) -> str:
        """Why the texts of a column are no captions."""
        flaws: Counter[str] = Counter()
        for row, text in zip(self.head, texts, strict=True):
            if text:
                flaws[_flaw_of(text, self._stems(row))] += 1
        del flaws[""]
        total = sum(bool(text) for text in texts)
        return next((flaw for flaw, count in flaws.most_common(1) if count >= MOST * total), "")

    def _stems(self, row: Cells) -> set[str]:
        """The names of a row's images without folders and endings, in lower case."""
        names = (name for column in self._images for name in images_of(row.get(column)))
        return {
            PurePosixPath(name.replace("\\", "/")).stem.lower()
            for name in names
            if isinstance(name, str)
        }


def _flaw_of(text: str, stems: set[str]) -> str:
    """Why a text is no caption; "" where it may be one."""
    lower = text.lower()
    if lower in _ANSWERS:
        return "yes and no"
    if is_address(text) or is_image_name(text) or lower in stems:
        return "names of files"
    if not any(letter.isalpha() for letter in text):
        return "numbers"
    if _CAMERA.fullmatch(lower):
        return "names of files"
    if " " not in text and any(letter.isdigit() for letter in text) and text.isascii():
        return "codes"
    return ""


def first_caption(cell: Any) -> str:
    """The first caption in a cell; "" where there is none, or none that can be read."""
    try:
        return next(filter(None, captions.cell_captions(cell)), "")
    except ValueError:
        return ""
