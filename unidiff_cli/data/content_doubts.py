"""What is doubtful of a catalogue once its images are decoded and its captions counted."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import numpy as np

from unidiff_cli.data import summary
from unidiff_cli.data.caption_fields import unfilled_fields
from unidiff_cli.data.doubts import Doubt
from unidiff_cli.data.duplicates import numbered_alike
from unidiff_cli.data.locations import shown
from unidiff_cli.data.sample import Cause

# What is said of what was not read, and how many are named.
ACTIONS = {
    Cause.LINK: "Copy what they name into the catalogue, or allow them: --follow-links",
    Cause.UNREADABLE: "Nobody knows how many images they hold; make them readable.",
}
NAMED = 5


def content_doubts(contents: summary.Contents) -> list[Doubt]:
    """What is doubtful once the images are decoded and the captions counted."""
    decoded, tokens = contents.decoded, contents.tokens
    doubts = tokens.doubts() if tokens else []
    for cause, action in ACTIONS.items():
        # Nobody knows what such links and folders hold.
        paths = (item.path or item.row for item in decoded.rejected if item.reason.cause is cause)
        if named := list(islice(paths, NAMED)):
            count = len(named) + sum(1 for _ in paths)
            some = ", ".join(named) + (", …" if count > NAMED else "")
            doubts.append(Doubt(f"{count:,} not read, {cause.value}: {some}.", action))
    fields = unfilled_fields(decoded.samples.captions())
    return [*doubts, *fields, *_torn(contents)]


def _torn(contents: summary.Contents) -> Iterator[Doubt]:
    """Products, and groups of equal images, that the catalogue itself puts into several splits."""
    samples, split, grouped = contents.decoded.samples, contents.rows.splits, contents.rows.groups
    products, groups = samples.column("product"), grouped.numbers
    torn_products = _in_several(products, split, np.flatnonzero(products))
    of_products = np.isin(products, products[torn_products]) & (products != 0)
    others = np.flatnonzero(~np.isin(groups, groups[of_products]))
    torn_groups = _in_several(groups, split, others)
    so = "Test knows what train has seen then; the splits are those that the catalogue names."
    if len(torn_products):
        product = samples[int(torn_products[0])].sample.product or ""
        yield Doubt(
            f"{_counted(len(torn_products), 'product')} rows in several splits, such as "
            f"{shown(product)}. {so}",
            "To split by product: --set prepare.columns.split=''",
            stops=True,
        )
    if len(torn_groups):
        group = grouped.name(int(groups[torn_groups[0]]))
        yield Doubt(
            f"{_counted(len(torn_groups), 'group')} equal images in several splits, such as that "
            f"of {shown(group)}. {so}",
            "To keep each in one split: --set prepare.columns.split=''",
        )


def _in_several(values: np.ndarray, splits: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """One of the rows (m,) of each value that lies in several splits, in order.

    It is the first that lies in another split than the first row of its value.
    """
    numbers, first = numbered_alike(values[rows])
    torn = np.flatnonzero(splits[rows] != splits[rows[first]][numbers])
    return rows[torn[numbered_alike(numbers[torn])[1]]]


def _counted(count: int, thing: str) -> str:
    return f"1 {thing} has" if count == 1 else f"{count:,} {thing}s have"
