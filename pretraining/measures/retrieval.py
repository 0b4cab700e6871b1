"""Retrieval among unseen renderings, both ways, and what a perfect reader would reach."""

import random
from collections.abc import Sequence

import numpy as np

from pretraining.measures.encoders import Encoder
from pretraining.measures.targets import Figures
from pretraining.renderings import UNSEEN_SEED, look_of
from unidiff_cli.sample_catalog.captions import (
    PATTERN_WORDS,
    SETTING_WORDS,
    SLEEVE_WORDS,
    VIEW_WORDS,
)


def retrieval(encoder: Encoder, pixels: np.ndarray, captions: Sequence[str]) -> Figures:
    """Recall at 1, 5 and 10 of captions and images (N, S, S, 3) uint8, both ways."""
    scores = encoder.texts(captions) @ encoder.images(pixels).T
    figures: Figures = {"reader_r@1": perfect_reader(captions)}
    for direction, s in (("text_to_image", scores), ("image_to_text", scores.T)):
        figures |= {f"{direction}_r@{k}": share for k, share in recall(s).items()}
    return figures | {"drawings": len(pixels)}


def perfect_reader(captions: Sequence[str]) -> float:
    """R@1 of a reader that sees every attribute a caption of the unseen renderings names.

    Many renderings fit one caption; the reader picks one of them at random, so 1/how many,
    averaged. Audiences cannot be seen and count for nothing.
    """
    looks = [look_of(random.Random(UNSEEN_SEED + i)) for i in range(len(captions))]
    words = {
        "pattern": PATTERN_WORDS,
        "sleeve": {k: (v,) for k, v in SLEEVE_WORDS.items()},
        "setting": SETTING_WORDS,
        "view": {k: (v,) for k, v in VIEW_WORDS.items()},
        "length": {look.length: (look.length,) for look in looks},
        "neckline": {look.neckline: (look.neckline,) for look in looks},
    }
    shares = []
    for look, text in zip(looks, captions, strict=True):
        named = [
            field
            for field, values in words.items()
            if any(word and word in text for word in values[getattr(look, field)])
        ]
        fields = ("type", "color", *named)
        fits = sum(all(getattr(o, f) == getattr(look, f) for f in fields) for o in looks)
        shares.append(1 / fits)
    return float(np.mean(shares))


def recall(scores: np.ndarray, ks: Sequence[int] = (1, 5, 10)) -> dict[int, float]:
    """Share of rows whose right column (the diagonal) is among the k best.

    A tie counts against it.
    """
    rank = (scores >= np.diag(scores)[:, None]).sum(1)
    return {k: float((rank <= k).mean()) for k in ks}
