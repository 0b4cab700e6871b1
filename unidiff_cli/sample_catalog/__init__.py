"""A rendered shop to try unidiff on: a `Look` goes in, an image and its captions come out.

`write_catalog` writes a whole catalogue. A new type of garment is a `Kind` in vocabulary.py and a
function of (look, rng) to a `Shape` in garment.py's CUTS.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from unidiff_cli.sample_catalog.captions import caption
from unidiff_cli.sample_catalog.look import Look, held_out, random_look, random_object
from unidiff_cli.sample_catalog.shop import stock, write_catalog
from unidiff_cli.sample_catalog.vocabulary import (
    AUDIENCES,
    COLORS,
    HELD_OUT,
    HOUSE_COLORS,
    HOUSE_CUTS,
    OBJECTS,
    PATTERNS,
    SETTINGS,
    TYPES,
    VIEWS,
)

if TYPE_CHECKING:
    from PIL import Image

__all__ = [
    "AUDIENCES",
    "COLORS",
    "HELD_OUT",
    "HOUSE_COLORS",
    "HOUSE_CUTS",
    "OBJECTS",
    "PATTERNS",
    "SETTINGS",
    "TYPES",
    "VIEWS",
    "Look",
    "caption",
    "held_out",
    "random_look",
    "random_object",
    "render",
    "stock",
    "write_catalog",
]


def render(look: Look, size: int = 256) -> Image.Image:
    """The image of a look, RGB, size x size; the same look gives the same pixels."""
    # The renderer and Pillow load with the first image.
    from unidiff_cli.sample_catalog import studio

    return studio.render(look, size)
