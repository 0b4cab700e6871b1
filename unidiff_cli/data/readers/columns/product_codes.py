"""Columns of an unknown name that repeat as a product's number does: they are asked for.

Colours, sizes and prices repeat too. So the values must be codes, each must have few rows, and
these rows must lie together or have captions that are alike.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import groupby, pairwise

from unidiff_cli.data import captions, columns
from unidiff_cli.data.doubts import Doubt
from unidiff_cli.data.readers.columns.image_cells import is_address, is_image_name
from unidiff_cli.data.readers.rows.cells import Cells

# Rows below which nothing is said, and the share of them that has a value.
FEW_ROWS, FILLED = 10, 0.5
# Products are more than so many, by number and by share of the rows.
FEW, FEW_SHARE = 3, 0.05
# The most rows of one product, and the share of values that have two rows at least.
MOST_ROWS, REPEATED = 50, 0.5
# A share of values, rows or groups that is nearly all.
MOST = 0.8
# Runs of equal values, as a multiple of the values, where equal ones lie together.
RUNS = 1.2
# The share of common words from which two captions are alike.
ALIKE = 0.5
_CODE = re.compile(r"(?=.*\d)[\w./#+-]{1,40}")
# A code beyond doubt: letters and digits, or many digits.
_STRONG = re.compile(r"(?=.*\d)(?=.*[^\W\d_]).{2,}|\d{5,}")
# Prices, dates, and numbers with a unit.
_MEASURE = re.compile(
    r"\d+[.,]\d+|\d{1,4}[-./]\d{1,2}[-./]\d{1,4}(?:T.*)?|[\d.,/-]+(?:[cm]?m|k?g|[cm]?l|in|oz|x{0,3}l)",
    re.IGNORECASE,
)
_WORD = re.compile(r"[^\W\d_]+")
# What repeats and is no product, by words of a column's name.
_OTHERS = frozenset(
    """
    color colour farbe farbcode couleur kleur colore kolor cor size sizes groesse grosse taille
    talla taglia maat rozmiar tamanho price preis prix precio prezzo prijs cena preco brand marke
    marque marca merk marka year jahr annee ano anno jaar rok date datum fecha data time created
    updated timestamp weight gewicht poids peso width height breite hoehe stock qty quantity menge
    rating score category kategorie categorie categoria season saison gender age position rank
    seller shop store vendor supplier user author photographer fold batch split camera zip
    lat lon latitude longitude
    """.split()
)


def is_code(value: str) -> bool:
    """Whether a value looks like a number of goods: one word with digits, and no measure."""
    return bool(_CODE.fullmatch(value)) and not _MEASURE.fullmatch(value)


def repeating(
    head: Sequence[Cells], names: Sequence[str], captions_in: Sequence[str], images: Sequence[str]
) -> list[Doubt]:
    """A doubt for the column that looks most like a product's number; none where none does."""
    if len(head) < FEW_ROWS:
        return []
    texts = _words_of(head, captions_in)
    files = [str([row.get(name) for name in images])[:400] for row in head]
    found = []
    for name in names:
        if _OTHERS & {columns.plain(word) for word in columns.words(name)}:
            continue
        values = [captions.cell_text(row.get(name)) for row in head]
        if not _repeats_like_one(values, files):
            continue
        share = _rows_repeated(values)
        if _captions_alike(values, texts):
            found.append((share >= MOST, share, name, values))
        elif _lie_together(values) and all(map(_STRONG.fullmatch, filter(None, values))):
            found.append((False, share, name, values))
    if not found:
        return []
    stops, _, name, values = max(found, key=lambda item: item[:2])
    filled = [value for value in values if value]
    return [
        Doubt(
            f"The column '{name}' repeats like a product's number ({len(set(filled)):,} values in "
            f"{len(filled):,} rows), and no other column groups them.",
            f"If it does: --set prepare.columns.product={name}. If not: "
            "--set prepare.columns.product=''",
            stops=stops,
        )
    ]


def _repeats_like_one(values: Sequence[str], files: Sequence[str]) -> bool:
    """Whether the values are codes, of which most have several rows of several images."""
    counts = Counter(filter(None, values))
    rows = counts.total()
    if rows < FILLED * len(values) or len(counts) <= max(FEW, FEW_SHARE * rows):
        return False
    several = sum(2 <= count <= MOST_ROWS for count in counts.values())
    if several < REPEATED * len(counts) or max(counts.values()) > MOST_ROWS:
        return False
    if sum(map(is_code, counts)) < MOST * len(counts):
        return False
    if any(is_address(value) or is_image_name(value) for value in counts):
        return False
    # Rows of one image are one product anyway.
    pairs = {(value, file) for value, file in zip(values, files, strict=True) if value}
    return len(pairs) - len(counts) >= REPEATED * (rows - len(counts))


def _rows_repeated(values: Sequence[str]) -> float:
    """The share of the values that have several rows."""
    counts = Counter(filter(None, values))
    return sum(count > 1 for count in counts.values()) / len(counts)


def _lie_together(values: Sequence[str]) -> bool:
    filled = [value for value in values if value]
    return sum(1 for _ in groupby(filled)) <= RUNS * len(set(filled))


def _captions_alike(values: Sequence[str], texts: Sequence[frozenset[str]]) -> bool:
    """Whether captions of one value are alike, and those of different ones are not."""
    groups: dict[str, list[frozenset[str]]] = {}
    for value, text in zip(values, texts, strict=True):
        if value and text:
            groups.setdefault(value, []).append(text)
    several = [group for group in groups.values() if len(group) > 1]
    alike = sum(all(_alike(group[0], text) for text in group) for group in several)
    firsts = [group[0] for group in groups.values()]
    others = sum(_alike(a, b) for a, b in pairwise(firsts))
    return bool(several) and alike >= MOST * len(several) and 2 * others <= len(firsts)


def _alike(a: frozenset[str], b: frozenset[str]) -> bool:
    return len(a & b) >= ALIKE * len(a | b)


def _words_of(head: Sequence[Cells], captions_in: Sequence[str]) -> list[frozenset[str]]:
    """The words of each row's captions, without those that most of the captions have."""
    texts = [
        " ".join(captions.cell_text(row.get(name)) for name in captions_in).casefold()
        for row in head
    ]
    words = [frozenset(_WORD.findall(text)) for text in texts]
    counts = Counter(word for row in set(words) for word in row)
    common = {word for word, count in counts.items() if 2 * count >= len(set(words))}
    return [row - common or row for row in words]
