"""Collapse meters: whether tuning narrowed what embeddings and generated images can tell apart.

Wang & Isola, arXiv 2005.10242 (uniformity, alignment); Roy & Vetterli, EUSIPCO 2007 (effective
rank); the others as each function says. Meters are taken on the catalogue and on a neutral probe;
`flags` compares a tuned model's meters with its base's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple

import numpy as np

from unidiff_cli.reports.schema import Flag, Probe

# Similarities in memory at once: 34 MB.
CELLS = 2**22
# Of relation drift, as in the objective `anchor`.
TEMPERATURE = 0.1
# What names a meter of the neutral probe: probe_uniformity_image.
PROBE = "probe_"


def uniformity(x: np.ndarray) -> float:
    """log of the mean of exp(−2‖x_i − x_j‖²) over i < j of unit embeddings (n, D).

    −4 where they are spread out, 0 where they are one point.
    """
    x, total = x.astype(np.float64), 0.0
    for start, stop in _blocks(len(x), len(x)):
        # ‖a − b‖² = 2 − 2 a·b
        kernel = np.exp(4 * (np.minimum(x[start:stop] @ x.T, 1) - 1))
        diagonal = np.arange(len(kernel))
        kernel[diagonal, diagonal + start] = 0
        total += float(kernel.sum())
    return float(np.log(total / (len(x) * (len(x) - 1))))


def _blocks(rows: int, columns: int) -> Iterator[tuple[int, int]]:
    """First and last row of blocks of at most CELLS cells."""
    size = max(1, CELLS // max(1, columns))
    return ((start, min(start + size, rows)) for start in range(0, rows, size))


def alignment(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """‖x_i − y_i‖² of each pair of unit embeddings (n, D), (n,); alignment is its mean, 0 … 4."""
    return ((x.astype(np.float64) - y) ** 2).sum(axis=1)


def effective_rank(x: np.ndarray) -> float:
    """exp(H(σ/Σσ)) of the singular values σ of (n, D), 1 … min(n, D).

    Not centred: centring takes away the very point that all embeddings collapsed to, and measures
    the dust around it.
    """
    x = x.astype(np.float64)
    if not np.isfinite(x).all():
        return float("nan")
    values = np.linalg.eigvalsh(x.T @ x if len(x) > x.shape[1] else x @ x.T)
    sigma = np.sqrt(values[values > values[-1] * len(values) * np.finfo(np.float64).eps])
    share = sigma / sigma.sum()
    return float(np.exp(-(share * np.log(share)).sum()))


def variances(x: np.ndarray) -> np.ndarray:
    """‖x_i − mean‖² of each of (n, D), (n,); the total variance is its mean."""
    x = x.astype(np.float64)
    return ((x - x.mean(axis=0)) ** 2).sum(axis=1)


def margin(
    images: np.ndarray, texts: np.ndarray, caption_of: np.ndarray, pairs: np.ndarray | None = None
) -> np.ndarray:
    """x_i·y_c(i) − max over wrong captions x_i·y_c of each image, (N,).

    `images` (N, D), distinct captions `texts` (C, D), and the number of each image's caption
    `caption_of` (N,). The margin is the mean: above 0 where the right caption is nearer than every
    wrong one. `pairs` (M, 2) lists further right captions (first) of an image (second). Captions
    must be distinct, or a product's twin would be the nearest wrong one. Raises ValueError for an
    image for which no caption is wrong.
    """
    right = np.stack([caption_of, np.arange(len(caption_of))], axis=1)
    right = np.unique(right if pairs is None else np.concatenate([right, pairs]), axis=0)
    right = right[np.argsort(right[:, 1], kind="stable")]
    if np.bincount(right[:, 1]).max() >= len(texts):
        raise ValueError("a margin needs a wrong caption for every image")
    margins = np.empty(len(images))
    for start, stop in _blocks(len(images), len(texts)):
        scores = images[start:stop].astype(np.float64) @ texts.T
        right_scores = scores[np.arange(len(scores)), caption_of[start:stop]]
        first, last = np.searchsorted(right[:, 1], (start, stop))
        scores[right[first:last, 1] - start, right[first:last, 0]] = -np.inf
        margins[start:stop] = right_scores - scores.max(axis=1)
    return margins


def retention(accuracy: float, base_accuracy: float, chance: float) -> float:
    """ρ, the share of the base's accuracy above chance that is left, 1 for all.

    nan where the base is not above chance.
    """
    if base_accuracy <= chance:
        return float("nan")
    return (accuracy - chance) / (base_accuracy - chance)


def drift(t: np.ndarray, t0: np.ndarray) -> float:
    """1 − mean cos(T(y), T₀(y)) of a tower's outputs and its base's, (n, D) or (n, L, D)."""
    a, b = (x.reshape(-1, x.shape[-1]).astype(np.float64) for x in (t, t0))
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return float(1 - ((a * b).sum(axis=1) / np.maximum(norms, 1e-12)).mean())


def nonrigid_drift(t: np.ndarray, t0: np.ndarray) -> float:
    """min over orthogonal Q of ‖TQ − T₀‖²/‖T₀‖²: the part of a drift that is not a rotation.

    A rotation of a whole tower changes no cosine. (‖T‖² + ‖T₀‖² − 2‖TᵀT₀‖_*)/‖T₀‖², orthogonal
    Procrustes (Schönemann, Psychometrika 31 (1966) 1), of (n, D) or (n, L, D). It means little
    where n ≤ D: then a rotation fits almost anything.
    """
    a, b = (x.reshape(-1, x.shape[-1]).astype(np.float64) for x in (t, t0))
    nuclear = np.linalg.svd(a.T @ b, compute_uv=False).sum()
    return float(max(0.0, ((a**2).sum() + (b**2).sum() - 2 * nuclear) / (b**2).sum()))


def relation_drift(
    images: np.ndarray,
    texts: np.ndarray,
    base_images: np.ndarray,
    base_texts: np.ndarray,
    temperature: float = TEMPERATURE,
) -> float:
    """½[mean_i KL(P⁰_i ‖ P_i) + the same over captions], in nats.

    P_i is the softmax of image i's cosines/τ with all captions, P⁰_i the base's, as in the
    objective `anchor`. Unit embeddings (N, D), (M, D) and the base's, whose D may differ.
    """

    def one_way(x: np.ndarray, y: np.ndarray, x0: np.ndarray, y0: np.ndarray) -> float:
        total = 0.0
        for block in (slice(*ends) for ends in _blocks(len(x), len(y))):
            now, before = (
                _log_softmax(a[block] @ b.T / temperature) for a, b in ((x, y), (x0, y0))
            )
            total += float((np.exp(before) * (before - now)).sum())
        return total / len(x)

    x, y, x0, y0 = (z.astype(np.float64) for z in (images, texts, base_images, base_texts))
    return (one_way(x, y, x0, y0) + one_way(y, x, y0, x0)) / 2


def _log_softmax(z: np.ndarray) -> np.ndarray:
    z = z - z.max(axis=1, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=1, keepdims=True))


def denoiser_drift(eps: np.ndarray, eps0: np.ndarray) -> float:
    """E‖ε_θ − ε_θ₀‖²/E‖ε_θ₀‖² of predictions for equal inputs, of any equal shape."""
    a, b = eps.astype(np.float64), eps0.astype(np.float64)
    return float(((a - b) ** 2).sum() / (b**2).sum())


def meters(
    images: np.ndarray, texts: np.ndarray, caption_of: np.ndarray, pairs: np.ndarray | None = None
) -> dict[str, float]:
    """The meters of one model's towers, by name; the arguments are those of `margin`."""
    return {
        "uniformity_image": uniformity(images),
        "uniformity_text": uniformity(texts),
        "alignment": float(alignment(images, texts[caption_of]).mean()),
        "effective_rank_image": effective_rank(images),
        "effective_rank_text": effective_rank(texts),
        "total_variance_image": float(variances(images).mean()),
        "total_variance_text": float(variances(texts).mean()),
        "margin": float(margin(images, texts, caption_of, pairs).mean()),
    }


