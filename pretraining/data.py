"""The images and captions that nano learns from: drawn garments (ours) and CC0 photos, as uint8 arrays made once."""

import gzip
import json
import random
import re
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from unidiff_cli.sample_catalog import Look

SIZE = 64
CAPTIONS = 3  # per image
VIEWS = 4  # per training photo: the exact view of CLIP's preprocessing, and mild crops
CROPS = 8  # and hard crops, which CLIP learns from and the denoiser does not: it would draw cut-off clothes
OBJECTS_SHARE = 0.15  # of the drawings are everyday objects
UNSEEN = 1_000  # drawings held out
UNSEEN_SEED = 1_000_000  # seeds from here on are never trained on

COLOURS = {
    "black": (25, 25, 28), "white": (235, 235, 235), "gray": (130, 130, 132), "red": (185, 35, 40), "orange": (225, 120, 40),
    "yellow": (225, 195, 60), "green": (55, 120, 65), "blue": (55, 100, 180), "navy": (30, 38, 75), "purple": (110, 60, 140),
    "pink": (225, 130, 165), "brown": (105, 70, 45), "beige": (205, 185, 155),
}  # fmt: skip


@dataclass
class Images:
    """Images and their captions: `pixels` (N, V, 64, 64, 3) uint8, `captions` N lists, `labels` N class names (photos only)."""

    pixels: np.ndarray
    captions: list[list[str]]
    labels: list[str]

    def __len__(self) -> int:
        return len(self.pixels)

    @classmethod
    def load(cls, path: Path) -> "Images":
        words = json.loads(path.with_suffix(".json").read_text())
        return cls(
            np.load(path.with_suffix(".npy"), mmap_mode="r"), words["captions"], words["labels"]
        )

    def save(self, path: Path) -> None:
        np.save(path.with_suffix(".new.npy"), self.pixels)
        path.with_suffix(".new.npy").replace(
            path.with_suffix(".npy")
        )  # a running stage may have the old one mapped
        path.with_suffix(".json").write_text(
            json.dumps({"captions": self.captions, "labels": self.labels})
        )


def fit(image: Image.Image, size: int = SIZE) -> np.ndarray:
    """(size, size, 3) uint8 as CLIPImageProcessor makes it: shortest edge to `size` (bicubic), centre crop."""
    w, h = image.size
    short = min(w, h)
    image = image.convert("RGB").resize(
        (int(size * w / short), int(size * h / short)), Image.Resampling.BICUBIC
    )
    left, top = (image.width - size) // 2, (image.height - size) // 2
    return np.asarray(image.crop((left, top, left + size, top + size)))


