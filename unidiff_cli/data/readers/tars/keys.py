"""How members of a tar make samples: the key of a name, and which images of a key are products.

The key ends at the first dot of a name, as webdataset has it. Names such as `img.v1.2.001.jpg` have
one key then, which holds many samples; `prepare.tar_keys: last` ends it at the last dot.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from typing import Literal

from unidiff_cli.data.readers.folders.companion_names import FOLDERS
from unidiff_cli.data.sample import IMAGE_SUFFIXES

Dot = Literal["first", "last"]
# Endings, in lower case and with their dot -> data, of one key.
Parts = dict[str, bytes]
TEXTS = (".txt", ".caption", ".text")
CLASS = ".cls"
# Characters of the name of a class.
LONGEST = 100
# Samples with texts of their own that a key of views may hold; more are samples of a catalogue.
VIEWS = 10
# What an image is changed from: a caption tells of the result.
INPUTS = frozenset("input source original before".split())
RESULTS = frozenset("output target edited after result".split())
_KEY = {
    "first": re.compile(r"((?:.*/|)[^.]+)[.]([^/]*)", re.DOTALL),
    "last": re.compile(r"((?:.*/|)[^./][^/]*)[.]([^./]*)", re.DOTALL),
}
# Names with which webdataset marks what is no sample.
_META = re.compile(r"__[^/]*__($|/)")


def split_name(name: str, dot: Dot = "first") -> tuple[str, str] | None:
    """The key and the ending of a member's name; None for what is no part of a sample."""
    match = None if _META.match(name) else _KEY[dot].fullmatch(name)
    return (match[1], match[2]) if match else None


def is_of_macos(name: str) -> bool:
    """Whether a member is a note of macOS about another one, such as ._0.jpg."""
    parts = name.split("/")
    return parts[-1].startswith("._") or "__MACOSX" in parts[:-1]


def folders_of(name: str) -> tuple[str, ...]:
    """The folders of a member's name or key, without dots."""
    return tuple(part for part in name.split("/")[:-1] if part not in ("", "."))


def last(ending: str) -> str:
    """.png of .b.png."""
    return "." + ending.rsplit(".", 1)[-1]


def view(ending: str) -> str:
    """.b of .b.png; "" of .png."""
    return ending[: -len(last(ending))]


def is_image(ending: str) -> bool:
    return last(ending) in IMAGE_SUFFIXES


def class_of(parts: Parts) -> str:
    """The class whose name a .cls holds; "" for a number, which names none."""
    try:
        name = parts.get(CLASS, b"").decode("utf-8").strip()
    except UnicodeError:
        return ""
    is_word = any(map(str.isalpha, name)) and name.isprintable() and len(name) <= LONGEST
    return name if is_word else ""


def crowded_keys(names: Iterable[str]) -> dict[str, int]:
    """Keys by the first dot that hold several images with texts of their own, and how many."""
    images: dict[str, set[str]] = defaultdict(set)
    texts: dict[str, set[str]] = defaultdict(set)
    for name in names:
        if parts := split_name(name):
            ending = f".{parts[1].lower()}"
            if is_image(ending):
                images[parts[0]].add(view(ending))
            elif last(ending) in TEXTS or last(ending) == ".json":
                texts[parts[0]].add(view(ending))
    counts = {key: len(views & texts[key]) for key, views in images.items()}
    return {key: count for key, count in counts.items() if count > 1}


def products_of(endings: Iterable[str]) -> tuple[list[str], list[str]]:
    """The images of a key that are products, and those that belong to them, such as .mask.png."""
    images = [ending for ending in endings if is_image(ending)]
    words = {ending: set(view(ending).split(".")) - {""} for ending in images}
    has_results = any(words[ending] & RESULTS for ending in images)
    others = [
        ending
        for ending in images
        if words[ending] & FOLDERS.keys() or (has_results and words[ending] & INPUTS)
    ]
    # Where all are such, that is what the catalogue is of.
    if len(others) == len(images):
        others = []
    return [ending for ending in images if ending not in others], others


def texts_of(parts: Parts, image: str) -> Parts:
    """The parts with the texts of one image: .b.txt for .b.png, else .txt, else all of them."""
    texts = {ending for ending in parts if last(ending) in TEXTS}
    for own in (view(image), ""):
        if matching := {ending for ending in texts if view(ending) == own}:
            return {e: data for e, data in parts.items() if e not in texts or e in matching}
    return parts
