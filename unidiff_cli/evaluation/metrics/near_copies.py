"""Near copies: drawn images that lie closer to a training image than new real images do (Somepalli et al., arXiv
2212.03860, look for copies the same way)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from unidiff_cli.errors import WorkError
from unidiff_cli.evaluation.extractors import scorer
from unidiff_cli.evaluation.metrics import Metric
from unidiff_cli.evaluation.results import FigureSpec, PerItem, once
from unidiff_cli.evaluation.statistics import wilson

if TYPE_CHECKING:
    from unidiff_cli.evaluation.eval_set import EvalSet
    from unidiff_cli.evaluation.outputs import ModelOutputs


SHARE = 0.01  # of new real images may be nearer than the threshold
BLOCK = 2**22  # cosines held at once


def nearest(images: np.ndarray, training: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The cosine to, and the number of, the nearest of unit embeddings (T, D) for each of (n, D): (n,), (n,)."""
    cosine, number = np.empty(len(images)), np.empty(len(images), int)
    rows = max(1, BLOCK // max(1, len(training)))
    for start in range(0, len(images), rows):
        scores = images[start : start + rows] @ training.T  # (b, T)
        best = scores.argmax(axis=1)
        number[start : start + rows] = best
        cosine[start : start + rows] = scores[np.arange(len(best)), best]
    return cosine, number


def threshold(held_out: np.ndarray, share: float = SHARE) -> float:
    """The cosine that a new real image's nearest training image exceeds with a chance of at most `share`.

    The ⌈(n+1)(1−share)⌉-th smallest of the held-out images' n nearest cosines: a split-conformal bound, right for
    any n (Vovk et al., Algorithmic Learning in a Random World). inf where n < 1/share − 1: too few to say.
    """
    place = ceil((len(held_out) + 1) * (1 - share) - 1e-9)
    return float(np.sort(held_out)[place - 1]) if place <= len(held_out) else float("inf")


@dataclass(frozen=True)
class Copies:
    """The drawn images above the threshold, and what it was calibrated on."""

    threshold: float  # a cosine
    share: float  # of new real images, at most, are above it too
    pairs: list[
        tuple[int, int, float]
    ]  # drawn image, training image, cosine; the nearest pair first
    drawn: int
    held_out: int

    @property
    def rate(self) -> float:
        """The share of drawn images above the threshold."""
        return len(self.pairs) / self.drawn

    @property
    def more_than_chance(self) -> bool:
        """Whether even the low end of the rate's interval is above what new real images have."""
        return wilson(len(self.pairs), self.drawn).low > self.share


def near_copies(
    drawn: np.ndarray, training: np.ndarray, held_out: np.ndarray, share: float = SHARE
) -> Copies:
    """Which of unit embeddings (n, D) of drawn images are too close to one of (T, D), by how close (R, D) are.

    The held-out images must be of products (and near-duplicate groups) that were not trained on, and embedded the
    same way; so many of them as `1/share` − 1, or `share` grows to 1/(R + 1), the least they can tell.
    """
    share = max(share, 1 / (len(held_out) + 1))
    limit = threshold(nearest(held_out, training)[0], share)
    cosine, number = nearest(drawn, training)
    above = np.flatnonzero(cosine > limit)
    order = above[np.argsort(-cosine[above], kind="stable")]
    pairs = [(int(i), int(number[i]), float(cosine[i])) for i in order]
    return Copies(limit, share, pairs, len(drawn), len(held_out))


class NearCopies(Metric):
    """The share of drawn images that lie closer to a training image than 99 % of new real images do."""

    reads: ClassVar[frozenset[str]] = frozenset(
        {"generated_embeds", "real_embeds", "training_embeds"}
    )
    figures: ClassVar[Mapping[str, FigureSpec]] = {
        "near_copies": FigureSpec(
            "Near copies", "generation", "lower", percent=True, headline=False
        )
    }

    def check(self, eval_set: EvalSet) -> None:
        if eval_set.evaluate.split == "train":
            raise WorkError(
                "Near copies are told by images that were not trained on, and evaluate.split is train.",
                "Take another split, or leave near_copies out.",
            )
        if not eval_set.trained:
            raise WorkError(
                "Near copies are looked for among training images, and the catalogue has none.",
                "Give train a share in prepare.splits, or leave near_copies out.",
            )

    @once
    def found(self, outputs: ModelOutputs) -> Copies:
        """The pairs, for the report to show side by side."""
        return near_copies(outputs.generated_embeds, outputs.training_embeds, outputs.real_embeds)

    def compute(self, outputs: ModelOutputs) -> dict[str, float]:
        return {"near_copies": self.found(outputs).rate}

    def references(self, outputs: ModelOutputs) -> dict[str, dict[str, float]]:
        return {"real": {"near_copies": self.found(outputs).share}}

    def per_item(self, outputs: ModelOutputs) -> dict[str, PerItem]:
        found, copied = self.found(outputs), np.zeros(len(outputs.generated_embeds))
        copied[[drawn for drawn, _, _ in found.pairs]] = 1
        return {"near_copies": PerItem(copied, [row.group for row in outputs.eval_set.drawn_rows])}

    def details(self, outputs: ModelOutputs) -> dict[str, Any]:
        found = self.found(outputs)
        return {
            "threshold": found.threshold if np.isfinite(found.threshold) else None,
            "pairs": found.pairs[:12],
        }

    def notes(self, outputs: ModelOutputs) -> list[str]:
        found, eval_set = self.found(outputs), outputs.eval_set
        searched, all_of = len(eval_set.training_rows), len(eval_set.trained)
        among = f"{searched:,}" + (f" of {all_of:,}" if searched < all_of else "")
        said = (
            f"{len(found.pairs):,} of {found.drawn:,} drawn images are nearer than a cosine of {found.threshold:.3f} "
            f"to one of {among} training images, by {scorer().name}; of new real images {100 * found.share:.1f} % are."
        )
        more = (
            "More than chance makes: look at the pairs."
            if found.more_than_chance
            else "No more than chance makes."
        )
        return [
            said,
            f"{more} The scorer sees {scorer().image_size} px: a close pair is a question, not a proof.",
        ]
