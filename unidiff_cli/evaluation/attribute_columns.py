"""Attribute columns: which columns of a catalogue hold values that a model can be tested on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from unidiff_cli.data.captions import same_text

# Values that an attribute may have, and rows that each of them needs.
MIN_VALUES, MAX_VALUES, MIN_ROWS = 2, 50, 5
# Characters of a value; a longer one is a description.
MAX_LENGTH = 40


def categories(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[str | None]]:
    """The attribute columns among the rows' cells: each row's value, None for none or a rare one.

    An attribute is text and has 2 to 50 values of at most 40 characters with at least 5 rows each,
    which make up half of the rows. So a colour is one; a title, a description, a price and a file
    name are none. Values that differ only in case and blanks are one, spelled as the first.
    """
    columns: dict[str, list[str | None]] = {}
    for name in dict.fromkeys(key for row in rows for key in row):
        cells = [row.get(name) for row in rows]
        texts = [cell.strip() if isinstance(cell, str) else "" for cell in cells]
        spellings: dict[str, str] = {}
        values = [spellings.setdefault(same_text(text), text) if text else None for text in texts]
        counts = Counter(v for v in values if v is not None and len(v) <= MAX_LENGTH)
        frequent = {v for v, count in counts.items() if count >= MIN_ROWS}
        column = [v if v in frequent else None for v in values]
        enough = 2 * sum(v is not None for v in column) >= len(rows)
        if MIN_VALUES <= len(frequent) <= MAX_VALUES and enough:
            columns[name] = column
    return columns
