"""A .json table row by row: its text is in memory whole, its rows are not. A bad row costs itself.

Read are a list of objects, one inside an object ({"data": [...]}), an object by image as kohya's
scripts write it, objects one a line, pandas' columns, COCO's captions, and rows as `json_layouts`
knows them. Pandas' columns and COCO's captions are in memory whole too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from unidiff_cli.config.prepare import Prepare
from unidiff_cli.data.locations import Location
from unidiff_cli.data.readers.rows import json_layouts as layouts
from unidiff_cli.data.readers.rows.cells import Record, cells_of, not_json
from unidiff_cli.data.readers.rows.json_columns import by_column, is_by_column
from unidiff_cli.data.readers.rows.json_text import JsonText
from unidiff_cli.data.readers.rows.text_stream import text_of
from unidiff_cli.data.sample import Reason
from unidiff_cli.errors import UsageError, WorkError

# The lists of pandas' orient="table": what the columns hold, and the rows.
PANDAS = {"schema.fields", "data"}


def json_rows(file: Location, options: Prepare, notes: Counter[str]) -> Iterator[Record]:
    """The rows of a .json file.

    Raises WorkError where it is none, UsageError where several of its lists may be meant.
    """
    limits = options.limits
    if file.size > limits.json_bytes:
        raise WorkError(
            f"{file} is larger than {limits.json_bytes:,} bytes (prepare.limits.json_bytes).",
            "Save it as JSON lines (.jsonl), which is not read whole.",
        )
    try:
        text = JsonText(text_of(file, options, limits.json_bytes), notes)
        yield from enumerate(_table(file, text, options, notes), 1)
    except ValueError as problem:
        raise WorkError(
            f"{file} is not JSON, or no table: {problem}.", "A table is a list of objects."
        ) from problem


def _table(file: Location, text: JsonText, options: Prepare, notes: Counter[str]) -> Iterator[Any]:
    opening = text.peek()
    wanted = options.table.rows
    if opening != "{":
        text.take("[")
        yield from layouts.understood(_list(text), notes)
        return
    lists = text.lists()
    if wanted is not None:
        if wanted not in lists:
            raise _which(file, f"has no list of objects at '{wanted}'", lists)
        text.place = lists[wanted]
    elif layouts.COCO <= lists.keys():
        yield from layouts.coco(file, *(_at(text, lists[key]) for key in ("annotations", "images")))
        return
    elif PANDAS == lists.keys():
        text.place = lists["data"]
    elif len(lists) > 1:
        raise _which(file, "holds several lists of objects", lists)
    elif lists:
        text.place = next(iter(lists.values()))
    if wanted is not None or lists:
        text.take("[")
        yield from layouts.understood(_list(text), notes)
    elif is_by_column(text.whole()):
        value = text.value()
        yield from [value] if isinstance(value, Reason) else by_column(value)
        text.end()
    elif text.is_lines():
        yield from layouts.understood(_objects(text), notes)
    else:
        text.take("{")
        yield from _by_image(text)


def _which(file: Location, words: str, lists: dict[str, int]) -> UsageError:
    names = ", ".join(lists) or "none"
    first = next(iter(lists), "KEY")
    return UsageError(
        f"{file} {words}: {names}." if lists else f"{file} {words}.",
        f"Name the one whose objects are rows: --set prepare.table.rows={first}",
    )


def _at(text: JsonText, place: int) -> Iterator[Any]:
    text.place = place
    text.take("[")
    yield from _list(text)


def _list(text: JsonText) -> Iterator[Any]:
    """The rest of a list, as rows."""
    if text.peek() == "]":
        text.take("]")
        return
    while True:
        value = text.value()
        yield value if isinstance(value, Reason) else cells_of(value)
        if text.take(",]") == "]":
            break
    text.end()


def _objects(text: JsonText) -> Iterator[Any]:
    """Objects one after another, as JSON lines have them; a broken one ends with its line."""
    while text.peek():
        try:
            value = text.value()
        except ValueError as problem:
            text.next_line()
            yield not_json(problem)
        else:
            yield value if isinstance(value, Reason) else cells_of(value)


def _by_image(text: JsonText) -> Iterator[Any]:
    """The rest of an object whose names are images and whose values are rows, or captions."""
    if text.peek() == "}":
        text.take("}")
        return
    while True:
        image = {"image": text.name()}
        value = text.value()
        if isinstance(value, Reason):
            yield value
        elif isinstance(value, dict):
            yield cells_of(image | value)
        else:
            yield cells_of({**image, "caption": value})
        if text.take(",}") == "}":
            break
    text.end()
