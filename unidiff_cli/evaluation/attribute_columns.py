"""TODO docstring."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from unidiff_cli.data.captions import same_text

if TYPE_CHECKING:
    pass


FEWEST, MOST, LEAST = 2, 50, 5  # values of an attribute, and images of each value
LONGEST = 40  # characters of a value: what is longer describes


def categories(
    rows: Sequence[Mapping[str, Any]], least: int = LEAST
) -> dict[str, list[str | None]]:
    """Which columns are attributes, and each row's value (None where it has none or a rare one), by column.

    An attribute is text and has 2 to 50 values of 40 characters at most with at least `least` rows each, which make up half
    of the rows: so a colour is one; a title, a description, a price and a file name are none. Values that differ in case
    and blanks only are one, spelled as it is first.
    """
    found = {}
    for name in dict.fromkeys(key for row in rows for key in row):
        cells = [row.get(name) for row in rows]
        texts = [cell.strip() if isinstance(cell, str) else "" for cell in cells]
        spelled: dict[str, str] = {}
        values = [spelled.setdefault(same_text(text), text) if text else None for text in texts]
        counts = Counter(v for v in values if v is not None and len(v) <= LONGEST)
        kept = {v for v, count in counts.items() if count >= least}
        column = [v if v in kept else None for v in values]
        if FEWEST <= len(kept) <= MOST and 2 * sum(v is not None for v in column) >= len(rows):
            found[name] = column
    return found
