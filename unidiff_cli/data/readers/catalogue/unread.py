"""What of a folder looks like its source of captions and is not read: named, never passed over."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from unidiff_cli.data.doubts import Doubt
from unidiff_cli.data.locations import Location, shown
from unidiff_cli.data.readers.catalogue.survey import Sources
from unidiff_cli.data.readers.catalogue.table_choice import Tables

NAMED = 5
RENAME = "If it is a table, save it as .csv, .jsonl or .parquet; else move it out of the catalogue."
LISTS = (
    "If they hold captions or splits, make a table of them with a first line such as "
    "image,caption,split; else move them out of the catalogue."
)
MOVE = "Move it out of the catalogue, or name what is meant: --set 'prepare.tables=[…]'"


def doubts(sources: Sources, tables: Tables, uses_tars: bool) -> Iterator[Doubt]:
    """What is not read.

    It stops where the images would get their folders' names for captions instead.
    """
    uses_folder = not tables.parts and not uses_tars
    stops = uses_folder and not sources.sidecars
    if tables.unread:
        yield Doubt(f"Tables that are not read: {_listed(tables.unread)}.", MOVE, stops)
    if sources.lookalikes:
        names = _paths(sources, sources.lookalikes)
        yield Doubt(
            f"{names}: a table by its name, with an ending that is not read.", RENAME, stops
        )
    if sources.lists:
        names = _paths(sources, sources.lists)
        way_out = f"{LISTS} Or read the folder without them: --set prepare.reader=folder"
        action = way_out if stops else LISTS
        yield Doubt(f"Texts whose lines name images are not read: {names}.", action, stops)
    if sources.packed:
        yield Doubt(
            f"{_paths(sources, sources.packed)}: packed in a way that is not read.",
            "If it is a table, unpack it; else move it out of the catalogue.",
            stops,
        )
    if sources.tars and not uses_tars:
        yield Doubt(f"Tars that are not read: {_paths(sources, sources.tars)}.", MOVE, stops)
    if sources.zips and not tables.parts:
        action = "Unpack each beside, or give one itself: unidiff prepare FILE.zip"
        yield Doubt(f"Zips that are not read: {_paths(sources, sources.zips)}.", action, stops)
    if sources.sidecars and not uses_folder:
        yield Doubt(
            f"{sources.sidecars:,} texts beside images are not read.",
            "They are, without the tables and tars, with: --set prepare.reader=folder",
        )


def _paths(sources: Sources, files: Iterable[Location]) -> str:
    return _listed(map(sources.path, files))


def _listed(paths: Iterable[str]) -> str:
    names = [shown(path) for path in paths]
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED:,} more" if names[NAMED:] else "")
