"""Colour words of photos: CIELAB, and the colour of the garment in the middle of an image."""

import numpy as np

COLOURS = {
    "black": (25, 25, 28),
    "white": (235, 235, 235),
    "gray": (130, 130, 132),
    "red": (185, 35, 40),
    "orange": (225, 120, 40),
    "yellow": (225, 195, 60),
    "green": (55, 120, 65),
    "blue": (55, 100, 180),
    "navy": (30, 38, 75),
    "purple": (110, 60, 140),
    "pink": (225, 130, 165),
    "brown": (105, 70, 45),
    "beige": (205, 185, 155),
}
_XYZ = np.array([[0.4124, 0.2126, 0.0193], [0.3576, 0.7152, 0.1192], [0.1805, 0.0722, 0.9505]])


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIELAB (D65) of sRGB 0..255, (..., 3)."""
    c = rgb / 255
    c = np.where(c > 0.04045, ((c + 0.055) / 1.055) ** 2.4, c / 12.92)
    xyz = c @ _XYZ / [0.9505, 1.0, 1.089]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    x, y, z = f[..., 0], f[..., 1], f[..., 2]
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)


def dominant_colour(pixels: np.ndarray) -> str | None:
    """The colour word of the garment in an image (S, S, 3) uint8, or None where it is not clear.

    The colour must cover 60 % of the middle, and less of the rim.
    """
    names = list(COLOURS)
    palette = lab(np.array([COLOURS[name] for name in names], dtype=float))
    gaps = np.linalg.norm(lab(pixels.reshape(-1, 3).astype(float))[:, None] - palette, axis=-1)
    size = len(pixels)
    nearest = gaps.argmin(1).reshape(size, size)
    inside = np.zeros((size, size), dtype=bool)
    inside[size * 5 // 16 : size * 11 // 16, size * 11 // 32 : size * 21 // 32] = True
    rim = np.ones((size, size), dtype=bool)
    rim[size // 16 : -size // 16, size // 16 : -size // 16] = False
    middle = np.bincount(nearest[inside], minlength=len(names)) / inside.sum()
    around = np.bincount(nearest[rim], minlength=len(names)) / rim.sum()
    best = middle.argmax()
    if names[best] == "gray":
        chroma = np.linalg.norm(lab(pixels[inside].astype(float))[:, 1:], axis=-1)
        # A washed-out blue or purple is nearest to gray, but nobody would call it so.
        if np.median(chroma) > 7:
            return None
    return names[best] if middle[best] > 0.6 and around[best] < 0.5 * middle[best] else None
