"""Which rows of a table are one product, and which column says so."""

from __future__ import annotations

from collections.abc import Sequence

from unidiff_cli.data import captions, columns
from unidiff_cli.data.doubts import Doubt
from unidiff_cli.data.readers._cells import Cells

# A product column has at least so many values, by number and by share of the rows.
FEW_PRODUCTS, FEW_SHARE = 3, 0.05
# Names under which some tables have a kind of goods, and rows a kind that then has.
KINDS = ("product", "parent", "handle", "style", "itemgroup", "spu")
ROWS_OF_A_KIND = 4


def product_column(
    head: Sequence[Cells], names: Sequence[str], captions_in: Sequence[str], doubts: list[Doubt]
) -> str | None:
    """The column whose equal values are one product; None where there is none.

    It is one of the usual names, else an id that repeats. Adds what is doubtful.
    """
    for name in columns.named("product", names, columns.LIKELY_PRODUCTS):
        values = _values(head, name)
        if not any(values):
            continue
        why = _no_products(name, values, head, captions_in)
        if not why:
            return name
        doubts.append(
            Doubt(
                f"The column '{name}' {why}, so it groups no products.",
                f"If it does: --set prepare.columns.product={name}",
            )
        )
    for name in columns.named("id", names):
        values = _values(head, name)
        filled = [value for value in values if value]
        # An id that is used once groups nothing.
        if len(set(filled)) < len(filled) and not _no_products(name, values, head, ()):
            return name
    return None


def _no_products(
    name: str, values: Sequence[str], head: Sequence[Cells], captions_in: Sequence[str]
) -> str:
    """Why equal values of a column are not one product; "" where they are."""
    filled = [value for value in values if value]
    distinct = len(set(filled))
    if distinct < min(len(filled), max(FEW_PRODUCTS, FEW_SHARE * len(filled))):
        return f"has {distinct:,} different value{'s' * (distinct != 1)} in {len(filled):,} rows"
    are_words = not any(letter.isdigit() for value in set(filled) for letter in value)
    if (
        columns.plain(name) in KINDS
        and are_words
        and len(filled) >= ROWS_OF_A_KIND * distinct
        and _captions_differ(values, head, captions_in)
    ):
        return f"names kinds of goods, {distinct:,} in {len(filled):,} rows"
    return ""


def _captions_differ(
    values: Sequence[str], head: Sequence[Cells], captions_in: Sequence[str]
) -> bool:
    """Whether most rows of one value have captions of their own."""
    texts = [
        (value, *(captions.cell_text(row.get(name)) for name in captions_in))
        for value, row in zip(values, head, strict=True)
        if value
    ]
    return 2 * len(set(texts)) > len(texts)


def _values(head: Sequence[Cells], name: str) -> list[str]:
    return [captions.cell_text(row.get(name)) for row in head]
