"""An export of a shop system: the columns it is known by, and its rows as images of products."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from unidiff_cli.data import captions, columns
from unidiff_cli.data.readers.rows.cells import Cells, Record
from unidiff_cli.data.sample import Reason

Read = Callable[[], Iterator[Record]]


@dataclass(frozen=True)
class FeedRow:
    """A row of a feed with the product it belongs to; a variant needs no image of its own."""

    number: int
    cells: Cells | Reason
    product: str = ""
    is_variant: bool = False


class Feed:
    """An export of a shop system. Names of columns are compared as `columns.plain` has them.

    `captions` are the columns of its words, of which the first that is filled is the caption;
    `images` those of its images, the main one first. None: found as in any table.
    """

    title: ClassVar[str] = ""
    # Each a choice of columns of which one must be there.
    needs: ClassVar[tuple[tuple[str, ...], ...]] = ()
    captions: ClassVar[tuple[str, ...]] = ()
    images: ClassVar[tuple[str, ...]] = ()
    ids: ClassVar[tuple[str, ...]] = ()
    # Its columns in other languages, to the English ones; all as `columns.plain` has them.
    translations: ClassVar[dict[str, str]] = {}
    # What makes rows one product, for a person.
    grouped_by: ClassVar[str] = ""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = {self._english(name): name for name in reversed(names)}
        self._names |= {columns.plain(name): name for name in reversed(names)}

    @classmethod
    def matches(cls, names: Sequence[str]) -> bool:
        """Whether a table with these columns is such an export."""
        known = {cls._english(name) for name in names}
        return all(known & set(choice) for choice in cls.needs)

    @classmethod
    def _english(cls, name: str) -> str:
        plain = columns.plain(name)
        return cls.translations.get(plain, plain)

    def columns(self, plain_names: Sequence[str]) -> list[str]:
        """The table's columns of these plain names that it has."""
        return [self._names[name] for name in plain_names if name in self._names]

    def rows(self, read: Read) -> Iterator[FeedRow]:
        """The rows as images of products; `read` gives the table's rows, as often as needed."""
        self._survey(read)
        for number, cells in read():
            if isinstance(cells, Reason):
                yield FeedRow(number, cells)
            elif (row := self._row(number, cells)) is not None:
                yield row

    def _survey(self, read: Read) -> None:
        """Reads what of the table must be known before its first row."""

    def _row(self, number: int, cells: Cells) -> FeedRow | None:
        raise NotImplementedError

    def _value(self, cells: Cells, *plain_names: str) -> str:
        """The first filled cell of these columns, as text."""
        values = (captions.cell_text(cells.get(self._names.get(name, ""))) for name in plain_names)
        return next(filter(None, values), "")
