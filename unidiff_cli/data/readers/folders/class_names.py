"""Folders of classes whose names are numbers or codes, and the file that says what they mean.

"a photo of 0" is no caption. `classes.json`, `labels.txt` and the like beside the folders may name
the classes one to one; where nothing does, prepare asks.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from unidiff_cli.config.prepare import Limits
from unidiff_cli.data import columns
from unidiff_cli.data.doubts import Doubt
from unidiff_cli.data.locations import Location, shown
from unidiff_cli.data.readers.folders.codes import is_code
from unidiff_cli.data.readers.rows.cells import parse
from unidiff_cli.data.sample import IMAGE_SUFFIXES

# Endings of files that name classes.
ENDINGS = (".json", ".txt", ".names", ".csv", ".tsv", ".lst")
_LINE = re.compile(r"\s*(\S+?)\s*(?:[\t,;:=|]|\s)\s*(.+)")
_NUMBERED_LINE = re.compile(r"^\s*\d+\b|\b\d+\s*$")
# The share of images with such a class from which the captions are doubtful.
SHARE = 0.5


class ClassNames:
    """What the folders of a catalogue mean: `names` by their codes, found in the file `source`."""

    def __init__(self, classes: Iterable[str], files: Iterable[Location], limits: Limits) -> None:
        self.codes = [name for name in dict.fromkeys(classes) if is_code(name)]
        self.names: dict[str, str] = {}
        self.source = ""
        # Files that name them otherwise.
        self.others: list[str] = []
        for file in files if self.codes else ():
            if file.suffix in ENDINGS and columns.names_classes(file.name):
                names = _names_in(file, self.codes, limits)
                if names and not self.names:
                    self.names, self.source = names, file.name
                elif names and names != self.names:
                    self.others.append(file.name)

    def doubts(self) -> Iterator[Doubt]:
        """Whether several files name the classes."""
        if self.others:
            yield Doubt(
                f"{self.source} and {self.others[0]} name the classes otherwise; {self.source} is "
                "read.",
                "Move the other one out of the catalogue.",
                stops=True,
            )

    def unnamed(self, template: str, counts: Mapping[str, int], is_class: bool) -> Iterator[Doubt]:
        """Classes without a name; `counts` has the images of each.

        With `is_class` a person said that the folders are classes.
        """
        if self.names or not self.codes:
            return
        images = sum(counts[code] for code in self.codes)
        example = shown(template.replace("{class}", self.codes[0].replace("_", " ")))
        yield Doubt(
            f"Folders have numbers or codes as names: {len(self.codes):,}, such as "
            f"{shown(self.codes[0])}; the captions of {images:,} images would be such as "
            f'"{example}".',
            'Name the classes in classes.json: {"CODE": "NAME", …}, lay a .txt beside each image, '
            "or give a table.",
            stops=not is_class and images >= SHARE * sum(counts.values()),
        )


def _names_in(file: Location, codes: Collection[str], limits: Limits) -> dict[str, str]:
    """A name for every code, each another one; {} where the file does not say so."""
    try:
        if file.size > limits.text_bytes:
            return {}
        text = file.read(limits.text_bytes).decode("utf-8-sig")
        if file.suffix == ".json":
            candidates = list(_of_json(parse(text)))
        else:
            candidates = list(_of_lines([line for line in text.splitlines() if line.strip()]))
    except (OSError, ValueError):
        return {}
    for start in (0, 1):
        candidates += [
            {str(number): name for number, name in enumerate(names, start)}
            for names in candidates
            if isinstance(names, list) and _are_numbers(codes, start, len(names))
        ]
    for names in candidates:
        found = _matched(names, codes) if isinstance(names, dict) else {}
        if found:
            return found
    return {}


def _matched(names: dict[str, str], codes: Collection[str]) -> dict[str, str]:
    by_number = {_key(code): name for code, name in names.items()}
    found = {code: by_number.get(_key(code), "").replace("_", " ").strip() for code in codes}
    # A name such as 3 would say no more than the folder does.
    is_good = all(name and not is_code(name) and not _is_image(name) for name in found.values())
    return found if is_good and len(set(found.values())) == len(found) else {}


def _is_image(name: str) -> bool:
    return PurePosixPath(name.lower()).suffix in IMAGE_SUFFIXES


def _key(code: str) -> str:
    """A code as it is compared: 007 is 7."""
    return code.strip().strip("\"'").lstrip("0").lower() or "0"


def _are_numbers(codes: Collection[str], start: int, count: int) -> bool:
    """Whether the codes are all the numbers of a list."""
    return {_key(code) for code in codes} == {str(n) for n in range(start, start + count)}


def _of_json(value: Any) -> Iterator[dict[str, str] | list[str]]:
    """The names that a JSON holds: code to name, name to code, or a list in order."""
    if isinstance(value, list):
        if all(isinstance(item, str) for item in value):
            yield [str(item) for item in value]
        elif all(isinstance(item, dict) for item in value):
            named = [(item.get("id"), item.get("name")) for item in value]
            yield {str(code): name for code, name in named if isinstance(name, str)}
    if not isinstance(value, dict):
        return
    if all(isinstance(item, str | list) for item in value.values()):
        # ImageNet's index has ["n01440764", "tench"].
        last = {
            k: item[-1] if isinstance(item, list) and item else item for k, item in value.items()
        }
        yield {code: name for code, name in last.items() if isinstance(name, str)}
        yield {
            str(item[0]): str(item[-1])
            for item in value.values()
            if isinstance(item, list) and item
        }
    yield {str(code): name for name, code in value.items() if isinstance(code, str | int)}
    for inner in value.values():
        if isinstance(inner, dict | list):
            yield from _of_json(inner)


def _one_to_one(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The pairs; {} where a code has several names, as where lines are those of images."""
    pairs = list(pairs)
    names = dict(pairs)
    return names if len(names) == len(set(names.values())) == len(pairs) else {}


def _of_lines(lines: list[str]) -> Iterator[dict[str, str] | list[str]]:
    """The names that lines hold: a code and a name, a name and a code, or a name each."""
    pairs = [match.groups() for line in lines if (match := _LINE.fullmatch(line))]
    yield _one_to_one((code, name.strip().strip("\"'")) for code, name in pairs)
    turned = [line.replace("\t", " ").replace(",", " ").rsplit(None, 1) for line in lines]
    yield _one_to_one((pair[1], pair[0].strip()) for pair in turned if len(pair) == 2)
    # Lines that all begin or end with a number are no names alone.
    if not all(_NUMBERED_LINE.search(line) for line in lines):
        yield [line.strip() for line in lines]
