"""The pictures and captions that nano learns from: drawn garments (ours) and CC0 photos, as uint8 arrays made once."""

import json
import random
import re
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = 64
CAPTIONS = 3  # per picture
VIEWS = 4  # per training photo: the exact view of CLIP's preprocessing, and random crops
UNSEEN = 1_000  # drawings held out
UNSEEN_SEED = 1_000_000  # seeds from here on are never trained on

COLOURS = {
    "black": (25, 25, 28), "white": (235, 235, 235), "gray": (130, 130, 132), "red": (185, 35, 40), "orange": (225, 120, 40),
    "yellow": (225, 195, 60), "green": (55, 120, 65), "blue": (55, 100, 180), "navy": (30, 38, 75), "purple": (110, 60, 140),
    "pink": (225, 130, 165), "brown": (105, 70, 45), "beige": (205, 185, 155),
}  # fmt: skip


@dataclass
class Pictures:
    """Pictures and their captions: `pixels` (N, V, 64, 64, 3) uint8, `captions` N lists, `labels` N class names (photos only)."""

    pixels: np.ndarray
    captions: list[list[str]]
    labels: list[str]

    def __len__(self) -> int:
        return len(self.pixels)

    @classmethod
    def load(cls, path: Path) -> "Pictures":
        words = json.loads(path.with_suffix(".json").read_text())
        return cls(np.load(path.with_suffix(".npy"), mmap_mode="r"), words["captions"], words["labels"])

    def save(self, path: Path) -> None:
        np.save(path.with_suffix(".new.npy"), self.pixels)
        path.with_suffix(".new.npy").replace(
            path.with_suffix(".npy")
        )  # a running stage may have the old one mapped
        path.with_suffix(".json").write_text(json.dumps({"captions": self.captions, "labels": self.labels}))


def fit(image: Image.Image, size: int = SIZE) -> np.ndarray:
    """(size, size, 3) uint8 as CLIPImageProcessor makes it: shortest edge to `size` (bicubic), centre crop."""
    w, h = image.size
    short = min(w, h)
    image = image.convert("RGB").resize(
        (int(size * w / short), int(size * h / short)), Image.Resampling.BICUBIC
    )
    left, top = (image.width - size) // 2, (image.height - size) // 2
    return np.asarray(image.crop((left, top, left + size, top + size)))


def prepare(folder: Path, photos: Path, renders: int) -> None:
    """Write the four arrays of `folder`: renders, renders-unseen, photos, photos-test."""
    folder.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(2) as pool:
        for name, seeds in (
            ("renders", range(renders)),
            ("renders-unseen", range(UNSEEN_SEED, UNSEEN_SEED + UNSEEN)),
        ):
            if not (folder / f"{name}.json").exists():
                pairs = list(pool.map(_drawn, seeds, chunksize=64))
                Pictures(np.stack([p for p, _ in pairs])[:, None], [c for _, c in pairs], []).save(
                    folder / name
                )
        rows = [json.loads(line) for line in (photos / "captions.jsonl").read_text().splitlines()]
        for name, split, views in (("photos", "train", VIEWS), ("photos-test", "test", 1)):
            if not (folder / f"{name}.json").exists():
                these = [row for row in rows if row["split"] == split]
                jobs = [(photos / row["image"], row["caption"], views, i) for i, row in enumerate(these)]
                pairs = list(pool.map(_photographed, jobs, chunksize=64))
                Pictures(
                    np.stack([p for p, _ in pairs]), [c for _, c in pairs], [r["class"] for r in these]
                ).save(folder / name)


def _drawn(seed: int) -> tuple[np.ndarray, list[str]]:
    from unidiff_cli.sample_catalog import caption, draw, random_look

    rng = random.Random(seed)
    look = random_look(rng)
    return fit(draw(look, size=128)), [caption(look, rng) for _ in range(CAPTIONS)]


