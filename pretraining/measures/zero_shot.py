"""Zero-shot accuracy: the share of photos whose nearest prompt is their class."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from pretraining.images import fit_image
from pretraining.measures.encoders import Encoder
from pretraining.measures.inputs import Photos
from pretraining.measures.targets import Figures
from unidiff_cli.evaluation.probe import ProbeSet
from unidiff_cli.sample_catalog import COLORS, TYPES

# What a shop calls a thing, in the words people use for it; several words count together (their
# mean).
CATEGORIES = {
    "Hoodies & Sweatshirts": ("hoodie", "sweatshirt"),
    "Pants": ("pants", "trousers"),
    "Jackets": ("jacket",),
    "Tees": ("t-shirt",),
    "Shorts": ("shorts",),
    "Bras & Tanks": ("tank top", "sports bra"),
    "Tanks": ("tank top",),
    "Bags": ("bag", "backpack"),
    "Fitness Equipment": ("ball", "fitness equipment"),
    "Watches": ("watch", "clock"),
}
GROUPS = {
    "fruit": ("fruit", "apple", "banana", "pear", "lemon", "orange"),
    "vegetable": ("vegetable", "carrot", "cucumber", "tomato"),
    "package": ("package", "milk carton", "juice carton", "bottle"),
}


def everyday_objects(encoder: Encoder, size: int) -> Figures:
    """Accuracy on renderings of everyday objects, the ones whose retention `evaluate` reports."""
    probe = ProbeSet.everyday_objects()
    pixels = np.stack([fit_image(image, size) for image in probe.images])
    guess = (encoder.images(pixels) @ encoder.texts(probe.prompts).T).argmax(1)
    return {"objects": float((guess == probe.labels).mean())}


def zero_shot(encoder: Encoder, sets: Mapping[str, Photos]) -> Figures:
    """Accuracy on the test photos' classes, and on attributes of catalogues it never saw."""
    figures: Figures = {}
    for name, photos, key, prompts in _questions(sets):
        rows = [i for i, row in enumerate(photos.rows) if row[key] in prompts]
        classes = sorted({photos.rows[i][key] for i in rows})
        means = np.stack([encoder.texts(prompts[c]).mean(0) for c in classes])
        means /= np.linalg.norm(means, axis=1, keepdims=True)
        guess = (encoder.images(photos.pixels[rows]) @ means.T).argmax(1)
        right = np.array([classes.index(photos.rows[i][key]) for i in rows])
        figures |= {f"{name}{suffix}": v for suffix, v in accuracies(guess, right).items()}
    return figures


def _questions(
    sets: Mapping[str, Photos],
) -> Iterator[tuple[str, Photos, str, Mapping[str, Sequence[str]]]]:
    """A figure's name, the photos, the column that is asked for, and the prompts of its values."""
    photos = sets["photos"]
    yield "photos", photos, "class", {row["class"]: (row["caption"],) for row in photos.rows}
    if luma := sets.get("luma"):
        colors = {c: [f"a photo of a {c} {type_}" for type_ in TYPES] for c in COLORS}
        yield "luma_color", luma, "color", colors
        yield "luma_category", luma, "category", _prompts(CATEGORIES)
    if grocery := sets.get("grocery"):
        yield "grocery_group", grocery, "group", _prompts(GROUPS)


def _prompts(words: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    return {name: [f"a photo of a {word}" for word in words[name]] for name in words}


def accuracies(guess: np.ndarray, right: np.ndarray) -> Figures:
    """Share of right guesses, its mean over classes, and two baselines.

    They are a blind guess and the most frequent class.
    """
    classes = np.unique(right)
    return {
        "": (guess == right).mean(),
        "_balanced": np.mean([(guess[right == k] == k).mean() for k in classes]),
        "_chance": 1 / len(classes),
        "_majority": max(Counter(right.tolist()).values()) / len(right),
    }
