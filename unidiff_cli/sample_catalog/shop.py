"""The sample shop: products with names, colours and views, and the catalogue that holds them."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random

from unidiff_cli.errors import UsageError
from unidiff_cli.sample_catalog.captions import NAMES, caption
from unidiff_cli.sample_catalog.look import Look, random_look
from unidiff_cli.sample_catalog.vocabulary import HOUSE, HOUSE_COLORS, HOUSE_CUTS, TYPES

# The columns of catalog.csv: four of the product, then those fields of the look.
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
    "cut",
    "audience",
    "view",
)
# Images there are names for: each type can bear each name once, and a product has two images or
# more.
MOST = 2 * len(NAMES) * len(TYPES)
_SIDES = (("front", "back"), ("front", "detail"), ("front", "back", "detail"))
# They look the same from behind.
_ALIKE = ("skirt", "hat", "beanie", "scarf")
# The settings the house photographs in.
_HOUSE_SETTINGS = ("hanger", "mannequin", "studio")


def stock(images: int = 700, seed: int = 0) -> list[tuple[dict[str, str], Look]]:
    """What the shop sells: the rows of catalog.csv, each with the look that its image shows.

    The last product comes with all its images, so there may be a few more than asked for.
    """
    rng = Random(seed)
    names = {type_: rng.sample(NAMES, len(NAMES)) for type_ in TYPES}
    # Every type comes round before any comes twice, so that a small shop still sells everything.
    turns = itertools.chain.from_iterable(rng.sample(tuple(TYPES), len(TYPES)) for _ in NAMES)
    rows: list[tuple[dict[str, str], Look]] = []
    for number, type_ in enumerate(turns, 1):
        design, name = _design(rng, type_), f"{names[type_].pop()} {type_}"
        sides = _SIDES[1] if type_ in _ALIKE else rng.choice(_SIDES)
        colors = rng.sample(tuple(HOUSE_COLORS), 2 if rng.random() < 1 / 6 else 1)
        for color, view in itertools.product(colors, sides):
            look = _photographed(rng, design, color, view)
            row = {
                "image": f"images/p{number:04d}-{color}-{view}.jpg",
                "caption": caption(look, rng, name),
                "product": f"p{number:04d}",
                "name": name,
            }
            rows.append((row | {column: getattr(look, column) for column in COLUMNS[4:]}, look))
        if len(rows) >= images:
            break
    return rows


def _design(rng: Random, type_: str) -> Look:
    """A product of the house, not yet dyed: its cut and its place in the studio."""
    kind = TYPES[type_]
    cuts = [cut for cut, types in HOUSE_CUTS.items() if type_ in types]
    cut = rng.choice(cuts) if rng.random() < 0.8 else ""
    fixed = {"sleeve": "long"} if cut == "balloon sleeves" else {}
    setting = rng.choice([name for name in kind.settings if name in _HOUSE_SETTINGS])
    # A pattern is pinned, so that the shop sells what random_look holds out.
    pattern = rng.choice(kind.patterns)
    return random_look(
        rng,
        type=type_,
        pattern=pattern,
        cut=cut,
        setting=setting,
        background=HOUSE,
        mirror=False,
        **fixed,
    )


def _photographed(rng: Random, design: Look, color: str, view: str) -> Look:
    """A product in one colour from one side; the house's camera and lamp hardly move."""
    return replace(
        design,
        color=color,
        view=view,
        mirror=view == "back",
        angle=rng.gauss(0, 1.5),
        scale=rng.uniform(0.76, 0.88),
        dx=rng.uniform(-4, 4),
        dy=rng.uniform(-3, 3),
        light=-rng.uniform(0.5, 1),
    )


def write_catalog(
    directory: str | Path,
    *,
    images: int = 700,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Writes images/*.jpg and catalog.csv into an empty or new directory.

    Gives the number of images: at least as many as asked for, as a product is whole. The same seed
    and count give the same bytes. progress(done, total), if given, is called after each image.
    Raises UsageError for a directory that holds anything, or a count that the shop has no names
    for.
    """
    # The renderer and Pillow load with the first image.
    from unidiff_cli.sample_catalog.studio import render

    directory = Path(directory)
    if not 1 <= images <= MOST:
        raise UsageError(
            f"{images} images cannot be rendered; the shop has names for 1 to {MOST:,}.",
            "Choose a number in that range.",
        )
    if directory.exists() and not directory.is_dir():
        raise UsageError(f"{directory} is a file.", "Name a new directory.")
    if directory.exists() and any(directory.iterdir()):
        raise UsageError(f"{directory} is not empty.", "Name a new directory, or empty this one.")
    (directory / "images").mkdir(parents=True, exist_ok=True)
    rows = stock(images, seed)
    for done, (row, look) in enumerate(rows, 1):
        render(look).save(directory / row["image"], "JPEG", quality=92)
        if progress:
            progress(done, len(rows))
    # The table comes last: a directory without it was left half-way.
    with open(directory / "catalog.csv", "w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        table.writeheader()
        table.writerows(row for row, _ in rows)
    return len(rows)
