"""Near copies: generated images that lie closer to a training image than new real images do.

Somepalli et al., arXiv 2212.03860, look for copies the same way.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from unidiff_cli.errors import WorkError
from unidiff_cli.evaluation.extractors import scorer
from unidiff_cli.evaluation.metrics import Metric
from unidiff_cli.evaluation.results import PerItem
from unidiff_cli.evaluation.statistics import wilson
from unidiff_cli.reports.schema import Details, FigureSpec, NearCopy

if TYPE_CHECKING:
    from unidiff_cli.evaluation.eval_set import EvalSet
    from unidiff_cli.evaluation.outputs import ModelOutputs

# The share of new real images that may be nearer than the threshold.
SHARE = 0.01
# Cosines in memory at once.
BLOCK = 2**22
# Pairs in the report's details.
PAIRS = 12


def nearest(images: np.ndarray, training: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The cosine to, and the number of, the nearest training image of each image: (n,), (n,).

    Unit embeddings (n, D) and (T, D).
    """
    cosine, number = np.empty(len(images)), np.empty(len(images), int)
    rows = max(1, BLOCK // max(1, len(training)))
    for start in range(0, len(images), rows):
        scores = images[start : start + rows] @ training.T  # (b, T)
        best = scores.argmax(axis=1)
        number[start : start + rows] = best
        cosine[start : start + rows] = scores[np.arange(len(best)), best]
    return cosine, number


def threshold(held_out: np.ndarray, share: float = SHARE) -> float:
    """The cosine that a new real image's nearest training image exceeds with at most `share`.

    The ⌈(n+1)(1−share)⌉-th smallest of the held-out images' n nearest cosines: a split-conformal
    bound, right for any n (Vovk et al., Algorithmic Learning in a Random World). inf where
    n < 1/share − 1: too few to say.
    """
    place = ceil((len(held_out) + 1) * (1 - share) - 1e-9)
    return float(np.sort(held_out)[place - 1]) if place <= len(held_out) else float("inf")


@dataclass(frozen=True)
class Copies:
    """The generated images above the threshold.

    `threshold` is a cosine; at most a `share` of new real images is above it too. `pairs` are
    (generated image, training image, cosine), the nearest first, of `generated` images.
    """

    threshold: float
    share: float
    pairs: list[tuple[int, int, float]]
    generated: int

    @property
    def rate(self) -> float:
        """The share of generated images above the threshold."""
        return len(self.pairs) / self.generated

    @property
    def more_than_chance(self) -> bool:
        """Whether even the low end of the rate's interval is above that of new real images."""
        low = wilson(len(self.pairs), self.generated).low
        return low is not None and low > self.share


def find_copies(
    generated: np.ndarray, training: np.ndarray, held_out: np.ndarray, share: float = SHARE
) -> Copies:
    """The generated images (n, D) that are closer to one of (T, D) than held-out ones (R, D) are.

    Unit embeddings. The held-out images must be of products (and near-duplicate groups) that were
    not trained on, and embedded the same way. With fewer than `1/share` − 1 of them `share` grows
    to 1/(R + 1), the least that they can tell.
    """
    share = max(share, 1 / (len(held_out) + 1))
    limit = threshold(nearest(held_out, training)[0], share)
    cosine, number = nearest(generated, training)
    above = np.flatnonzero(cosine > limit)
    order = above[np.argsort(-cosine[above], kind="stable")]
    pairs = [(int(i), int(number[i]), float(cosine[i])) for i in order]
    return Copies(limit, share, pairs, len(generated))


class NearCopies(Metric):
    """The share of generated images closer to a training image than 99 % of new real images are."""

    place: ClassVar[int] = 120
    needs_generated_images: ClassVar[bool] = True
    figures: ClassVar[Mapping[str, FigureSpec]] = {
        "near_copies": FigureSpec(
            "Near copies", "generation", "lower", percent=True, headline=False
        )
    }

    def check(self, eval_set: EvalSet) -> None:
        if eval_set.evaluate.split == "train":
            raise WorkError(
                "Near copies need real images that were not trained on, "
                "and evaluate.split is train.",
                "Take another split, or leave near_copies out.",
            )
        if not eval_set.train_rows:
            raise WorkError(
                "Near copies are searched among training images, and the catalogue has none.",
                "Give train a share in prepare.splits, or leave near_copies out.",
            )

    def copies(self, outputs: ModelOutputs) -> Copies:
        """The generated images that are near copies."""
        return outputs.remember(
            self,
            "copies",
            lambda: find_copies(
                outputs.generated_embeds, self._training_embeds(outputs), outputs.real_embeds
            ),
        )

    def _training_embeds(self, outputs: ModelOutputs) -> np.ndarray:
        """Scorer embeddings of training images, unit, (T, D); one for a model and its base."""
        first = outputs.base_outputs or outputs
        rows = outputs.eval_set.training_sample
        return first.remember(
            self, "training", lambda: first.row_features(rows, "training images").embeds
        )

    def compute(self, outputs: ModelOutputs) -> dict[str, float]:
        return {"near_copies": self.copies(outputs).rate}

    def references(self, outputs: ModelOutputs) -> dict[str, dict[str, float]]:
        return {"real": {"near_copies": self.copies(outputs).share}}

    def per_item(self, outputs: ModelOutputs) -> dict[str, PerItem]:
        copied = np.zeros(len(outputs.generated_embeds))
        copied[[image for image, _, _ in self.copies(outputs).pairs]] = 1
        groups = [row.group for row in outputs.eval_set.generated_rows]
        return {"near_copies": PerItem(copied, groups)}

    def details(self, outputs: ModelOutputs) -> Details:
        return Details(
            near_copies=[
                NearCopy(generated=generated, training=training, cosine=cosine)
                for generated, training, cosine in self.copies(outputs).pairs[:PAIRS]
            ]
        )

    def notes(self, outputs: ModelOutputs) -> list[str]:
        copies, eval_set, judge = self.copies(outputs), outputs.eval_set, scorer()
        searched, total = len(eval_set.training_sample), len(eval_set.train_rows)
        among = f"{searched:,}" + (f" of {total:,}" if searched < total else "")
        outcome = (
            "More than chance makes: look at the pairs."
            if copies.more_than_chance
            else "No more than chance makes."
        )
        return [
            f"{len(copies.pairs):,} of {copies.generated:,} generated images are nearer than a "
            f"cosine of {copies.threshold:.3f} to one of {among} training images, by {judge.name}; "
            f"of new real images {100 * copies.share:.1f} % are.",
            f"{outcome} The scorer sees {judge.image_size} px: "
            "a close pair is a question, not a proof.",
        ]
