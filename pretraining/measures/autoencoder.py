"""What a round trip through the autoencoder costs: decibels, and degrees of hue."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from diffusers import AutoencoderKL

from pretraining.autoencoder import round_trip
from pretraining.measures.inputs import sheet
from pretraining.measures.targets import Figures


def autoencoder(vae: AutoencoderKL, sets: Mapping[str, np.ndarray], out: Path) -> Figures:
    """PSNR and hue error of each set of images (N, S, S, 3) uint8.

    Writes autoencoder-*.png, twelve originals over their reconstructions.
    """
    figures = {}
    for name, pixels in sets.items():
        again = round_trip(vae, pixels)
        figures[f"{name}_psnr_db"] = psnr(pixels, again)
        figures[f"{name}_hue_error_degrees"] = hue_error(pixels, again)
        shown = np.linspace(0, len(pixels) - 1, 12).astype(int)
        words = ["original"] * 12 + ["reconstructed"] * 12
        page = sheet(np.concatenate((pixels[shown], again[shown])), words, 12)
        page.save(out / f"autoencoder-{name}.png")
    return figures


def psnr(x: np.ndarray, y: np.ndarray) -> float:
    """Mean over images of the peak signal-to-noise ratio of uint8 (N, H, W, 3), in decibels."""
    error = np.square(x.astype(np.float32) - y).mean((1, 2, 3)) / 255**2
    return float((-10 * np.log10(np.maximum(error, 1e-10))).mean())


def hue_error(x: np.ndarray, y: np.ndarray, saturation: float = 0.3, value: float = 0.2) -> float:
    """Mean turn of the hue, in degrees 0..180, over the pixels of `x` that have one.

    Those are the pixels whose HSV saturation and value are above these.
    """
    h, s, v = hsv(x)
    turn = np.abs(h - hsv(y)[0])
    clear = (s > saturation) & (v > value)
    return float(np.minimum(turn, 360 - turn)[clear].mean()) if clear.any() else 0.0


def hsv(rgb: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Hue in degrees, saturation and value 0..1 of uint8 (..., 3)."""
    r, g, b = np.moveaxis(rgb.astype(np.float32) / 255, -1, 0)
    top, low = np.maximum(np.maximum(r, g), b), np.minimum(np.minimum(r, g), b)
    span = np.where(top > low, top - low, 1)
    h = np.select([top == r, top == g], [(g - b) / span, 2 + (b - r) / span], 4 + (r - g) / span)
    return np.where(top > low, h * 60 % 360, 0), (top - low) / np.maximum(top, 1e-6), top