class Rule(NamedTuple):
    """When a meter is flagged: its rise, its ratio to the base's, or itself is beyond the limit."""

    compares: Literal["rise", "ratio", "least", "most"]
    limit: float
    words: str


# First values; calibrated over seeds they may move.
RULES: Mapping[str, Rule] = {
    "uniformity_image": Rule("rise", 0.5, "images lie closer together"),
    "uniformity_text": Rule("rise", 0.5, "captions lie closer together"),
    "effective_rank_image": Rule("ratio", 0.7, "images use fewer dimensions"),
    "effective_rank_text": Rule("ratio", 0.7, "captions use fewer dimensions"),
    "retention": Rule("least", 0.9, "zero-shot classes are forgotten"),
    "text_drift": Rule("most", 0.2, "captions mean something else than to the base"),
    "denoiser_drift": Rule("most", 0.2, "the denoiser predicts otherwise for general prompts"),
    "prompt_sensitivity": Rule("ratio", 0.8, "prompts change the images less"),
}


# The keys of a probe's meters start with this.
PREFIXES: Mapping[Probe, str] = {"catalogue": "", "everyday objects": PROBE}


def flags(
    base: Mapping[str, float], tuned: Mapping[str, float], probe: Probe = "catalogue"
) -> list[Flag]:
    """A flag for each meter of the tuned model on a probe that has a rule.

    A measure that is nan is raised. Retention and drifts compare a model with its base: the base's
    are 1 and 0 and may be missing.
    """
    rows, prefix = [], PREFIXES[probe]
    for meter, rule in RULES.items():
        if prefix + meter not in tuned:
            continue
        default = {"least": 1.0, "most": 0.0}.get(rule.compares, float("nan"))
        before, after = base.get(prefix + meter, default), tuned[prefix + meter]
        measure = after
        if rule.compares == "rise":
            measure = after - before
        elif rule.compares == "ratio":
            measure = after / before if before else float("nan")
        fine = measure <= rule.limit if rule.compares in ("rise", "most") else measure >= rule.limit
        numbers = (_finite(before), after, _finite(measure))
        rows.append(
            Flag(probe, meter, *numbers, rule.compares, rule.limit, rule.words, raised=not fine)
        )
    return rows


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
