"""What is doubtful of a catalogue once its images are decoded and its captions counted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from unidiff_cli.data import summary
from unidiff_cli.data.caption_fields import unfilled_fields
from unidiff_cli.data.doubts import Doubt
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
        paths = [item.path or item.row for item in decoded.rejected if item.reason.cause is cause]
        if paths:
            named = ", ".join(paths[:NAMED]) + (", …" if len(paths) > NAMED else "")
            doubts.append(Doubt(f"{len(paths):,} not read, {cause.value}: {named}.", action))
    fields = unfilled_fields([row.captions for row in contents.rows])
    return [*doubts, *fields, *_torn(contents)]


def _torn(contents: summary.Contents) -> Iterator[Doubt]:
    """Products, and groups of equal images, that the catalogue itself puts into several splits."""
    pairs = list(zip(contents.rows, contents.decoded.samples, strict=True))
    products = _in_several((s.sample.product, row.split) for row, s in pairs)
    of_products = {row.group for row, s in pairs if s.sample.product in products}
    groups = _in_several((row.group, row.split) for row, _ in pairs)
    groups = {name: None for name in groups if name not in of_products}
    so = "Test knows what train has seen then; the splits are those that the catalogue names."
    if products:
        yield Doubt(
            f"{_counted(len(products), 'product')} rows in several splits, such as "
            f"{shown(next(iter(products)))}. {so}",
            "To split by product: --set prepare.columns.split=''",
            stops=True,
        )
    if groups:
        yield Doubt(
            f"{_counted(len(groups), 'group')} equal images in several splits, such as that of "
            f"{shown(next(iter(groups)))}. {so}",
            "To keep each in one split: --set prepare.columns.split=''",
        )


def _in_several(pairs: Iterable[tuple[str | None, str]]) -> dict[str, None]:
    """The names that lie in several splits, in order."""
    first: dict[str, str] = {}
    return dict.fromkeys(
        name for name, split in pairs if name and first.setdefault(name, split) != split
    )


def _counted(count: int, thing: str) -> str:
    return f"1 {thing} has" if count == 1 else f"{count:,} {thing}s have"
