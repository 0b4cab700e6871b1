"""How like generated images are to renderings, and whether they copy what was learned from."""

from pathlib import Path

import numpy as np
import torch

from pretraining.images import Images
from pretraining.measures.encoders import Encoder
from pretraining.measures.inputs import renderings, sheet
from pretraining.measures.targets import Figures
from pretraining.photos import VIEWS
from unidiff_cli.evaluation.metrics.kid import kernel_distance


def distance(
    scorer: Encoder, generated: np.ndarray, real: np.ndarray, other: np.ndarray
) -> Figures:
    """KID of generated images against unseen renderings, by the scorer's features.

    Beside it that of `other`, as many unseen renderings again.
    """
    reference = scorer.features(real)
    rng = np.random.RandomState(0)
    return {
        "kid": kernel_distance(reference, scorer.features(generated), rng),
        "kid_real": kernel_distance(reference, scorer.features(other), rng),
    }


def training_images(training: Path | None, renders: int, size: int) -> np.ndarray:
    """What the training arrays show the denoiser, (N, size, size, 3) uint8.

    Without them, the first renderings again.
    """
    if training is None:
        return renderings(range(renders), size)[0]
    others = ("unseen", "test", "large")
    files = sorted(f for f in training.glob("*.npy") if not f.stem.endswith(others))
    sets = [Images.load(file.with_suffix("")).pixels[:, :VIEWS] for file in files]
    return np.concatenate([np.concatenate(np.moveaxis(views, 1, 0)) for views in sets])


def copies(
    scorer: Encoder, generated: np.ndarray, real: np.ndarray, learned: np.ndarray, out: Path
) -> Figures:
    """How near generated images come to the training images, beside how near unseen renderings do.

    By the scorer's embedding (1 - cosine) and by pixels (root mean square at 32 px, 0..1), of the
    image or its mirror image, as training mirrors. A model that copies is nearer than unseen
    renderings are, at the low quantiles. copies.png shows the 8 nearest pairs by pixels.
    """
    figures: Figures = {}
    references = scorer.images(learned)
    for name, pixels in (("generated", generated), ("unseen", real)):
        # Each image beside its mirror image.
        both = np.stack((pixels, pixels[:, :, ::-1]), 1).reshape(-1, *pixels.shape[1:])
        cosine = (scorer.images(both) @ references.T).max(1).reshape(-1, 2).max(1)
        gap, where = nearest_pixels(both, learned)
        side = gap.reshape(-1, 2).argmin(1)
        gap, where = (a.reshape(-1, 2)[np.arange(len(pixels)), side] for a in (gap, where))
        for q in (1, 5, 50):
            figures[f"{name}_feature_gap_q{q}"] = np.percentile(1 - cosine, q)
            figures[f"{name}_pixel_gap_q{q}"] = np.percentile(gap, q)
        figures[f"{name}_pixel_gap_least"] = gap.min()
        if name == "generated":
            worst = gap.argsort()[:8]
            pairs = np.concatenate((pixels[worst], learned[where[worst]]))
            words = [f"generated, {gap[i]:.3f}" for i in worst]
            words += ["nearest it learned from"] * len(worst)
            sheet(pairs, words, len(worst)).save(out / "copies.png")
    return figures


def nearest_pixels(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each image of `x` (N, S, S, 3) uint8 the nearest of `y`: how far, and which it is.

    Root mean square, 0..1, between both at 32 px: a copy that is a pixel aside or a little softer
    is a copy, and it takes a fraction of the time.
    """
    small = _small(x)
    best, where = torch.full((len(x),), torch.inf), torch.zeros(len(x), dtype=torch.long)
    for i in range(0, len(y), 2048):
        part = _small(y[i : i + 2048])
        square = small.square().sum(1)[:, None] + part.square().sum(1) - 2 * small @ part.t()
        low, at = square.min(1)
        where = torch.where(low < best, at + i, where)
        best = torch.minimum(low, best)
    return (best.clamp(min=0) / small.shape[1]).sqrt().numpy(), where.numpy()


def _small(images: np.ndarray) -> torch.Tensor:
    """Images at 32 px as rows, (N, 3072) in 0..1."""
    z = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float().div_(255)
    return torch.nn.functional.adaptive_avg_pool2d(z, 32).flatten(1)
