"""Training photos: views of each, and captions that always say "photo"."""

import json
import re
from pathlib import Path

import numpy as np
from PIL import Image

from pretraining.colors import dominant_colour
from pretraining.images import SIZE, fit_image

# Views of a training photo: the exact view of CLIP's preprocessing, and mild crops.
VIEWS = 4
# And hard crops, which CLIP learns from and the denoiser does not: it would generate cut-off
# clothes.
CROPS = 8


def photo_rows(folder: Path, split: str) -> list[dict[str, str]]:
    """The rows of a split in `folder`/captions.jsonl."""
    lines = (folder / "captions.jsonl").read_text().splitlines()
    return [row for row in map(json.loads, lines) if row["split"] == split]


def photographed(job: tuple[Path, str, int, int]) -> tuple[np.ndarray, list[str]]:
    """Views (V, 128, 128, 3) uint8 of one photo, and its captions.

    A job is a file, its caption, the number of views and a seed. The captions always say "photo":
    a prompt without the word means a rendering.
    """
    path, caption, views, seed = job
    rng = np.random.default_rng([seed, 65])
    with Image.open(path) as file:
        image = file.convert("RGB")
    crops = [fit_image(crop(image, rng, hard=i >= VIEWS)) for i in range(1, views)]
    pixels = np.stack([fit_image(image), *crops])
    return pixels, _captions(caption, dominant_colour(pixels[0]))


def _captions(caption: str, colour: str | None) -> list[str]:
    match = re.fullmatch(r"a photo of (an? )?(.+)", caption)
    assert match, f"{caption!r} does not begin with 'a photo of'"
    article, thing = match.groups()
    if not colour:
        return [caption, f"{thing}, phone photo"]
    an = ("an " if colour[0] in "aeiou" else "a ") if article else ""
    return [caption, f"a photo of {an}{colour} {thing}", f"{colour} {thing}, phone photo"]


def enlarged(path: Path) -> np.ndarray:
    """A photo at twice the side of an image, (256, 256, 3) uint8."""
    with Image.open(path) as file:
        return fit_image(file, 2 * SIZE)


def crop(image: Image.Image, rng: np.random.Generator, hard: bool) -> Image.Image:
    """A random part of an image; a hard one is smaller, turned and stretched."""
    if hard:
        corner = image.getpixel((0, 0))
        image = image.rotate(rng.uniform(-15, 15), Image.Resampling.BILINEAR, fillcolor=corner)
    w, h = image.size
    share = rng.uniform(0.5 if hard else 0.8, 1.0)
    stretch = rng.uniform(0.8, 1.0) if hard else 1.0
    cw, ch = int(w * share), int(h * share * stretch)
    left, top = rng.integers(0, w - cw + 1), rng.integers(0, h - ch + 1)
    return image.crop((left, top, left + cw, top + ch))