def _photographed(job: tuple[Path, str, int, int]) -> tuple[np.ndarray, list[str]]:
    """Views of one photo and its captions, which always say "photo": a prompt without the word means a drawing."""
    path, caption, views, seed = job
    rng = np.random.default_rng([seed, 65])
    with Image.open(path) as file:
        image = file.convert("RGB")
    pixels = [fit(image)] + [fit(_crop(image, rng)) for _ in range(views - 1)]
    article, thing = re.fullmatch(r"a photo of (an? )?(.+)", caption).groups()
    captions = [caption, f"{thing}, phone photo"]
    if colour := dominant_colour(pixels[0]):
        an = ("an " if colour[0] in "aeiou" else "a ") if article else ""
        captions = [caption, f"a photo of {an}{colour} {thing}", f"{colour} {thing}, phone photo"]
    return np.stack(pixels), captions


def _crop(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    w, h = image.size
    share = rng.uniform(0.8, 1.0)
    cw, ch = int(w * share), int(h * share)
    left, top = rng.integers(0, w - cw + 1), rng.integers(0, h - ch + 1)
    return image.crop((left, top, left + cw, top + ch))


def dominant_colour(pixels: np.ndarray) -> str | None:
    """The colour word of the garment, or None where it is not clear: it must cover 60 % of the middle and less of the rim."""
    names = list(COLOURS)
    palette = _lab(np.array([COLOURS[n] for n in names], dtype=float))
    nearest = (
        np.linalg.norm(_lab(pixels.reshape(-1, 3).astype(float))[:, None] - palette, axis=-1)
        .argmin(1)
        .reshape(SIZE, SIZE)
    )
    inside = np.zeros((SIZE, SIZE), dtype=bool)
    inside[20:44, 22:42] = True
    rim = np.ones((SIZE, SIZE), dtype=bool)
    rim[4:-4, 4:-4] = False
    middle = np.bincount(nearest[inside], minlength=len(names)) / inside.sum()
    around = np.bincount(nearest[rim], minlength=len(names)) / rim.sum()
    best = middle.argmax()
    if (
        names[best] == "gray"
        and np.median(np.linalg.norm(_lab(pixels[inside].astype(float))[:, 1:], axis=-1)) > 7
    ):
        return None  # a washed-out blue or purple is nearest to gray, but nobody would call it so
    return names[best] if middle[best] > 0.6 and around[best] < 0.5 * middle[best] else None


def _lab(rgb: np.ndarray) -> np.ndarray:
    """CIE Lab (D65) of sRGB 0..255."""
    c = rgb / 255
    c = np.where(c > 0.04045, ((c + 0.055) / 1.055) ** 2.4, c / 12.92)
    xyz = (
        c
        @ np.array([[0.4124, 0.2126, 0.0193], [0.3576, 0.7152, 0.1192], [0.1805, 0.0722, 0.9505]])
        / [0.9505, 1.0, 1.089]
    )
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], -1)


class Mixture:
    """Random picks from drawings and photos, `photos` of them photos: (pixels (B, 64, 64, 3) uint8, captions)."""

    def __init__(self, folder: Path, photos: float):
        self.sources = Pictures.load(folder / "renders"), Pictures.load(folder / "photos")
        self.photos = photos

    def pick(self, n: int, rng: np.random.Generator) -> list[tuple[int, int, int, bool, str]]:
        """n times (source, row, view, mirrored, caption)."""
        picks = []
        for which in (rng.random(n) < self.photos).astype(int):
            source = self.sources[which]
            row = int(rng.integers(len(source)))
            words = source.captions[row]
            view, mirrored = int(rng.integers(source.pixels.shape[1])), bool(rng.random() < 0.5)
            picks.append((int(which), row, view, mirrored, words[rng.integers(len(words))]))
        return picks

    def pixels(self, picks: list[tuple[int, int, int, bool, str]]) -> np.ndarray:
        rows = (
            self.sources[which].pixels[row, view][:, :: -1 if mirrored else 1]
            for which, row, view, mirrored, _ in picks
        )
        return np.stack(list(rows))
