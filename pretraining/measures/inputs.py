"""What a base is measured on: photos, unseen renderings, and prompts with the looks they ask for.

And the sheets that show images over their words.
"""

import json
import random
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pretraining import probe
from pretraining.images import fit_image
from pretraining.renderings import rendered
from unidiff_cli.sample_catalog import COLORS, HELD_OUT, TYPES, Look, caption, random_look
from unidiff_cli.sample_catalog.captions import PATTERN_WORDS, VIEW_WORDS

# Seeds of the looks that prompts and matched renderings are made of: beyond pre-training's and the
# probe's.
PROMPTS_SEED, REAL_SEED, OTHER_SEED = 3_000_000, 4_000_000, 5_000_000


@dataclass(frozen=True)
class Photos:
    """The rows of a table and their images, (N, S, S, 3) uint8."""

    rows: list[dict[str, str]]
    pixels: np.ndarray


def load_photos(
    photos: Path, luma: Path | None, grocery: Path | None, size: int, limit: int | None
) -> dict[str, Photos]:
    """The sets that there are: test photos, main product views, test groceries."""
    tables = {
        "photos": (photos, "split", "test"),
        "luma": (luma, "view", "main"),
        "grocery": (grocery, "split", "test"),
    }
    sets = {}
    for name, (folder, key, value) in tables.items():
        if folder is None:
            continue
        lines = (folder / "captions.jsonl").read_text(encoding="utf-8").splitlines()
        rows = [row for row in map(json.loads, lines) if row[key] == value]
        rows = random.Random(0).sample(rows, min(limit or len(rows), len(rows)))
        sets[name] = Photos(rows, np.stack([_open(folder / row["image"], size) for row in rows]))
    return sets


def _open(path: Path, size: int) -> np.ndarray:
    with Image.open(path) as file:
        return fit_image(file, size)


def renderings(seeds: Iterable[int], size: int) -> tuple[np.ndarray, list[str]]:
    """The renderings of seeds, (N, size, size, 3) uint8, and the longest caption of each."""
    with ProcessPoolExecutor(2) as pool:
        pairs = list(pool.map(partial(rendered, size=size), seeds, chunksize=32))
    return np.stack([p for p, _ in pairs]), [max(captions, key=len) for _, captions in pairs]


def random_prompts(count: int, seed: int) -> tuple[list[Look], list[str]]:
    """Looks and prompts for them, in the catalogue's phrasings.

    Every type comes as often, and every fourth look is of a held-out pair. A prompt that names a
    view is replaced by another one, and so is one for a held-out pair that leaves the pattern out.
    Two calls with other seeds give images of one distribution.
    """
    pairs, looks, prompts = sorted(HELD_OUT), [], []
    for i in range(count):
        rng, fixed, asked = random.Random(seed + i), {"type": probe.NAMES[i % len(TYPES)]}, ("",)
        if i % 4 == 3:
            type_, half = pairs[i // 4 % len(pairs)]
            fixed = {"type": type_, "color" if half in COLORS else "pattern": half}
            asked = PATTERN_WORDS.get(half, asked)
        while True:
            look = random_look(rng, **fixed)
            prompt = caption(look, rng)
            names_view = any(view in prompt for view in VIEW_WORDS.values() if view)
            if not names_view and any(word in prompt for word in asked):
                break
        looks.append(look)
        prompts.append(prompt)
    return looks, prompts


def sheet(pixels: np.ndarray, words: Sequence[str], columns: int, side: int = 128) -> Image.Image:
    """Images (N, S, S, 3) uint8 in rows, each `side` wide and over its words."""
    below = 30
    rows = -(-len(pixels) // columns)
    page = Image.new("RGB", (columns * side, rows * (side + below)), "white")
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(11)
    for i, (image, text) in enumerate(zip(pixels, words, strict=True)):
        x, y = i % columns * side, i // columns * (side + below)
        page.paste(Image.fromarray(image).resize((side, side), Image.Resampling.NEAREST), (x, y))
        # Two lines, broken at the first space after the middle.
        half = len(text) // 2 + text[len(text) // 2 :].find(" ") if len(text) > 20 else len(text)
        two_lines = f"{text[:half]}\n{text[half:].strip()}"
        pen.text((x + 2, y + side), two_lines, fill="black", font=font)
    return page