def prepare(folder: Path, photos: Path, fashion_mnist: Path, renders: int) -> None:
    """Write the six arrays of `folder`: renders, renders-unseen, photos, photos-test, dyed, white."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "dyed.json").exists():
        dyed(fashion_mnist, renders).save(folder / "dyed")
    if not (folder / "white.json").exists():
        on_white(fashion_mnist, renders // 3).save(folder / "white")
    with ProcessPoolExecutor(2) as pool:
        for name, seeds in (
            ("renders", range(renders)),
            ("renders-unseen", range(UNSEEN_SEED, UNSEEN_SEED + UNSEEN)),
        ):
            if not (folder / f"{name}.json").exists():
                pairs = list(pool.map(drawn, seeds, chunksize=64))
                Images(np.stack([p for p, _ in pairs])[:, None], [c for _, c in pairs], []).save(
                    folder / name
                )
        rows = [json.loads(line) for line in (photos / "captions.jsonl").read_text().splitlines()]
        for name, split, views in (("photos", "train", VIEWS + CROPS), ("photos-test", "test", 1)):
            if not (folder / f"{name}.json").exists():
                these = [row for row in rows if row["split"] == split]
                jobs = [
                    (photos / row["image"], row["caption"], views, i) for i, row in enumerate(these)
                ]
                pairs = list(pool.map(_photographed, jobs, chunksize=64))
                Images(
                    np.stack([p for p, _ in pairs]),
                    [c for _, c in pairs],
                    [r["class"] for r in these],
                ).save(folder / name)


def drawn(seed: int) -> tuple[np.ndarray, list[str]]:
    """The drawing of a seed, (64, 64, 3) uint8, and its captions."""
    from unidiff_cli.sample_catalog import caption, render

    rng = random.Random(seed)
    look = look_of(rng)
    return fit(render(look, size=128)), [caption(look, rng) for _ in range(CAPTIONS)]


def look_of(rng: random.Random) -> Look:
    """What the drawing of a seed shows: a garment or, now and then, an everyday object."""
    from unidiff_cli.sample_catalog import random_look, random_object

    return random_object(rng) if rng.random() < OBJECTS_SHARE else random_look(rng)


def _photographed(job: tuple[Path, str, int, int]) -> tuple[np.ndarray, list[str]]:
    """Views of one photo and its captions, which always say "photo": a prompt without the word means a drawing."""
    path, caption, views, seed = job
    rng = np.random.default_rng([seed, 65])
    with Image.open(path) as file:
        image = file.convert("RGB")
    pixels = [fit(image)] + [fit(_crop(image, rng, hard=i >= VIEWS)) for i in range(1, views)]
    article, thing = re.fullmatch(r"a photo of (an? )?(.+)", caption).groups()
    captions = [caption, f"{thing}, phone photo"]
    if colour := dominant_colour(pixels[0]):
        an = ("an " if colour[0] in "aeiou" else "a ") if article else ""
        captions = [caption, f"a photo of {an}{colour} {thing}", f"{colour} {thing}, phone photo"]
    return np.stack(pixels), captions


def _crop(image: Image.Image, rng: np.random.Generator, hard: bool) -> Image.Image:
    if hard:
        image = image.rotate(
            rng.uniform(-15, 15), Image.Resampling.BILINEAR, fillcolor=image.getpixel((0, 0))
        )
    w, h = image.size
    share = rng.uniform(0.5 if hard else 0.8, 1.0)
    stretch = rng.uniform(0.8, 1.0) if hard else 1.0
    cw, ch = int(w * share), int(h * share * stretch)
    left, top = rng.integers(0, w - cw + 1), rng.integers(0, h - ch + 1)
    return image.crop((left, top, left + cw, top + ch))


def dominant_colour(pixels: np.ndarray) -> str | None:
    """The colour word of the garment, or None where it is not clear: it must cover 60 % of the middle and less of the rim."""
    names = list(COLOURS)
    palette = lab(np.array([COLOURS[n] for n in names], dtype=float))
    nearest = (
        np.linalg.norm(lab(pixels.reshape(-1, 3).astype(float))[:, None] - palette, axis=-1)
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
        and np.median(np.linalg.norm(lab(pixels[inside].astype(float))[:, 1:], axis=-1)) > 7
    ):
        return None  # a washed-out blue or purple is nearest to gray, but nobody would call it so
    return names[best] if middle[best] > 0.6 and around[best] < 0.5 * middle[best] else None


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIE Lab (D65) of sRGB 0..255."""
    c = rgb / 255
    c = np.where(c > 0.04045, ((c + 0.055) / 1.055) ** 2.4, c / 12.92)
    xyz = (
        c
        @ np.array([[0.4124, 0.2126, 0.0193], [0.3576, 0.7152, 0.1192], [0.1805, 0.0722, 0.9505]])
        / [0.9505, 1.0, 1.089]
    )
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.stack(
        [116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], -1
    )


GREYS = {
    "t-shirt": ("t-shirt",), "trousers": ("trousers", "pants"), "pullover": ("sweater", "longsleeve"), "dress": ("dress",),
    "coat": ("coat", "outwear"), "sandal": ("sandal",), "shirt": ("shirt",), "sneaker": ("sneaker", "shoes"), "bag": ("bag",),
    "ankle boot": ("boot", "shoes"),
}  # Fashion-MNIST's classes in its order, and our words for them  # fmt: skip


