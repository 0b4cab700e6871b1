"""Which column of a table says what is held out, by its name and by all its words."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from enum import Enum

from unidiff_cli.data import captions, columns
from unidiff_cli.data.doubts import Doubt
from unidiff_cli.data.readers.rows.cells import Cells
from unidiff_cli.data.split_words import (
    folded,
    is_answer,
    names_several,
    setting,
    split_named,
    split_of,
    whole_split,
)

# A column of more values says no split, whatever its name.
MOST_WORDS = 20
# So few values of a column called `dataset` may be its splits.
FEW = 4


class Says(Enum):
    """What a column says of splits."""

    NOTHING = "no split"
    # Its rows are in its splits; words that are not understood are asked for when they are read.
    SPLIT = "the split of each row"
    # It may say so, and a person must.
    ASKED = "perhaps the split of each row"
    FOLDS = "folds, which are no held-out rows yet"
    MANY = "too many words for splits"


def _key(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", folded(columns.plain(name)))


_CLEAR = {_key(name): n for n, name in enumerate((*columns.ROLES["split"], *columns.SPLIT_FLAGS))}
_ASKED = frozenset(map(_key, columns.ASKED_SPLITS))
_AMBIGUOUS = frozenset(map(_key, columns.AMBIGUOUS_SPLITS)) | _ASKED


def split_column(
    words: Mapping[str, Counter[str]], known: Mapping[str, str], doubts: list[Doubt]
) -> str | None:
    """The column that says which rows are held out; None where there is none.

    `words` are the values of each column and how many rows have them; `known` are words that the
    recipe explains. Adds what is doubtful.
    """
    says = {name: what_it_says(name, counted, known) for name, counted in words.items()}
    for name in sorted(says, key=_rank):
        if says[name] is Says.SPLIT:
            return name
        if says[name] in (Says.FOLDS, Says.MANY):
            doubts.append(_no_split(name, says[name], len(words[name])))
    doubts += [may_be_split(name) for name in says if says[name] is Says.ASKED]
    return None


def what_it_says(name: str, words: Mapping[str, int], known: Mapping[str, str]) -> Says:
    """What a column says, by its name and the rows of each of its words."""
    if not words:
        return Says.NOTHING
    understood = _understood(words, known, lambda word: split_of(word, name))
    is_few, key = len(words) <= MOST_WORDS, _key(name)
    if key in _CLEAR or names_several(name):
        return Says.SPLIT if understood or is_few else Says.MANY
    if key in _AMBIGUOUS:
        if len(understood) == len(words) or (is_few and _is_mostly(understood, words)):
            return Says.SPLIT
        # Of yes and no the column says something else: `conjunto` is an outfit too.
        if key in _ASKED and 1 < len(words) <= FEW and not any(map(is_answer, words)):
            return Says.SPLIT
    elif is_few:
        # Whole words only: a toy shop has a train set and a test kit. The recipe's 0 and 1 are
        # those of another column.
        whole = _understood(words, {}, whole_split)
        splits = set(whole.values())
        if len(splits) > 1 and ("train" in splits or len(whole) < len(words)):
            return Says.SPLIT
        is_whole = len(understood) == len(words) <= FEW
        if is_whole and len(set(understood.values())) > 1:
            return Says.ASKED
    if len(words) > 1 and split_named(name) and len(understood) == len(words):
        return Says.ASKED
    return Says.FOLDS if key == "fold" else Says.NOTHING


def words_of(rows: Sequence[Cells], name: str) -> Counter[str]:
    """The values of a column and how many rows have them."""
    return Counter(filter(None, (captions.cell_text(row.get(name)) for row in rows)))


def may_be_split(name: str) -> Doubt:
    """A doubt about a column that may say what is held out, such as is_valid."""
    return Doubt(
        f"The column '{name}' may say which rows are held out, and is not read.",
        f"If it does: --set prepare.columns.split={name}. If not: --set prepare.columns.split=''",
        stops=True,
    )


def is_understood(head: Sequence[Cells], name: str, known: Mapping[str, str]) -> bool:
    """Whether any value of a mapped split column names a split; `known` are the recipe's words."""
    words = words_of(head, name)
    return not words or bool(_understood(words, known, lambda word: split_of(word, name)))


def _understood(
    words: Mapping[str, int], known: Mapping[str, str], meaning: Callable[[str], str | None]
) -> dict[str, str]:
    """The words that are understood, and the split of each."""
    found = {word: known.get(word.strip().lower()) or meaning(word) for word in words}
    return {word: split for word, split in found.items() if split}


def _is_mostly(understood: Mapping[str, str], words: Mapping[str, int]) -> bool:
    """Whether the words that are understood name several splits, or most rows."""
    rows = sum(words[word] for word in understood)
    return len(set(understood.values())) > 1 or 2 * rows > sum(words.values())


def _no_split(name: str, says: Says, count: int) -> Doubt:
    action = f"If it does: --set prepare.columns.split={name}"
    if says is Says.MANY:
        return Doubt(f"The column '{name}' has {count:,} values, so it says no split.", action)
    return Doubt(
        f"The column '{name}' says no split that is understood, and is not read.",
        f"{action}, and say what each of its words means: {setting('0', 'test')}",
    )


def _rank(name: str) -> int:
    """Clear names first, then ambiguous ones, then any other."""
    key = _key(name)
    return _CLEAR.get(key, len(_CLEAR) + (key not in _AMBIGUOUS))
