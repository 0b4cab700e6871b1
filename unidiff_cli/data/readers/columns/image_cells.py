"""What a cell of a table says about images: bytes, or the names of one or several files."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from unidiff_cli.data import captions, columns
from unidiff_cli.data.sample import FOREIGN_SUFFIXES, IMAGE_SUFFIXES

# What stands between several images of one cell. A blank does where every word is a file.
SEPARATORS = ("\n", "|", ";", ",", " ")
# Where an object has an image's name, likeliest first.
KEYS = """
    path file_name filename file name src source url href link image image_url original
    large_image large hi_res full data
""".split()
# Where an object says what its image is for.
ROLES = ("role", "type", "kind")
# Words of small copies, and of what is no photo.
SMALL = frozenset(
    "thumb thumbs thumbnail thumbnails small tiny icon icons preview low lowres mini".split()
)
NO_PHOTO = frozenset(
    "mask masks segmentation depth conditioning control canny pose edges matte swatch".split()
)
# Characters; a longer cell is a text.
LONGEST = 100_000
ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://|data:|//[^/]+/", re.IGNORECASE)
_DRIVE = re.compile(r"[a-zA-Z]:[\\/]")
# Where the next address of a cell begins; a comma may stand inside one.
_NEXT_ADDRESS = re.compile(r"[\s,;|]+(?=https?://)", re.IGNORECASE)
# What importers of shops write behind a name: a.jpg ! alt : a red dress ! title : x
_WORDS_OF_IMAGE = re.compile(r"\s!\s*(?:alt|title|desc|caption)\s*:[^|]*", re.IGNORECASE)
_WHOLE = re.compile(r"\d+\.0")

# The name of a file, or the bytes of an image.
Image = str | bytes


def images_of(cell: Any) -> list[Image]:
    """The images of a cell, in its order: bytes where it holds them, else names as written.

    Several names stand in a list, in JSON, or between commas, semicolons, bars, line breaks or
    blanks.
    Small copies and masks, by the names that objects give them, count where nothing else is there.
    """
    images = list(dict.fromkeys(_images(cell, 0, all_roles=False)))
    if images or not isinstance(cell, dict | list | tuple | str):
        return images
    return list(dict.fromkeys(_images(cell, 0, all_roles=True)))


def _images(cell: Any, depth: int, all_roles: bool) -> Iterator[Image]:
    if isinstance(cell, bytes | bytearray):
        yield bytes(cell)
    elif isinstance(cell, dict):
        yield from _of_object(cell, depth, all_roles)
    elif isinstance(cell, list | tuple):
        for item in cell if depth < 4 else ():
            yield from _images(item, depth + 1, all_roles)
    elif isinstance(cell, str):
        value = _parsed(cell) if depth < 4 else None
        if value is None:
            yield from _names(cell)
        else:
            yield from _images(value, depth + 1, all_roles)
    elif name := _number(cell):
        yield name


def _of_object(cell: dict[str, Any], depth: int, all_roles: bool) -> Iterator[Image]:
    """An object holds one image; some sets have lists of them by their sizes or names."""
    if isinstance(data := cell.get("bytes"), bytes | bytearray):
        yield bytes(data)
        return
    by_name = {str(key).lower(): value for key, value in cell.items()}
    if not all_roles and any(_is_no_photo(by_name.get(role)) for role in ROLES):
        return
    for key in KEYS:
        if by_name.get(key):
            yield from _images(by_name[key], depth + 1, all_roles)
            return
    if depth == 0:
        for key, value in cell.items():
            if all_roles or not _is_no_photo(key):
                yield from _images(value, depth + 1, all_roles)


def _is_no_photo(name: Any) -> bool:
    """Whether a name or a role says that an image is a small copy, a mask or the like."""
    return isinstance(name, str) and bool((SMALL | NO_PHOTO) & set(columns.words(name)))


def _parsed(text: str) -> Any:
    """A list or an object that a cell holds as JSON, or as Python writes it; None for neither."""
    start = text.strip()[:1]
    if start not in ("[", "{") or len(text) > LONGEST:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        value = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    return value if isinstance(value, list | tuple | dict) else None


def _names(text: str) -> Iterator[str]:
    """The names of a cell; it is split only where every part is an image's name."""
    if "!" in text:
        text = _WORDS_OF_IMAGE.sub(" ", text).rstrip()
    if not text.strip():
        return
    if is_address(text) and len(addresses := _NEXT_ADDRESS.split(text.strip())) > 1:
        yield from (captions.well_formed(address.rstrip(",;| \n")) for address in addresses)
        return
    for separator in SEPARATORS if len(text) <= LONGEST else ():
        parts = [part.strip() for part in text.split(separator)]
        parts = [part for part in parts if part]
        if separator in text.strip() and parts and all(map(is_image_name, parts)):
            for part in parts:
                yield from _names(part)
            return
    yield captions.well_formed(text[:-2] if _WHOLE.fullmatch(text) else text)


def _number(cell: Any) -> str:
    """A number as the name of a file: pandas makes 15970.0 of 15970."""
    if isinstance(cell, bool) or cell is None or cell != cell:
        return ""
    text = captions.cell_text(cell)
    return text[:-2] if _WHOLE.fullmatch(text) else text


def is_image_name(name: str) -> bool:
    """Whether a name ends as files of images do."""
    return suffix_of(name) in IMAGE_SUFFIXES | FOREIGN_SUFFIXES


def suffix_of(name: str) -> str:
    """The ending of a name in lower case, without what an address asks for."""
    path = urlsplit_path(name) if is_address(name) else _without_query(name)
    return PurePosixPath(path.replace("\\", "/").strip()).suffix.lower()


def is_address(name: str) -> bool:
    """Whether a name is a web address."""
    return bool(ADDRESS.match(name.strip()))


def is_absolute(name: str) -> bool:
    """Whether a name starts at the top of a disk, here or on Windows."""
    return name.lstrip().startswith(("/", "\\")) or bool(_DRIVE.match(name.lstrip()))


def urlsplit_path(address: str) -> str:
    """The path of an address, decoded, without `?v=…`; "" where it has none."""
    try:
        return unquote(urlsplit(address.strip()).path)
    except ValueError:
        return ""


def _without_query(name: str) -> str:
    """A name without `?v=…` behind the ending of an image."""
    before = name.partition("?")[0]
    is_image = PurePosixPath(before.strip()).suffix.lower() in IMAGE_SUFFIXES | FOREIGN_SUFFIXES
    return before if is_image else name


def parts_of(name: str) -> tuple[str, ...]:
    """A name as the parts of a path: no drive, no host, no dots. Empty where it leads out."""
    relative = _without_query(name).strip().replace("\\", "/")
    path = urlsplit_path(name) if is_address(name) else relative
    path = re.sub(r"^[a-zA-Z]:/", "", path) if not is_address(name) else path
    parts: list[str] = []
    for part in path.split("/"):
        if part == ".." and not parts:
            return ()
        if part == "..":
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return tuple(parts)
