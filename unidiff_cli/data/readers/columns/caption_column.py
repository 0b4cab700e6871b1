"""Which column of a table is the caption: by its name, and by what its cells say.

File names, numbers, codes, yes and no are no captions, whatever their column is called.
"""

from __future__ import annotations

from collections.abc import Sequence

from unidiff_cli.data import captions, columns
from unidiff_cli.data.doubts import Doubt
from unidiff_cli.data.readers.columns import caption_rivals
from unidiff_cli.data.readers.columns.caption_texts import (
    FEW_ROWS,
    MOST,
    SAYS_NO,
    CaptionTexts,
    Texts,
)
from unidiff_cli.data.readers.rows.cells import Cells

# A column with fewer filled cells is mostly empty; with fewer distinct ones it repeats itself.
FILLED, DISTINCT = 0.9, 0.25


class CaptionColumn:
    """The caption columns of a table, by its first rows: `names`, none where no one fits.

    `products` has the product of each row, where the rows say them. `doubts` says what may be meant
    otherwise.
    """

    def __init__(
        self,
        head: Sequence[Cells],
        names: Sequence[str],
        images: Sequence[str],
        products: Sequence[str] = (),
    ) -> None:
        self._head, self._rows = head, products
        self._products = len(set(products) - {""})
        self._texts = CaptionTexts(head, images)
        self._all = [name for name in names if name not in images]
        self.doubts: list[Doubt] = []
        self.names: list[str] = self._numbered() or self._chosen()

    def texts(self, name: str) -> Texts:
        """What a column's cells hold."""
        return self._texts.of(name)

    def few(self, names: Sequence[str]) -> list[Doubt]:
        """A doubt where few captions of these columns are distinct, or one has many rows."""
        texts = [self.texts(name) for name in names]
        if not texts or len(self._head) < FEW_ROWS:
            return []
        best = max(texts, key=lambda text: text.distinct)
        if best.distinct >= DISTINCT * min(self._products or best.texts, best.texts):
            return caption_rivals.repeated(self._head, names[0], self._rows)
        first = captions.cell_text(self._head[0].get(names[0]))[:60]
        return [
            Doubt(
                f"Of {best.texts:,} captions in '{names[0]}' only {best.distinct:,} differ, such "
                f"as '{first}'.",
                "Map a column that says more: --set prepare.columns.caption=COLUMN",
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
            self.doubts += caption_rivals.titles(self._texts, better, whole)
            self.doubts += caption_rivals.people(self._texts, better, self._all)
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

    def _by_content(self) -> list[str]:
        """The column of distinct sentences, where its name says nothing."""
        known = columns.named("caption", self._all)
        names = [
            name
            for name in self._all
            if name not in known and not SAYS_NO & set(columns.words(name))
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
        other = next((name for name in sound if name != best), "COLUMN")
        self.doubts.append(
            Doubt(
                f"No column has a usual name of a caption; '{best}' is read, whose texts "
                f"differ the most.{others}",
                f"If it is not the caption: --set prepare.columns.caption={other}",
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
