"""Which column of a table says what is held out."""

from __future__ import annotations

from collections.abc import Sequence

from unidiff_cli.data import captions, columns
from unidiff_cli.data.doubts import Doubt
from unidiff_cli.data.readers._cells import Cells
from unidiff_cli.data.splits import SPLITS, split_named, split_of

# A column of more values says no split, whatever its name.
MOST_WORDS = 20


def split_column(head: Sequence[Cells], names: Sequence[str], doubts: list[Doubt]) -> str | None:
    """The column that says which rows are held out; None where there is none.

    Values that are not understood make no split of an ambiguous column. Of another one they are
    asked for, row by row, when it is read.
    """
    more = (*columns.SPLIT_FLAGS, *columns.AMBIGUOUS_SPLITS)
    for name in columns.named("split", names, more):
        words = {value for value in _values(head, name) if value}
        understood = [word for word in words if split_of(word, name)]
        is_ambiguous = columns.plain(name) in columns.AMBIGUOUS_SPLITS
        if is_ambiguous and words and len(understood) == len(words):
            return name
        if columns.plain(name) == "fold" and words:
            doubts.append(
                Doubt(
                    f"The column '{name}' says no split that is understood, and is not read.",
                    f"If it does: --set prepare.columns.split={name}, and say what each of its "
                    "words means: --set prepare.split_words.0=test",
                )
            )
        if is_ambiguous or not words:
            continue
        if understood or len(words) <= MOST_WORDS:
            return name
        doubts.append(
            Doubt(
                f"The column '{name}' has {len(words):,} values, so it says no split.",
                f"If it does: --set prepare.columns.split={name}",
            )
        )
    by_words = _column_of_splits(head, names)
    if by_words is None:
        _ask(head, names, doubts)
    return by_words


def _column_of_splits(head: Sequence[Cells], names: Sequence[str]) -> str | None:
    """The column that says train and what is held out, whatever it is called."""
    for name in names:
        words = {value for value in _values(head, name) if value}
        # Whole words only: a toy shop has a train set and a test kit.
        splits = {SPLITS.get(value.lower()) for value in words if len(words) <= MOST_WORDS}
        if "train" in splits and {"val", "test"} & splits:
            return name
    return None


def _ask(head: Sequence[Cells], names: Sequence[str], doubts: list[Doubt]) -> None:
    """Adds a doubt where a column of yes and no may say what is held out, such as is_valid."""
    for name in names:
        words = {value for value in _values(head, name) if value}
        named = split_named(name)
        if len(words) > 1 and named and all(split_of(word, name) for word in words):
            doubts.append(
                Doubt(
                    f"The column '{name}' may say which rows are held out, and is not read.",
                    f"If it does: --set prepare.columns.split={name}. If not: "
                    "--set prepare.columns.split=''",
                    stops=True,
                )
            )


def is_understood(head: Sequence[Cells], name: str, known: Sequence[str]) -> bool:
    """Whether any value of a mapped split column names a split; `known` are the recipe's words."""
    words = [value for value in _values(head, name) if value]
    return not words or any(
        word.lower() in known or split_of(word, name) is not None for word in words
    )


def _values(head: Sequence[Cells], name: str) -> list[str]:
    return [captions.cell_text(row.get(name)) for row in head]