def on_white(fashion_mnist: Path, count: int) -> Images:
    """`count` images on pure white, as shops cut them out: half drawn, half dyed. Neither source has white walls otherwise."""
    with ProcessPoolExecutor(2) as pool:
        drawings = list(pool.map(_cut_out, range(count // 2), chunksize=64))
    dyes = dyed(fashion_mnist, count - count // 2, white=True)
    pixels = np.concatenate([np.stack(drawings)[:, None], dyes.pixels])
    return Images(pixels, [[""]] * len(pixels), [])


def _cut_out(seed: int) -> np.ndarray:
    from unidiff_cli.sample_catalog import random_look, render
    from unidiff_cli.sample_catalog.studio import silhouette

    look = random_look(random.Random(seed))
    white = Image.new("RGB", (128, 128), "white")
    white.paste(render(look, 128), mask=silhouette(look, 128))
    return fit(white)


def dyed(folder: Path, count: int, white: bool = False) -> Images:
    """`count` training images of Fashion-MNIST (28 px, grey on black; MIT), enlarged, dyed and put before a wall.

    What they add is the outline of real clothes; they are too soft to draw from.
    """
    with (
        gzip.open(folder / "train-images-idx3-ubyte.gz") as images,
        gzip.open(folder / "train-labels-idx1-ubyte.gz") as labels,
    ):
        grey = np.frombuffer(images.read(), np.uint8, offset=16).reshape(-1, 28, 28)[:count]
        kinds = np.frombuffer(labels.read(), np.uint8, offset=8)[:count]
    with ProcessPoolExecutor(2) as pool:
        pairs = list(pool.map(_dyed, grey, kinds, range(count), [white] * count, chunksize=256))
    return Images(np.stack([p for p, _ in pairs])[:, None], [c for _, c in pairs], [])


def _dyed(grey: np.ndarray, kind: int, seed: int, white: bool) -> tuple[np.ndarray, list[str]]:
    rng = np.random.default_rng([seed, 28])
    name = list(COLOURS)[rng.integers(len(COLOURS))]
    side = int(rng.integers(48, SIZE + 1))
    left, top = rng.integers(0, SIZE - side + 1, 2)
    cloth = Image.new("L", (SIZE, SIZE))
    cloth.paste(
        Image.fromarray(grey).resize((side, side), Image.Resampling.BICUBIC), (int(left), int(top))
    )
    light = np.asarray(cloth, dtype=np.float32) / 255  # (64, 64)
    mask = np.asarray(
        cloth.filter(ImageFilter.MaxFilter(3)).filter(ImageFilter.GaussianBlur(0.7)),
        dtype=np.float32,
    )
    mask = np.clip(mask / 40, 0, 1)[
        ..., None
    ]  # dark spots inside a dark shoe are holes in it, mostly closed so
    dye = np.clip(np.array(COLOURS[name]) + rng.normal(0, 12, 3), 0, 255)
    floor = 0.45 if name not in ("white", "beige", "yellow") else 0.7
    coloured = dye * (floor + (1 - floor) * light / max(light.max(), 0.2))[..., None]
    wall = rng.uniform(60, 245) + rng.normal(0, 14, 3)
    slope = np.linspace(-1, 1, SIZE)[:, None, None] * rng.normal(0, 18) + np.linspace(-1, 1, SIZE)[
        None, :, None
    ] * rng.normal(0, 18)
    noise = rng.normal(0, 4, (SIZE, SIZE, 3))
    pixels = mask * (coloured + noise) + (1 - mask) * (255 if white else wall + slope + noise)
    words = tuple(GREYS.values())[kind]
    plural = words[0] in ("trousers",)
    captions = []
    for word in words if len(words) > 1 else words * 2:
        article = (
            "" if plural or word in ("pants", "shoes") else "an " if name[0] in "aeiou" else "a "
        )
        captions += [f"a photo of {article}{name} {word}", f"{name} {word}, phone photo"]
    return np.clip(pixels, 0, 255).astype(np.uint8), captions


@dataclass
class Pick:
    """One image of one source as a training example."""

    source: str
    row: int
    view: int
    mirrored: bool
    caption: str


class Mixture:
    """Random picks from several sources, each with its share of a batch and how many of its views may be picked."""

    def __init__(self, folder: Path, shares: dict[str, float], views: int = VIEWS):
        self.sources = {name: Images.load(folder / name) for name in shares}
        self.shares, self.views = np.cumsum(list(shares.values())), views

    def pick(self, n: int, rng: np.random.Generator) -> list[Pick]:
        names, picks = list(self.sources), []
        for draw in rng.random(n) * self.shares[-1]:
            name = names[int(np.searchsorted(self.shares, draw, side="right"))]
            source = self.sources[name]
            row = int(rng.integers(len(source)))
            view = int(rng.integers(min(self.views, source.pixels.shape[1])))
            words = source.captions[row]
            picks.append(
                Pick(name, row, view, bool(rng.random() < 0.5), words[rng.integers(len(words))])
            )
        return picks

    def pixels(self, picks: list[Pick]) -> np.ndarray:
        """(B, 64, 64, 3) uint8."""
        rows = (
            self.sources[p.source].pixels[p.row, p.view][:, :: -1 if p.mirrored else 1]
            for p in picks
        )
        return np.stack(list(rows))
