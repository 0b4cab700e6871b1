"""Fashion-MNIST (28 px, grey on black; MIT), enlarged, dyed and put before a wall.

What these images add is the outline of real clothes; they are too soft to learn generation from.
"""

import gzip
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from pretraining.colors import COLOURS
from pretraining.images import SIZE, Images

# Fashion-MNIST's classes in its order, and our words for them.
CLASSES = {
    "t-shirt": ("t-shirt",),
    "trousers": ("trousers", "pants"),
    "pullover": ("sweater", "longsleeve"),
    "dress": ("dress",),
    "coat": ("coat", "outwear"),
    "sandal": ("sandal",),
    "shirt": ("shirt",),
    "sneaker": ("sneaker", "shoes"),
    "bag": ("bag",),
    "ankle boot": ("boot", "shoes"),
}
_PLURAL = ("pants", "shoes")


def dyed(folder: Path, rows: range) -> Images:
    """Training images of these numbers, each in a colour before a wall."""
    with (
        gzip.open(folder / "train-images-idx3-ubyte.gz") as images,
        gzip.open(folder / "train-labels-idx1-ubyte.gz") as labels,
    ):
        grey = np.frombuffer(images.read(), np.uint8, offset=16).reshape(-1, 28, 28)[rows]
        kinds = np.frombuffer(labels.read(), np.uint8, offset=8)[rows]
    with ProcessPoolExecutor(2) as pool:
        pairs = list(pool.map(_dyed, grey, kinds, rows, chunksize=256))
    return Images(np.stack([p for p, _ in pairs])[:, None], [c for _, c in pairs], [])


def _dyed(grey: np.ndarray, kind: int, seed: int) -> tuple[np.ndarray, list[str]]:
    rng = np.random.default_rng([seed, 28])
    name = list(COLOURS)[rng.integers(len(COLOURS))]
    light, mask = _laid_out(grey, rng)
    dye = np.clip(np.array(COLOURS[name]) + rng.normal(0, 12, 3), 0, 255)
    floor = 0.45 if name not in ("white", "beige", "yellow") else 0.7
    coloured = dye * (floor + (1 - floor) * light / max(light.max(), 0.2))[..., None]
    wall = rng.uniform(60, 245) + rng.normal(0, 14, 3)
    ramp = np.linspace(-1, 1, SIZE)
    slope = ramp[:, None, None] * rng.normal(0, 18) + ramp[None, :, None] * rng.normal(0, 18)
    noise = rng.normal(0, 4, (SIZE, SIZE, 3))
    pixels = mask * (coloured + noise) + (1 - mask) * (wall + slope + noise)
    return np.clip(pixels, 0, 255).astype(np.uint8), _captions(name, kind)


def _laid_out(grey: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """An image (28, 28) enlarged at a random place: its light (S, S) and its mask (S, S, 1)."""
    side = int(rng.integers(3 * SIZE // 4, SIZE + 1))
    left, top = rng.integers(0, SIZE - side + 1, 2)
    cloth = Image.new("L", (SIZE, SIZE))
    enlarged = Image.fromarray(grey).resize((side, side), Image.Resampling.BICUBIC)
    cloth.paste(enlarged, (int(left), int(top)))
    light = np.asarray(cloth, dtype=np.float32) / 255
    # Dark spots inside a dark shoe are holes in it: the filters close most of them.
    hole = SIZE // 64
    closed = cloth.filter(ImageFilter.MaxFilter(2 * hole + 1))
    closed = closed.filter(ImageFilter.GaussianBlur(0.7 * hole))
    return light, np.clip(np.asarray(closed, dtype=np.float32) / 40, 0, 1)[..., None]


def _captions(colour: str, kind: int) -> list[str]:
    words = tuple(CLASSES.values())[kind]
    plural = words[0] == "trousers"
    captions = []
    for word in words if len(words) > 1 else words * 2:
        article = "an " if colour[0] in "aeiou" else "a "
        if plural or word in _PLURAL:
            article = ""
        captions += [f"a photo of {article}{colour} {word}", f"{colour} {word}, phone photo"]
    return captions
