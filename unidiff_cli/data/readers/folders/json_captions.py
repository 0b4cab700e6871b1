"""Where the caption of an image's .json stands: at the top, in an object within, or as tags.

Scrapers nest the product (`{"product": {"title": …}}`), and boorus keep tags (`tag_string`). Where
several objects may hold the caption it is not guessed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from unidiff_cli.config.prepare import Prepare
from unidiff_cli.data import captions
from unidiff_cli.data.columns import ROLES
from unidiff_cli.data.readers.rows.cells import Cells

# How deep objects are looked into, and columns of tags, likeliest first.
DEPTH = 2
TAGS = ("tag_string", "tags", "tag_list", "keywords")
# Objects whose name or text is not that of the product.
_OTHERS = re.compile(
    r"(?:brand|user|uploader|author|artist|owner|seller|vendor|shop|store|site|categor(?:y|ies)|"
    r"manufacturer|designer|collection|supplier|merchant|company|color|colour|material|size)s?$",
    re.IGNORECASE,
)
_WORD = re.compile(r"[^\W\d_]")


class Found(NamedTuple):
    """The place of a caption (`product.title`), its captions, and the other columns."""

    place: str
    captions: list[str]
    cells: Cells


def find(cells: Cells, options: Prepare) -> Found | list[str]:
    """The caption of a .json, or the places where several may be; [] where there is none.

    Raises ValueError for a cell that looks like a list and cannot be read.
    """
    mapped = options.columns.names("caption")
    if found := _in_object(cells, mapped or ROLES["caption"]):
        return found
    if mapped:
        return next(filter(None, (_at(cells, place) for place in mapped)), [])
    for name in TAGS:
        if text := as_tags(cells.get(name)):
            return Found(name, [text], {n: cell for n, cell in cells.items() if n != name})
    within = [
        (place, found)
        for place, inner in _objects(cells)
        if (found := _in_object(inner, ROLES["caption"]))
    ]
    if len(within) != 1:
        return [f"{place}.{found.place}" for place, found in within]
    place, found = within[0]
    # What else the object says is of the product too: its number, its brand.
    inner = {name: cell for name, cell in found.cells.items() if not isinstance(cell, dict | list)}
    outer = {name: cell for name, cell in cells.items() if name != place.partition(".")[0]}
    return Found(f"{place}.{found.place}", found.captions, {**inner, **outer})


def as_tags(value: Any) -> str:
    """Tags as one caption, whether they are a list, lists by kind, or words with blanks between."""
    if isinstance(value, dict):
        return ", ".join(filter(None, map(as_tags, value.values())))
    if isinstance(value, list):
        return ", ".join(item.replace("_", " ") for item in value if isinstance(item, str) and item)
    if not isinstance(value, str) or not _WORD.search(value):
        return ""
    lines = [line.strip().rstrip(",") for line in value.splitlines() if line.strip()]
    text = ", ".join(lines)
    if "," in text:
        return text
    is_words = "_" in text
    return ", ".join(tag.replace("_", " ") for tag in text.split()) if is_words else text


def _in_object(cells: Cells, names: tuple[str, ...] | list[str]) -> Found | None:
    """The caption that an object itself holds."""
    for name in names:
        cell = cells.get(name)
        if isinstance(cell, dict) or not cell:
            continue
        if not isinstance(cell, list) or all(isinstance(item, str) for item in cell):
            texts = [text for text in captions.cell_captions(cell) if text]
            if texts:
                return Found(name, texts, {n: c for n, c in cells.items() if n != name})
    return None


def _at(cells: Cells, place: str) -> Found | None:
    """The caption at a place that the recipe names, such as product.title."""
    *parents, name = place.split(".")
    inner: Any = cells
    for parent in parents:
        inner = _single(inner.get(parent)) if isinstance(inner, dict) else None
    found = _in_object(inner, [name]) if isinstance(inner, dict) else None
    return Found(place, found.captions, cells) if found else None


def _objects(cells: Cells, depth: int = DEPTH) -> Iterator[tuple[str, Cells]]:
    """The objects within an object and their places, without those of brands and the like."""
    for name, cell in cells.items():
        inner = _single(cell)
        if isinstance(inner, dict) and not _OTHERS.search(name):
            yield name, inner
            if depth > 1:
                yield from ((f"{name}.{place}", c) for place, c in _objects(inner, depth - 1))


def _single(cell: Any) -> Any:
    """An object, also where it is the only one of a list."""
    return cell[0] if isinstance(cell, list) and len(cell) == 1 else cell
