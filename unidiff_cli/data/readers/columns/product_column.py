"""Which column of a table says what is one product: by its name, and by how its values repeat."""

from __future__ import annotations

from collections.abc import Sequence

from unidiff_cli.data import captions, columns
from unidiff_cli.data.doubts import Doubt
from unidiff_cli.data.readers.columns.product_codes import is_code, repeating
from unidiff_cli.data.readers.rows.cells import Cells

# A product column has at least so many values, by number and by share of the rows.
FEW_PRODUCTS, FEW_SHARE = 3, 0.05
# Names under which some tables have a kind of goods, and rows a kind that then has.
KINDS = ("product", "parent", "handle", "style", "itemgroup", "spu")
ROWS_OF_A_KIND = 4
# The share of values that makes a column one of codes.
MOST = 0.8


def product_column(
    head: Sequence[Cells],
    names: Sequence[str],
    captions_in: Sequence[str],
    images: Sequence[str],
    doubts: list[Doubt],
) -> str | None:
    """The column whose equal values are one product; None where there is none.

    It is one of the usual names whose values repeat, else an id that repeats, else one of the
    usual names. Adds what is doubtful; `images` are the columns of images.
    """
    known: dict[str, list[str]] = {}
    for name in columns.named("product", names, columns.LIKELY_PRODUCTS):
        values = _values(head, name)
        if not any(values):
            continue
        if why := _no_products(name, values, head, captions_in):
            doubts.append(
                Doubt(
                    f"The column '{name}' {why}, so it groups no products.",
                    f"If it does: --set prepare.columns.product={name}",
                )
            )
        else:
            known[name] = values
    grouping = [
        name
        for name, values in known.items()
        if _repeats(values) or (columns.is_parent(name) and referred(head, name, names))
    ]
    if grouping:
        best = min(
            grouping, key=lambda name: (not columns.is_parent(name), not _codes(known[name]))
        )
        doubts += _torn(best, {name: known[name] for name in grouping})
        doubts += _perhaps_kinds(best, known[best], head, captions_in)
        return best
    for name in columns.named("id", names):
        values = _values(head, name)
        # An id that is used once groups nothing.
        if _repeats(values) and not _no_products(name, values, head, ()):
            return name
    free = [name for name in names if name not in (*captions_in, *known)]
    doubts += repeating(head, free, captions_in, images)
    return next(iter(known), None)


def products(head: Sequence[Cells], names: Sequence[str]) -> list[str]:
    """The product of each row by the usual names, of those that repeat the coarsest; or nothing."""
    named = columns.named("product", names, columns.LIKELY_PRODUCTS) + columns.named("id", names)
    found = [values for values in (_values(head, name) for name in named) if _repeats(values)]
    return min(found, key=lambda values: len(set(values)), default=[])


def referred(head: Sequence[Cells], parent: str, names: Sequence[str]) -> str | None:
    """The column that a parent column names products by, such as the SKU; None: not there."""
    wanted = set(_values(head, parent)) - {""}
    ids = columns.named("id", names)
    found: dict[str, int] = {}
    for name in dict.fromkeys([*ids, *names]):
        filled = list(filter(None, _values(head, name)))
        shared = len(wanted & set(filled))
        # Numbers of a stock are those of parents by chance.
        is_key = len(set(filled)) >= MOST * len(filled) and 2 * shared >= len(wanted)
        if name != parent and shared and (name in ids or is_key):
            found[name] = shared
    return max(found, key=lambda name: found[name], default=None)


def _perhaps_kinds(
    name: str, values: Sequence[str], head: Sequence[Cells], captions_in: Sequence[str]
) -> list[Doubt]:
    """A doubt where a column `style` has words, which may be those of products or of kinds."""
    if columns.plain(name) != "style" or not _are_words(values):
        return []
    if not _captions_differ(values, head, captions_in):
        return []
    return [
        Doubt(
            f"The column '{name}' groups rows whose captions differ: its words may be products or "
            "kinds of goods. It is read as products.",
            f"If it is: --set prepare.columns.product={name}. If not: "
            "--set prepare.columns.product=''",
            stops=True,
        )
    ]


def _are_words(values: Sequence[str]) -> bool:
    return not any(letter.isdigit() for value in set(values) for letter in value)


def _torn(best: str, grouping: dict[str, list[str]]) -> list[Doubt]:
    """Doubts where equal values of another column lie in several products of the best one."""
    chosen = grouping[best]
    doubts = []
    for name, values in grouping.items():
        pairs = {(v, c) for v, c in zip(values, chosen, strict=True) if v and c}
        if len(pairs) > len({value for value, _ in pairs}):
            doubts.append(
                Doubt(
                    f"Rows are grouped by '{best}', {len(set(chosen) - {''}):,} products; "
                    f"'{name}' groups them otherwise, {len(set(values) - {''}):,}.",
                    f"If that says the products: --set prepare.columns.product={name}",
                )
            )
    return doubts


def _repeats(values: Sequence[str]) -> bool:
    filled = [value for value in values if value]
    return len(set(filled)) < len(filled)


def _codes(values: Sequence[str]) -> bool:
    distinct = set(values) - {""}
    return sum(map(is_code, distinct)) >= MOST * len(distinct)


def _no_products(
    name: str, values: Sequence[str], head: Sequence[Cells], captions_in: Sequence[str]
) -> str:
    """Why equal values of a column are not one product; "" where they are."""
    filled = [value for value in values if value]
    distinct = len(set(filled))
    if distinct < min(len(filled), max(FEW_PRODUCTS, FEW_SHARE * len(filled))):
        return f"has {distinct:,} different value{'s' * (distinct != 1)} in {len(filled):,} rows"
    if (
        columns.plain(name) in KINDS
        and _are_words(filled)
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
