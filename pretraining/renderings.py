"""Rendered garments and everyday objects: the image and the captions of a seed."""

import random
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np
from PIL import Image

from pretraining.images import SIZE, fit_image
from unidiff_cli.sample_catalog import Look, caption, random_look, random_object, render
from unidiff_cli.sample_catalog.studio import silhouette

# Captions of each image.
CAPTIONS = 3
# The part of the renderings that are everyday objects.
OBJECTS_SHARE = 0.15
# Renderings held out, and their first seed: the base never sees seeds from here on.
UNSEEN = 1_000
UNSEEN_SEED = 1_000_000
# The first seed of what the scorer learns from, beyond all that is measured on.
SCORER_FIRST_SEED = 6_000_000


def rendered(seed: int, size: int = SIZE) -> tuple[np.ndarray, list[str]]:
    """The rendering of a seed, (size, size, 3) uint8, and its captions."""
    rng = random.Random(seed)
    look = look_of(rng)
    return _render_look(look, size), [caption(look, rng) for _ in range(CAPTIONS)]


def look_of(rng: random.Random) -> Look:
    """What the rendering of a seed shows: a garment or, now and then, an everyday object."""
    return random_object(rng) if rng.random() < OBJECTS_SHARE else random_look(rng)


def render_looks(looks: Iterable[Look], size: int = SIZE) -> np.ndarray:
    """Looks as nano's images are made, (N, size, size, 3) uint8: rendered at twice the size."""
    with ProcessPoolExecutor(2) as pool:
        return np.stack(list(pool.map(partial(_render_look, size=size), looks, chunksize=32)))


def _render_look(look: Look, size: int) -> np.ndarray:
    return fit_image(render(look, size=2 * size), size)


def cut_out(seed: int) -> np.ndarray:
    """The garment of a seed on pure white, (128, 128, 3) uint8."""
    look = random_look(random.Random(seed))
    white = Image.new("RGB", (2 * SIZE, 2 * SIZE), "white")
    white.paste(render(look, 2 * SIZE), mask=silhouette(look, 2 * SIZE))
    return fit_image(white)
