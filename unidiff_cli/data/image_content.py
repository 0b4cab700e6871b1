"""What an image shows by its pixels: colours, or two greys only, as masks have."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# The side to which an image is thinned out; each pixel stays as it is.
_SIDE = 128
# Levels between channels that make a pixel coloured, and the share of such pixels of an image.
_COLOUR, _COLOURED = 16, 0.01
# Levels around one of a mask's two greys that count as it, and the share of pixels that have them.
_AROUND, _OF_TWO = 8, 0.96
# Levels between the two greys, and the share of pixels that the rarer has.
_APART, _RARER = 64, 0.005


def is_coloured(image: Image.Image) -> bool:
    """Whether an RGB image has colours besides greys."""
    channels = _thinned(image)
    return bool((np.ptp(channels, axis=2) > _COLOUR).mean() > _COLOURED)


def is_mask(image: Image.Image) -> bool:
    """Whether an RGB image has two greys far apart and next to nothing else.

    Masks have; so has line art without soft edges, which only its neighbours tell from masks.
    """
    channels = _thinned(image)
    if (np.ptp(channels, axis=2) > _COLOUR).mean() > _COLOURED:
        return False
    grey = channels[..., 1].ravel()
    first = int(np.bincount(grey, minlength=256).argmax())
    rest = grey[np.abs(grey - first) > _AROUND]
    if len(rest) < _RARER * len(grey):
        return False
    second = int(np.bincount(rest, minlength=256).argmax())
    others = (np.abs(rest - second) > _AROUND).sum()
    return abs(first - second) >= _APART and bool(others <= (1 - _OF_TWO) * len(grey))


def _thinned(image: Image.Image) -> NDArray[np.int16]:
    """(H, W, 3), at most 128 each way; pixels are left out and none is mixed."""
    size = min(image.width, _SIDE), min(image.height, _SIDE)
    return np.asarray(image.resize(size, Image.Resampling.NEAREST)).astype(np.int16)
