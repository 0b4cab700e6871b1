"""Which column of a table is the caption: by its name, and by what its cells say.

File names, numbers, codes, yes and no are no captions, whatever their column is called.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from statistics import median
from typing import Any

from unidiff_cli.data import captions, columns
from unidiff_cli.data.doubts import Doubt
from unidiff_cli.data.readers._cells import Cells
from unidiff_cli.data.readers._image_cells import images_of, is_address, is_image_name

# A column with fewer filled cells is mostly empty; with fewer distinct ones it repeats itself.
FILLED, DISTINCT = 0.9, 0.25
# Rows below which nothing is said of how distinct values are.
FEW_ROWS = 10
# Rows of one caption from which it is named, their share, and times the rows of most captions.
REPEATED, REPEATED_SHARE = 5, 0.05
# The share of cells that makes a column one of numbers, codes or names of files.
MOST = 0.8
# Words from which a text that is no title is a sentence.
LONGER = 5
# Columns that are captions in data for training, and reviews or letters elsewhere.
_TEXTS = ("text", "prompt")
_TITLES = (
    *("producttitle", "productname", "productdisplayname", "itemname", "displayname"),
    *("title", "name", "titel", "titre", "titulo", "titolo"),
)
# Columns that name products, or people.
_NAMES = ("name", "nom", "nombre", "nome", "naam")
_PERSON = re.compile(r"[^\W\d_a-z][\w'’.-]+(?: [\w'’.-]+){1,3}")
_ANSWERS = frozenset("yes no true false y n t f 0 1 ja nein oui non si".split())
_CAMERA = re.compile(
    r"(?:img|dsc|dscn|dscf|p|pic|photo|image|scan|pxl)?[\s_-]*\d{2,}(?:[\s_-]\d+)*"
)
# Columns whose texts are about a product, but no description of its image.
_SAYS_NO = frozenset(
    "url link address email slug handle path sku id gtin ean html seo meta".split()
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


class CaptionColumn:
    """The caption columns of a table, by its first rows: `names`, none where no one fits.

    `products` are those that the rows say, 0 where they say none. `doubts` says what may be meant
    otherwise.
    """

    def __init__(
        self,
        head: Sequence[Cells],
        names: Sequence[str],
        images: Sequence[str],
        products: int = 0,
    ) -> None:
        self._head, self._images, self._products = head, images, products
        self._all = [name for name in names if name not in images]
        self._cache: dict[str, Texts] = {}
        self.doubts: list[Doubt] = []
        self.names: list[str] = self._numbered() or self._chosen()

    def texts(self, name: str) -> Texts:
        """What a column's cells hold."""
        if name not in self._cache:
            self._cache[name] = self._read(name)
        return self._cache[name]

    def few(self, names: Sequence[str], groups: int) -> list[Doubt]:
        """A doubt where few captions are distinct, by the columns and the products of the rows."""
        texts = [self.texts(name) for name in names]
        if not texts or len(self._head) < FEW_ROWS:
            return []
        best = max(texts, key=lambda text: text.distinct)
        if best.distinct >= DISTINCT * min(groups or best.texts, best.texts):
            return self._repeated(names) if len(names) == 1 else []
        first = captions.cell_text(self._head[0].get(names[0]))[:60]
        return [
            Doubt(
                f"Of {best.texts:,} captions in '{names[0]}' only {best.distinct:,} differ, such "
                f"as '{first}'.",
                "Map a column that says more: --set prepare.columns.caption=COLUMN",
            )
        ]

    def _repeated(self, names: Sequence[str]) -> list[Doubt]:
        """A doubt where one text is the caption of far more rows than the others are."""
        texts = [captions.same_text(_first_caption(row.get(names[0]))) for row in self._head]
        counts = Counter(filter(None, texts))
        text, count = counts.most_common(1)[0]
        least = max(REPEATED, REPEATED_SHARE * counts.total(), REPEATED * median(counts.values()))
        if count < least:
            return []
        written = next(
            cell
            for row in self._head
            if captions.same_text(cell := _first_caption(row.get(names[0]))) == text
        )
        return [
            Doubt(
                f"'{written[:60]}' is the caption of {count:,} of the first {len(texts):,} rows.",
                "If it says nothing, empty these cells, or map another column: "
                "--set prepare.columns.caption=COLUMN",
            )
        ]

    # ---- the choice

    def _chosen(self) -> list[str]:
        candidates = columns.named("caption", self._all)
        sound = [name for name in candidates if self._is_sound(name)]
        whole = [name for name in sound if self.texts(name).filled >= FILLED]
        if whole and sound[0] not in whole and 2 * self.texts(sound[0]).filled > FILLED:
            self._say_half_empty(sound[0], whole[0])
        chosen = (whole or sorted(sound, key=lambda name: -self.texts(name).filled))[:1]
        if chosen:
            better = self._more_distinct(chosen[0], whole)
            self._say_languages(better)
            self._ask_rivals(better, whole)
            self._say_longer(better)
            return [better]
        return self._by_content() or self._flawed(candidates)

    def _is_sound(self, name: str) -> bool:
        """Whether a column may be the caption; short codes are, where it is called so."""
        flaw = self.texts(name).flaw
        return not flaw or (flaw == "codes" and columns.plain(name) in ("caption", "captions"))

    def _flawed(self, candidates: Sequence[str]) -> list[str]:
        """The likeliest name, where nothing else is there: it is asked for."""
        filled = [name for name in candidates if self.texts(name).texts]
        if not filled:
            return []
        self.doubts.append(
            Doubt(
                f"The column '{filled[0]}' holds {self.texts(filled[0]).flaw}, and no other one "
                "looks like captions.",
                "Map the caption: --set prepare.columns.caption=COLUMN, "
                "or several columns: --set 'prepare.caption=\"{name} in {color}\"'",
                stops=True,
            )
        )
        return filled[:1]

    def _more_distinct(self, name: str, others: Sequence[str]) -> str:
        """Another column where this one says the same of many images."""
        texts = self.texts(name)
        if len(self._head) < FEW_ROWS or columns.plain(name) in ("caption", "captions"):
            return name
        for other in others:
            if self.texts(other).distinct >= 5 * texts.distinct:
                return other
        # A name of each product is distinct enough.
        if 2 * texts.distinct >= min(self._products or texts.texts, texts.texts):
            return name
        for other in others:
            more = self.texts(other)
            if more.distinct > 2 * texts.distinct and more.sentences >= MOST:
                self.doubts.append(
                    Doubt(
                        f"Of {texts.texts:,} texts in '{name}' only {texts.distinct:,} differ, so "
                        f"the caption is '{other}', where {more.distinct:,} do.",
                        f"If '{name}' is meant: --set prepare.columns.caption={name}",
                    )
                )
                return other
        return name

    def _ask_rivals(self, name: str, others: Sequence[str]) -> None:
        """Adds a doubt where a column `text` and one of titles both hold distinct sentences."""
        rivals = [
            other
            for other in (name, *others)
            if columns.plain(other) in (*_TEXTS, *_TITLES) and self._is_distinct(other)
        ]
        texts = [other for other in rivals if columns.plain(other) in _TEXTS]
        titles = [other for other in rivals if columns.plain(other) in _TITLES]
        if name not in rivals or not texts or not titles:
            return
        text, title = texts[0], titles[0]
        if self._says_the_same(text, title):
            return
        other = title if name == text else text
        self.doubts.append(
            Doubt(
                f"'{text}' and '{title}' may both be the caption, and '{name}' is read.",
                f"Say which is: --set prepare.columns.caption={name}, or "
                f"--set prepare.columns.caption={other}",
                stops=True,
            )
        )

    def _is_distinct(self, name: str) -> bool:
        texts = self.texts(name)
        return texts.distinct_share >= 0.5 and texts.sentences >= MOST and texts.texts >= FEW_ROWS

    def _says_the_same(self, name: str, other: str) -> bool:
        """Whether in most rows one text holds the other."""
        pairs = [
            (captions.same_text(a), captions.same_text(b))
            for row in self._head
            if (a := _first_caption(row.get(name))) and (b := _first_caption(row.get(other)))
        ]
        return 2 * sum(a in b or b in a for a, b in pairs) >= len(pairs)

    def _say_longer(self, name: str) -> None:
        """Adds a doubt where a column `name` may hold people, and another one holds sentences."""
        if columns.plain(name) not in _NAMES or len(self._head) < FEW_ROWS:
            return
        texts = [_first_caption(row.get(name)) for row in self._head]
        filled = [text for text in texts if text]
        if sum(bool(_PERSON.fullmatch(text)) for text in filled) < MOST * len(filled):
            return
        known = columns.named("caption", self._all)
        for other in self._all:
            if _SAYS_NO & set(columns.words(other)) or (
                other in known and columns.plain(other) in _NAMES
            ):
                continue
            longer = self.texts(other)
            whole = not longer.flaw and longer.filled >= FILLED
            words = median(len(_first_caption(row.get(other)).split()) for row in self._head)
            if whole and longer.distinct >= self.texts(name).distinct and words >= LONGER:
                self.doubts.append(
                    Doubt(
                        f"'{name}' may hold names of people, such as '{filled[0][:60]}'; '{other}' "
                        "holds distinct sentences.",
                        f"If those are the captions: --set prepare.columns.caption={other}",
                    )
                )
                return

    def _by_content(self) -> list[str]:
        """The column of distinct sentences, where its name says nothing."""
        known = columns.named("caption", self._all)
        names = [
            name
            for name in self._all
            if name not in known and not _SAYS_NO & set(columns.words(name))
        ]
        texts = {name: self.texts(name) for name in names}
        sound = [
            name
            for name, text in texts.items()
            if not text.flaw and text.filled >= FILLED and text.sentences >= MOST
            # Fewer differ in a column of kinds of goods.
            if text.distinct_share >= 0.5 and text.texts > 1
        ]
        if not sound:
            return []
        best = max(sound, key=lambda name: texts[name].distinct)
        others = f" It may be one of: {', '.join(sound)}." if len(sound) > 1 else ""
        self.doubts.append(
            Doubt(
                f"No column has a usual name of a caption; '{best}' is read, whose texts "
                f"differ the most.{others}",
                f"If it is not the caption: --set prepare.columns.caption={sound[-1]}",
                stops=len(sound) > 1,
            )
        )
        return [best]

    def _numbered(self) -> list[str]:
        """caption_0, caption_1, …: several captions an image."""
        numbered = [
            name
            for name in self._all
            if (words := columns.words(name))[-1:] and words[-1].isdecimal()
            if "".join(words[:-1]) in ("caption", "comment", "sentence", "text", "prompt")
        ]
        has_plain = any(columns.plain(name) == "caption" for name in self._all)
        sound = [name for name in numbered if not self.texts(name).flaw]
        return sound if len(sound) > 1 and not has_plain else []

    def _say_half_empty(self, name: str, whole: str) -> None:
        share = 1 - self.texts(name).filled
        self.doubts.append(
            Doubt(
                f"'{name}' is empty in {share:.0%} of the rows, so the caption is '{whole}'.",
                f"To have both: --set 'prepare.columns.caption=[{name}, {whole}]'",
            )
        )

    def _say_languages(self, name: str) -> None:
        same = [other for other in self._all if columns.plain(other) == columns.plain(name)]
        others = [other for other in same if other != name and columns.locale(other)]
        if columns.locale(name) and others:
            self.doubts.append(
                Doubt(
                    f"The caption is '{name}'; not read: {', '.join(others)}.",
                    f"For another language: --set prepare.columns.caption={others[0]}",
                )
            )

    # ---- what a column holds

    def _read(self, name: str) -> Texts:
        texts = []
        for row in self._head:
            texts.append(_first_caption(row.get(name)))
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
        for row, text in zip(self._head, texts, strict=True):
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


def _first_caption(cell: Any) -> str:
    """The first caption in a cell; "" where there is none, or none that can be read."""
    try:
        return next(filter(None, captions.cell_captions(cell)), "")
    except ValueError:
        return ""
