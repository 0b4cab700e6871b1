"""Several tables that are one catalogue: shards, one table a split, one table a folder."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property, partial

from unidiff_cli import registry
from unidiff_cli.config.prepare import Prepare
from unidiff_cli.data.doubts import Doubt
from unidiff_cli.data.locations import InMemory, Location
from unidiff_cli.data.readers import Reader
from unidiff_cli.data.readers.catalogue.survey import survey
from unidiff_cli.data.readers.catalogue.table_choice import choose_tables
from unidiff_cli.data.readers.columns.late_splits import adopt_splits
from unidiff_cli.data.sample import Extent, Rejected, Sample
from unidiff_cli.errors import UsageError

Parts = Sequence[tuple[Location, str | None]]
# Tables that are named to a person.
NAMED = 3


class Tables(Reader):
    """The rows of several tables, one after the other.

    `parts` are the tables, each with the split of its rows that name none, or None.
    """

    def __init__(
        self,
        location: Location,
        options: Prepare,
        parts: Parts = (),
    ) -> None:
        super().__init__(location, options)
        self._parts = parts or _parts_of(location, options)
        self._twice: dict[str, str] = {}
        if not self._parts:
            raise UsageError(
                f"{location} holds no tables that belong together.",
                "Leave prepare.reader out, or name the tables: --set 'prepare.tables=[…]'",
            )

    @classmethod
    def accepts(cls, location: Location) -> bool:
        return len(_parts_of(location, Prepare())) > 1

    @cached_property
    def _readers(self) -> list[Reader]:
        table = registry.load("readers", "table")
        return [table(part, self.options) for part, _ in self._parts]

    def describe(self) -> list[str]:
        first, *others = (reader.describe() for reader in self._readers)
        splits = {split: None for _, split in self._parts if split}
        lines = [f"splits by the tables' names: {', '.join(splits)}"] if splits else []
        return [*lines, *first, *(f"and {lines[0]}" for lines in others[:NAMED])]

    def decisions(self) -> dict[str, str]:
        return self._readers[0].decisions()

    def doubts(self) -> list[Doubt]:
        doubts = [doubt for reader in self._readers for doubt in reader.doubts()]
        if self._twice:
            row = next(iter(self._twice.values()))
            path = self._parts[0][0].relative_to(self.root)
            doubts.append(
                Doubt(
                    f"{len(self._twice):,} images are named by several tables, such as that of "
                    f"{row}.",
                    f"Name the tables that are meant: --set 'prepare.tables=[{path}]'",
                    stops=True,
                )
            )
        return [*super().doubts(), *dict.fromkeys(doubts)]

    def _uses_all(self) -> bool:
        return all(reader._uses_all() for reader in self._readers)

    def __iter__(self) -> Iterator[Sample | Rejected]:
        self._begin_pass()
        # Images that several tables name, and the table that names each first.
        self._twice.clear()
        tables: dict[str, int] = {}
        for number, (reader, (_, split)) in enumerate(zip(self._readers, self._parts, strict=True)):
            folder = reader.location.relative_to(self.root).rpartition("/")[0]
            for item in reader:
                row = f"{folder}/{item.row}" if folder else item.row
                if isinstance(item, Sample):
                    if not isinstance(item.image, InMemory):
                        address = str(item.image)
                        if tables.setdefault(address, number) != number:
                            self._twice[address] = row
                    yield replace(item, row=row, split=item.split or split)
                else:
                    yield replace(item, row=row)
            self.notes.update(reader.notes)
            self.filtered += reader.filtered
        self._count_unnamed(reader.named for reader in self._readers)

    def extent(self) -> Extent:
        extent = self._extent()
        watched = [late for reader in self._readers if (late := reader.late_splits())]
        # Tables of one split each have their own words.
        by_name = any(split for _, split in self._parts)
        together = [[late] for late in watched] if by_name else [watched]
        return self._extent() if any([adopt_splits(lates) for lates in together]) else extent

    def _extent(self) -> Extent:
        if not any(reader.holds_images() for reader in self._readers):
            return super().extent()
        extents = [reader.extent() for reader in self._readers]
        digest = hashlib.sha256(repr([e.digest for e in extents]).encode())
        rows = [extent.rows for extent in extents]
        total = None if None in rows else sum(filter(None, rows))
        return Extent(digest.hexdigest()[:16], total, sum(extent.bytes for extent in extents))


def _parts_of(location: Location, options: Prepare) -> Parts:
    """The tables of a folder that are its catalogue."""
    if not location.is_folder():
        return ()
    table = registry.load("readers", "table")
    return choose_tables(survey(location, options), options, partial(table, options=options)).parts
