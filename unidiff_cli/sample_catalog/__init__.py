"""A drawn shop to try unidiff on: garments, their photographs, captions, and a catalogue of them."""

from __future__ import annotations

import csv
import random
from dataclasses import replace
from pathlib import Path

from ..errors import UsageError
from .captions import NAMES, caption
from .look import AUDIENCES, COLORS, HOUSE, PATTERNS, SETTINGS, TYPES, VIEWS, Look, random_look

__all__ = [
    "AUDIENCES",
    "COLORS",
    "PATTERNS",
    "SETTINGS",
    "TYPES",
    "VIEWS",
    "Look",
    "caption",
    "draw",
    "random_look",
    "write_catalog",
]

COLUMNS = (
    "image",
    "caption",
    "product",
    "name",
    "type",
    "color",
    "pattern",
    "sleeve",
    "length",
    "neckline",
    "audience",
    "view",
)
_CUT = ("type", "pattern", "sleeve", "length", "neckline", "audience", "shade")


def draw(look: Look, size: int = 256):
    """The photograph of a look as an RGB PIL image, size x size; the same look gives the same pixels."""
    from .studio import draw  # the renderer and Pillow load on the first picture

    return draw(look, size)


def _products(rng: random.Random):
    """Yields (product number, name, looks): one cut in one to three colours, seen from one or two sides."""
    names = [(name, type_) for name in NAMES for type_ in TYPES]
    rng.shuffle(names)
    # Every type comes round before any comes twice, so that a small shop still sells everything.
    turns = [rng.sample(tuple(TYPES), len(TYPES)) for _ in NAMES]
    given = {type_: [n for n, t in names if t == type_] for type_ in TYPES}
    for number, type_ in enumerate(t for turn in turns for t in turn):
        first = random_look(rng, type=type_, view="front")
        cut = {field: getattr(first, field) for field in _CUT}
        looks = []
        for color in rng.sample(tuple(COLORS), rng.choice((1, 2, 2, 3))):
            for view in ("front", *rng.choice(((), (), ("back",), ("detail",)))):
                looks.append(random_look(rng, **cut, color=color, view=view))
        yield number + 1, f"{given[type_].pop()} {type_}", looks


def write_catalog(directory, *, pictures: int = 360, seed: int = 0, progress=None) -> int:
    """Writes images/*.jpg and catalog.csv into an empty or new directory and returns how many pictures there are.

    The same seed and count give the same bytes. progress(done, total), if given, is called after each picture.
    Raises UsageError for a directory that holds anything, or a count outside 1 to 2,000.
    """
    directory = Path(directory)
    if not 1 <= pictures <= 2000:
        raise UsageError(
            f"{pictures} pictures cannot be drawn; the shop has names for 1 to 2,000.",
            "Choose a number in that range.",
        )
    if directory.exists() and not directory.is_dir():
        raise UsageError(f"{directory} is a file.", "Name a new directory.")
    if directory.exists() and any(directory.iterdir()):
        raise UsageError(f"{directory} is not empty.", "Name a new directory, or empty this one.")
    (directory / "images").mkdir(parents=True, exist_ok=True)
    rng, said = random.Random(seed), set()
    rows: list[dict[str, str]] = []
    for number, name, looks in _products(rng):
        for look in looks[: pictures - len(rows)]:
            text = caption(look, rng, name)
            for _ in range(20):  # two views of one dress deserve two sentences
                if text not in said:
                    break
                text = caption(look, rng, name)
            said.add(text)
            image = f"images/p{number:04d}-{look.color}-{look.view}.jpg"
            draw(replace(look, background=HOUSE)).save(directory / image, "JPEG", quality=92)
            fields = {column: getattr(look, column) for column in COLUMNS[4:]}
            rows.append(
                {"image": image, "caption": text, "product": f"p{number:04d}", "name": name, **fields}
            )
            if progress:
                progress(len(rows), pictures)
        if len(rows) == pictures:
            break
    # The table comes last: a directory without it was left half-way.
    with open(directory / "catalog.csv", "w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
    return len(rows)
