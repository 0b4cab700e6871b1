"""Images of 128 px as arrays: how an image is fitted, and a set of them with captions on disk."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

# The side of the images that nano learns from. A base that is measured has its own.
SIZE = 128


@dataclass
class Images:
    """Images and their captions.

    `pixels` is (N, V, S, S, 3) uint8, V views of each image. `captions` are N lists, `labels` N
    class names (photos only).
    """

    pixels: np.ndarray
    captions: list[list[str]]
    labels: list[str]

    def __len__(self) -> int:
        return len(self.pixels)

    @classmethod
    def load(cls, path: Path) -> "Images":
        """The set of `path`.npy and `path`.json; the pixels stay on disk until they are read."""
        texts = json.loads(path.with_suffix(".json").read_text())
        pixels = np.load(path.with_suffix(".npy"), mmap_mode="r")
        return cls(pixels, texts["captions"], texts["labels"])

    def save(self, path: Path) -> None:
        """Writes `path`.npy and, last, `path`.json."""
        # Beside its place first: a running stage may have the old array mapped.
        new = path.with_suffix(".new.npy")
        np.save(new, self.pixels)
        new.replace(path.with_suffix(".npy"))
        texts = {"captions": self.captions, "labels": self.labels}
        path.with_suffix(".json").write_text(json.dumps(texts))


def fit_image(image: Image.Image, size: int = SIZE) -> np.ndarray:
    """(size, size, 3) uint8 as CLIPImageProcessor makes it.

    The shortest edge becomes `size` (bicubic), then the centre is cropped.
    """
    w, h = image.size
    short = min(w, h)
    image = image.convert("RGB").resize(
        (int(size * w / short), int(size * h / short)), Image.Resampling.BICUBIC
    )
    left, top = (image.width - size) // 2, (image.height - size) // 2
    return np.asarray(image.crop((left, top, left + size, top + size)))


def shrunk(pixels: np.ndarray, size: int) -> np.ndarray:
    """uint8 images (N, S, S, 3) at a side that divides S, each pixel the mean of a square."""
    n, side = len(pixels), pixels.shape[1]
    if side == size:
        return pixels
    parts = pixels.reshape(n, size, side // size, size, side // size, 3)
    return parts.mean((2, 4), dtype=np.float32).round().astype(np.uint8)
