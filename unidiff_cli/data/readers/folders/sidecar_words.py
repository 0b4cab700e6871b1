"""What one text beside an image says: its captions, and the columns of a .json."""

from __future__ import annotations

from typing import NamedTuple

from unidiff_cli.config.prepare import Limits, Prepare
from unidiff_cli.data import captions
from unidiff_cli.data.columns import ROLES
from unidiff_cli.data.locations import Location, shown
from unidiff_cli.data.readers.folders import json_captions
from unidiff_cli.data.readers.folders.json_captions import Found
from unidiff_cli.data.readers.folders.text_kinds import is_wordless
from unidiff_cli.data.readers.folders.text_look import TextLook
from unidiff_cli.data.readers.folders.text_names import JSON, TAGS
from unidiff_cli.data.readers.rows.cells import Cells, bounded, parse
from unidiff_cli.data.sample import Cause, Reason, unreadable


class Words(NamedTuple):
    """What a text says: captions as they are written, and the other columns of a .json.

    `is_wordless`: it holds numbers, which are no caption.
    """

    captions: list[str]
    cells: Cells
    is_wordless: bool = False


def read(text: Location, look: TextLook, options: Prepare) -> Words | Reason:
    """What a text says, or why it cannot be read."""
    try:
        if text.suffix == JSON:
            cells = cells_of(text, look, options.limits)
            if isinstance(cells, Reason):
                return cells
            found = json_captions.find(cells, options)
            return Words(*found[1:]) if isinstance(found, Found) else Words([], cells)
        data = data_of(text, options.limits)
        if isinstance(data, Reason):
            return data
        words = look.decode(data)
        if text.suffix == TAGS:
            return Words([json_captions.as_tags(words)], {})
        if not options.sidecar and is_wordless(words):
            return Words([], {}, is_wordless=True)
        return Words(look.captions_in(words), {})
    except UnicodeError:
        return _not_utf8(text)
    except ValueError as problem:
        return captions.unreadable_cell(problem)


def _not_utf8(text: Location) -> Reason:
    name = shown(text.name)
    return Reason(f"{name} is not UTF-8; say what it is: --set prepare.encoding=cp1252")


def cells_of(text: Location, look: TextLook, limits: Limits) -> Cells | Reason:
    """The object of a .json file."""
    data, name = data_of(text, limits), shown(text.name)
    if isinstance(data, Reason):
        return data
    try:
        value = parse(look.decode(data))
    except UnicodeError:
        return _not_utf8(text)
    except ValueError as problem:
        return Reason(f"{name} is not JSON: {problem}", Cause.NOT_JSON)
    if not isinstance(value, dict):
        return Reason(f"{name} is a JSON {type(value).__name__}, not an object", Cause.NOT_JSON)
    return bounded(value, limits)


def role_of(cells: Cells, role: str, options: Prepare) -> str | None:
    """An id, product or split of a .json: mapped, or by the column's usual name."""
    mapped = getattr(options.columns, role)
    names = ROLES[role] if mapped is None else [mapped]
    values = (cells.get(name) for name in names)
    texts = (captions.cell_text(value) for value in values if not isinstance(value, dict))
    return next(filter(None, texts), None)


def data_of(text: Location, limits: Limits) -> bytes | Reason:
    """The bytes of a text, or why it is not read."""
    name, most = shown(text.name), limits.text_bytes
    try:
        if text.size > most:
            return Reason(f"{name} is larger than {most:,} bytes (prepare.limits.text_bytes)")
        return text.read(most)
    except (OSError, ValueError) as problem:
        return unreadable(problem, name)
