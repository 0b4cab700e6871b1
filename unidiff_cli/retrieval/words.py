"""Full text: the images whose captions and short attributes hold a rare word of a query.

Names and SKUs are words that no model knows, and SQLite's FTS5 finds them. It has one document for
each image: its captions, its product, and its attributes of text. A word that many images have, as
"red" or "dress", is left to the model, which knows what it looks like.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

from unidiff_cli.data.attributes import MAX_LENGTH
from unidiff_cli.data.captions import cell_text
from unidiff_cli.data.shards import Row
from unidiff_cli.errors import Damaged, EnvironmentProblem, nearest
from unidiff_cli.system import first_line

FILE = "words.sqlite"
# Words of a query that are looked up: no text tower reads more.
MOST = 64
# The most products that hold a word that is rare: this share of all, within two bounds.
SHARE, FEW, MANY = 0.05, 10, 1_000
# Images of those products that are looked at, for each.
IMAGES_EACH = 20
# Letters of a word that is reported missing, so that "a", "for" and "mit" are not.
LEAST = 4
_WORD = re.compile(r"[^\W_]+")


class Matches(NamedTuple):
    """The rows (M,) that hold a rare word of a query, best first.

    `scores` (M,) add the words' inverse document frequencies, ln(1 + images / those with the word),
    so that rows that hold the same words are equal.
    """

    rows: np.ndarray
    scores: np.ndarray


def write_words(folder: Path, rows: Sequence[Row]) -> None:
    """Writes the words of all rows. Raises EnvironmentProblem for a SQLite without FTS5."""
    documents = ((number, _document(row)) for number, row in enumerate(rows))
    with closing(sqlite3.connect(folder / FILE)) as database:
        try:
            database.execute(
                "CREATE VIRTUAL TABLE words USING fts5(text, content='', "
                "tokenize='unicode61 remove_diacritics 2')"
            )
        except sqlite3.OperationalError as problem:
            # What SQLite says of a statement, and not of the disk.
            if problem.sqlite_errorcode != sqlite3.SQLITE_ERROR:
                raise
            raise EnvironmentProblem(
                f"Python's SQLite cannot search full text: {first_line(problem)}.",
                "Take a Python whose SQLite has FTS5, as Debian's and python.org's have.",
            ) from problem
        database.executemany("INSERT INTO words(rowid, text) VALUES (?, ?)", documents)
        database.execute("INSERT INTO words(words) VALUES ('optimize')")
        database.commit()


def _document(row: Row) -> str:
    """What is searched of a row. A long attribute is a description of much else than the image."""
    texts = [cell_text(v) for v in row.attributes.values() if isinstance(v, str | list)]
    return "\n".join([*row.captions, row.group, *(t for t in texts if len(t) <= MAX_LENGTH)])


def words_of(text: str) -> list[str]:
    """The different words of a text, at most 64."""
    return list(dict.fromkeys(_WORD.findall(text.casefold())))[:MOST]


class Words:
    """The words of a catalogue, opened for reading. Threads may share one."""

    def __init__(self, database: sqlite3.Connection, file: Path) -> None:
        self._database, self._file = database, file

    @classmethod
    def open(cls, folder: Path) -> Words:
        """The words that `write_words` wrote. Raises Damaged for any other file."""
        file = folder / FILE
        words = cls(_open(file), file)
        with words._reading():
            words._database.execute("SELECT rowid FROM words LIMIT 1")
        return words

    def search(self, text: str, groups: np.ndarray, allowed: np.ndarray | None = None) -> Matches:
        """The rows that hold a rare word of a text, best first; equal ones in their order.

        `groups` (N,) are equal for the images of a product. Only rows that `allowed` (N,), bool,
        lets through are found.
        """
        found = self.rare(text, groups).values()
        pairs = [(rows, np.full(len(rows), np.log1p(len(groups) / len(rows)))) for rows in found]
        rows, places = np.unique(
            np.concatenate([np.zeros(0, np.int64), *(rows for rows, _ in pairs)]),
            return_inverse=True,
        )
        weights = np.concatenate([np.zeros(0), *(weights for _, weights in pairs)])
        scores = np.bincount(places, weights, len(rows))
        if allowed is not None:
            rows, scores = rows[allowed[rows]], scores[allowed[rows]]
        order = np.lexsort([rows, -scores])
        return Matches(rows[order], scores[order])

    def rare(self, text: str, groups: np.ndarray) -> dict[str, np.ndarray]:
        """The rows (M,) of each word of a text that a few products hold, and no more."""
        # The codes of products are counted on from 0.
        most = min(max(FEW, int(SHARE * (groups.max(initial=-1) + 1))), MANY)
        found = {}
        for word in words_of(text):
            rows = self._rows(word, most * IMAGES_EACH + 1)
            if 0 < len(rows) <= most * IMAGES_EACH and len(np.unique(groups[rows])) <= most:
                found[word] = rows
        return found

    def missing(self, text: str) -> list[str]:
        """The words of a text that no row holds, in whole sentences that name the nearest.

        Only words of four letters or more, of alphabets that have capitals: others do not always
        stand between blanks.
        """
        longer = [w for w in words_of(text) if len(w) >= LEAST and w.upper() != w]
        return [
            f"No caption and no attribute has the word '{word}'.{nearest(word, self._like(word))}"
            for word in longer
            if not len(self._rows(word, 1))
        ]

    def _rows(self, word: str, most: int) -> np.ndarray:
        """The first rows that hold a word, at most so many."""
        with self._reading():
            found = self._database.execute(
                "SELECT rowid FROM words WHERE words MATCH ? LIMIT ?", [_quoted(word), most]
            )
            return np.array([row for (row,) in found], np.int64)

    def _like(self, word: str) -> list[str]:
        """The catalogue's words that begin with the same letter."""
        with self._reading():
            self._database.execute(
                "CREATE VIRTUAL TABLE IF NOT EXISTS temp.vocabulary "
                "USING fts5vocab(main, words, row)"
            )
            found = self._database.execute(
                "SELECT term FROM temp.vocabulary WHERE term >= ? AND term < ?",
                [word[0], chr(ord(word[0]) + 1)],
            )
            return [term for (term,) in found]

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as problem:
            raise _damaged(self._file, problem) from problem


def _open(file: Path) -> sqlite3.Connection:
    try:
        return sqlite3.connect(
            f"{file.absolute().as_uri()}?mode=ro&immutable=1", uri=True, check_same_thread=False
        )
    except sqlite3.Error as problem:
        raise _damaged(file, problem) from problem


def _damaged(file: Path, problem: Exception) -> Damaged:
    return Damaged(
        f"{file} is not what was written: {first_line(problem)}.", "Run: unidiff index --force"
    )


def _quoted(word: str) -> str:
    return f'"{word}"'
