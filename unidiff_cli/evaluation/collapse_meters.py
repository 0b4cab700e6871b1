"""TODO docstring."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

if TYPE_CHECKING:
    pass


CELLS = 2**22  # similarities held at once, 34 MB
TEMPERATURE = 0.1  # of relation drift, as the objective `anchor` has it


def uniformity(x: np.ndarray) -> float:
    """log of the mean of exp(−2‖x_i − x_j‖²) over i < j for unit embeddings (n, D): −4 spread, 0 in one point."""
    x, total = x.astype(np.float64), 0.0
    for start, stop in _blocks(len(x), len(x)):
        near = np.exp(4 * (np.minimum(x[start:stop] @ x.T, 1) - 1))  # ‖a − b‖² = 2 − 2 a·b
        own = np.arange(len(near))
        near[own, own + start] = 0
        total += float(near.sum())
    return float(np.log(total / (len(x) * (len(x) - 1))))


def _blocks(rows: int, columns: int) -> Iterator[tuple[int, int]]:
    """First and last row of blocks of CELLS at most."""
    size = max(1, CELLS // max(1, columns))
    return ((start, min(start + size, rows)) for start in range(0, rows, size))


def alignment(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """‖x_i − y_i‖² of each pair of unit embeddings (n, D), (n, D): (n,); its mean is the alignment, 0 … 4."""
    return ((x.astype(np.float64) - y) ** 2).sum(axis=1)


def effective_rank(x: np.ndarray) -> float:
    """exp(H(σ/Σσ)) of the singular values of (n, D), 1 … min(n, D).

    Uncentred: centring takes away the very point that all embeddings fell into and measures the dust around it.
    """
    x = x.astype(np.float64)
    if not np.isfinite(x).all():
        return float("nan")
    values = np.linalg.eigvalsh(x.T @ x if len(x) > x.shape[1] else x @ x.T)
    sigma = np.sqrt(values[values > values[-1] * len(values) * np.finfo(np.float64).eps])
    share = sigma / sigma.sum()
    return float(np.exp(-(share * np.log(share)).sum()))


def variances(x: np.ndarray) -> np.ndarray:
    """‖x_i − mean‖² of each of (n, D), (n,); the mean is the total variance, 1 − ‖mean‖² for unit embeddings."""
    x = x.astype(np.float64)
    return ((x - x.mean(axis=0)) ** 2).sum(axis=1)


def margin(
    images: np.ndarray, texts: np.ndarray, own: np.ndarray, pairs: np.ndarray | None = None
) -> np.ndarray:
    """x_i·y_own(i) − max over wrong captions x_i·y_c, (N,), for (N, D), distinct captions (C, D) and own (N,).

    Its mean is the margin: above 0 where the right caption is nearer than every wrong one. `pairs` (M, 2) says which
    captions (first) are right for which image (second) besides its own. Captions must be distinct, or a product's
    twin would be the nearest wrong one. Raises ValueError for an image for which no caption is wrong.
    """
    right = np.stack([own, np.arange(len(own))], axis=1)
    right = np.unique(right if pairs is None else np.concatenate([right, pairs]), axis=0)
    right = right[np.argsort(right[:, 1], kind="stable")]
    if np.bincount(right[:, 1]).max() >= len(texts):
        raise ValueError("a margin needs a wrong caption for every image")
    found = np.empty(len(images))
    for start, stop in _blocks(len(images), len(texts)):
        scores = images[start:stop].astype(np.float64) @ texts.T
        mine = scores[np.arange(len(scores)), own[start:stop]]
        first, last = np.searchsorted(right[:, 1], (start, stop))
        scores[right[first:last, 1] - start, right[first:last, 0]] = -np.inf
        found[start:stop] = mine - scores.max(axis=1)
    return found


def retention(accuracy: float, before: float, chance: float) -> float:
    """ρ: what is left of the base's zero-shot accuracy above chance, 1 for all; nan where the base had none."""
    return (accuracy - chance) / (before - chance) if before > chance else float("nan")


def drift(t: np.ndarray, t0: np.ndarray) -> float:
    """1 − mean cos(T(y), T₀(y)) of a tower's outputs and its base's, (n, D) or token states (n, L, D)."""
    a, b = (x.reshape(-1, x.shape[-1]).astype(np.float64) for x in (t, t0))
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return float(1 - ((a * b).sum(axis=1) / np.maximum(norms, 1e-12)).mean())


