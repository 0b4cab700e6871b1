"""Doubts about a caption column: another one may be meant, or its texts may say nothing."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from statistics import median

from unidiff_cli.data import captions, columns
from unidiff_cli.data.doubts import Doubt
from unidiff_cli.data.readers.columns.caption_texts import (
    FEW_ROWS,
    MOST,
    SAYS_NO,
    CaptionTexts,
    first_caption,
)
from unidiff_cli.data.readers.rows.cells import Cells

# Products of one caption from which it is named, their share, and times those of most captions.
REPEATED, REPEATED_SHARE = 5, 0.05
# Words from which a text that is no title is a sentence.
LONGER = 5
# Columns that are captions in data for training, and reviews or letters elsewhere.
_TEXTS = ("text", "prompt")
_TITLES = (
    *("producttitle", "productname", "productdisplayname", "itemname", "displayname"),
    *("title", "name", "titel", "titre", "titulo", "titolo"),
)
# Columns that name products, or people: "Anna Meyer".
_NAMES = ("name", "nom", "nombre", "nome", "naam")
_PERSON = re.compile(r"[^\W\d_][\w'’.-]+(?: [^\W\d_][\w'’.-]*){1,3}")
# A word that more of the texts have is one of goods.
COMMON = 0.1


def titles(texts: CaptionTexts, name: str, others: Sequence[str]) -> list[Doubt]:
    """A doubt where a column `text` and one of titles both hold distinct sentences."""
    rivals = [
        other
        for other in dict.fromkeys((name, *others))
        if columns.plain(other) in (*_TEXTS, *_TITLES) and _is_distinct(texts, other)
    ]
    text = next((other for other in rivals if columns.plain(other) in _TEXTS), None)
    title = next((other for other in rivals if columns.plain(other) in _TITLES), None)
    if text is None or title is None or name not in (text, title):
        return []
    if _say_the_same(texts.all(text), texts.all(title)):
        return []
    other = title if name == text else text
    return [
        Doubt(
            f"'{text}' and '{title}' may both be the caption, and '{name}' is read.",
            f"Say which is: --set prepare.columns.caption={name}, or "
            f"--set prepare.columns.caption={other}",
            stops=True,
        )
    ]


def people(texts: CaptionTexts, name: str, others: Sequence[str]) -> list[Doubt]:
    """A doubt where a column `name` may hold people, and another one holds sentences."""
    if columns.plain(name) not in _NAMES or len(texts.head) < FEW_ROWS:
        return []
    filled = [text for text in texts.all(name) if text]
    if sum(map(_may_be_person, filled)) < MOST * len(filled):
        return []
    counts = Counter(word for text in filled for word in set(text.split()))
    if counts and max(counts.values()) > max(1, COMMON * len(filled)):
        return []
    for other in others:
        if columns.plain(other) in _NAMES or SAYS_NO & set(columns.words(other)):
            continue
        longer = texts.of(other)
        words = median(len(text.split()) for text in texts.all(other))
        if not longer.flaw and longer.distinct >= texts.of(name).distinct and words >= LONGER:
            return [
                Doubt(
                    f"'{name}' may hold names of people, such as '{filled[0][:60]}'; '{other}' "
                    "holds distinct sentences.",
                    f"If those are the captions: --set prepare.columns.caption={other}",
                )
            ]
    return []


def _may_be_person(text: str) -> bool:
    """Whether a text is two to four words with capitals, such as Anna Meyer."""
    return bool(_PERSON.fullmatch(text)) and all(word[0].isupper() for word in text.split())


def repeated(head: Sequence[Cells], name: str, products: Sequence[str]) -> list[Doubt]:
    """A doubt where one text is the caption of far more products than the others are.

    `products` has the product of each row; without it a row is one itself.
    """
    written: dict[str, str] = {}
    pairs = set()
    for number, row in enumerate(head):
        if text := first_caption(row.get(name)):
            same = captions.same_text(text)
            written.setdefault(same, text)
            pairs.add((same, (products[number] if products else "") or number))
    counts = Counter(same for same, _ in pairs)
    if not counts:
        return []
    text, count = counts.most_common(1)[0]
    if count < max(REPEATED, REPEATED_SHARE * len(pairs), REPEATED * median(counts.values())):
        return []
    what = "products" if products else "rows"
    return [
        Doubt(
            f"'{written[text][:60]}' is the caption of {count:,} {what} in the first "
            f"{len(head):,} rows.",
            "If it says nothing, empty these cells, or map another column: "
            "--set prepare.columns.caption=COLUMN",
        )
    ]


def _is_distinct(texts: CaptionTexts, name: str) -> bool:
    found = texts.of(name)
    return found.distinct_share >= 0.5 and found.sentences >= MOST and found.texts >= FEW_ROWS


def _say_the_same(texts: Sequence[str], others: Sequence[str]) -> bool:
    """Whether in most rows one text holds the other."""
    pairs = [
        (captions.same_text(a), captions.same_text(b))
        for a, b in zip(texts, others, strict=True)
        if a and b
    ]
    return 2 * sum(a in b or b in a for a, b in pairs) >= len(pairs)
