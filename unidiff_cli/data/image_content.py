"""What an image shows by its pixels: colours, or two greys only, as masks have."""

from __future__ import annotations

from typing import NamedTuple

from PIL import Image, ImageChops

# The side to which an image is thinned out; each pixel stays as it is.
_SIDE = 128
# Levels between channels that make a pixel coloured, and the share of such pixels of an image.
_COLOUR, _COLOURED = 16, 0.01
# Levels around one of a mask's two greys that count as it, and the share of pixels that have them.
_AROUND, _OF_TWO = 8, 0.96
# Levels between the two greys, and the share of pixels that the rarer has.
_APART, _RARER = 64, 0.005


class Content(NamedTuple):
    """Whether an image has colours besides greys, and whether it looks as masks do."""

    coloured: bool
    mask: bool


def content_of(image: Image.Image) -> Content:
    """What an RGB image shows."""
    size = min(image.width, _SIDE), min(image.height, _SIDE)
    # Pixels are left out and none is mixed. Pillow counts them without a copy for numpy.
    red, green, blue = image.resize(size, Image.Resampling.NEAREST).split()
    most = ImageChops.lighter(ImageChops.lighter(red, green), blue)
    least = ImageChops.darker(ImageChops.darker(red, green), blue)
    spread = ImageChops.subtract(most, least).histogram()
    coloured = sum(spread[_COLOUR + 1 :]) > _COLOURED * sum(spread)
    return Content(coloured, not coloured and _has_two_greys(green.histogram()))


def _has_two_greys(counts: list[int]) -> bool:
    """Whether greys, by how many pixels have each, are two far apart and next to nothing else.

    Masks have such; so has line art without soft edges, which only its neighbours tell from masks.
    """
    total = sum(counts)
    first = _commonest(counts)
    rest = _without(counts, first)
    if sum(rest) < _RARER * total:
        return False
    second = _commonest(rest)
    return abs(first - second) >= _APART and sum(_without(rest, second)) <= (1 - _OF_TWO) * total


def _commonest(counts: list[int]) -> int:
    return max(range(len(counts)), key=counts.__getitem__)


def _without(counts: list[int], grey: int) -> list[int]:
    """The counts of all greys but those around one."""
    return [0 if abs(n - grey) <= _AROUND else count for n, count in enumerate(counts)]