def nonrigid_drift(t: np.ndarray, t0: np.ndarray) -> float:
    """min over orthogonal Q of ‖TQ − T₀‖²/‖T₀‖²: the part of a drift that is no rotation, which would change nothing.

    (‖T‖² + ‖T₀‖² − 2‖TᵀT₀‖_*)/‖T₀‖², orthogonal Procrustes (Schönemann, Psychometrika 31 (1966) 1), (n, D) or
    (n, L, D). It says little where n ≤ D: then a rotation fits almost anything.
    """
    a, b = (x.reshape(-1, x.shape[-1]).astype(np.float64) for x in (t, t0))
    nuclear = np.linalg.svd(a.T @ b, compute_uv=False).sum()
    return float(max(0.0, ((a**2).sum() + (b**2).sum() - 2 * nuclear) / (b**2).sum()))


def relation_drift(
    images: np.ndarray,
    texts: np.ndarray,
    images0: np.ndarray,
    texts0: np.ndarray,
    temperature: float = TEMPERATURE,
) -> float:
    """½[mean_i KL(P⁰_i ‖ P_i) + the same over captions], nats, for unit (N, D), (M, D) and the base's (D may differ).

    P_i is the softmax of an image's cosines/τ with all captions; as the objective `anchor` has it.
    """

    def one_way(x: np.ndarray, y: np.ndarray, x0: np.ndarray, y0: np.ndarray) -> float:
        total = 0.0
        for some in (slice(*ends) for ends in _blocks(len(x), len(y))):
            now, before = (_log_softmax(a[some] @ b.T / temperature) for a, b in ((x, y), (x0, y0)))
            total += float((np.exp(before) * (before - now)).sum())
        return total / len(x)

    x, y, x0, y0 = (z.astype(np.float64) for z in (images, texts, images0, texts0))
    return (one_way(x, y, x0, y0) + one_way(y, x, y0, x0)) / 2


def _log_softmax(z: np.ndarray) -> np.ndarray:
    z = z - z.max(axis=1, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=1, keepdims=True))


def denoiser_drift(eps: np.ndarray, eps0: np.ndarray) -> float:
    """E‖ε_θ − ε_θ₀‖²/E‖ε_θ₀‖² of predictions for the same latents, timesteps and prompts, any equal shape."""
    a, b = eps.astype(np.float64), eps0.astype(np.float64)
    return float(((a - b) ** 2).sum() / (b**2).sum())


# ---------------------------------------------------------------- one table


def meters(
    images: np.ndarray, texts: np.ndarray, own: np.ndarray, pairs: np.ndarray | None = None
) -> dict[str, float]:
    """The meters of one model's towers: unit (N, D), distinct captions (C, D), each image's caption (N,), and
    which others are its own too, as `margin` has it."""
    return {
        "uniformity_image": uniformity(images),
        "uniformity_text": uniformity(texts),
        "alignment": float(alignment(images, texts[own]).mean()),
        "effective_rank_image": effective_rank(images),
        "effective_rank_text": effective_rank(texts),
        "total_variance_image": float(variances(images).mean()),
        "total_variance_text": float(variances(texts).mean()),
        "margin": float(margin(images, texts, own, pairs).mean()),
    }


class Rule(NamedTuple):
    """When a meter trips: it rises by more, its ratio to the base's is less, or it is itself less or more."""

    compares: Literal["rise", "ratio", "least", "most"]
    limit: float
    words: str


RULES: Mapping[str, Rule] = {  # to start from; calibrated over seeds they may move
    "uniformity_image": Rule("rise", 0.5, "images lie closer together"),
    "uniformity_text": Rule("rise", 0.5, "captions lie closer together"),
    "effective_rank_image": Rule("ratio", 0.7, "images use fewer dimensions"),
    "effective_rank_text": Rule("ratio", 0.7, "captions use fewer dimensions"),
    "retention": Rule("least", 0.9, "zero-shot classes are forgotten"),
    "text_drift": Rule("most", 0.2, "captions mean something else than to the base"),
    "denoiser_drift": Rule("most", 0.2, "the denoiser answers general prompts otherwise"),
    "prompt_sensitivity": Rule("ratio", 0.8, "prompts change the images less"),
}


class Flag(NamedTuple):
    """A meter of both models and whether it tripped. `measure` is what is held against the limit."""

    meter: str
    base: float
    tuned: float
    measure: float
    rule: Rule
    raised: bool


def flags(base: Mapping[str, float], tuned: Mapping[str, float]) -> list[Flag]:
    """A row for each meter that has a rule, of one probe; a measure that is no number trips.

    Retention and drifts hold a model against its base: the base's own are 1 and 0, and need not be given.
    """
    found = []
    for meter, rule in RULES.items():
        if meter not in tuned:
            continue
        own = {"least": 1.0, "most": 0.0}.get(rule.compares, float("nan"))
        before, after = base.get(meter, own), tuned[meter]
        measure = after
        if rule.compares == "rise":
            measure = after - before
        elif rule.compares == "ratio":
            measure = after / before if before else float("nan")
        fine = measure <= rule.limit if rule.compares in ("rise", "most") else measure >= rule.limit
        found.append(Flag(meter, before, after, measure, rule, not fine))
    return found
