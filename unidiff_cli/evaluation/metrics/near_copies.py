"""Near copies: generated images that lie closer to a training image than new real images do.

Somepalli et al., arXiv 2212.03860, look for copies the same way.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import ceil
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from unidiff_cli.config.schema import Evaluate
from unidiff_cli.errors import WorkError
from unidiff_cli.evaluation.image_features import ImageFeatures
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


SPEC = FigureSpec("Near copies", "generation", "lower", percent=True, headline=False)
# The judge that is no extractor.
SCORER = ""


class NearCopies(Metric):
    """The share of generated images closer to a training image than 99 % of new real images are.

    By the scorer's embeddings, and by the features of every extractor that is another network.
    """

    place: ClassVar[int] = 120
    needs_generated_images: ClassVar[bool] = True
    figures: ClassVar[Mapping[str, FigureSpec]] = {"near_copies": SPEC}

    @classmethod
    def specs(cls, evaluate: Evaluate) -> Mapping[str, FigureSpec]:
        others = {
            _key(name): replace(SPEC, label=f"{SPEC.label} by {name}", extractor=name)
            for name in _judges(evaluate)
            if name != SCORER
        }
        return {**cls.figures, **others}

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

    def copies(self, outputs: ModelOutputs, judge: str = SCORER) -> Copies:
        """The generated images that are near copies, by one judge."""

        def find() -> Copies:
            training = self._training(outputs)
            if judge == SCORER:
                generated, real = outputs.generated_embeds, outputs.real_embeds
                return find_copies(generated, training.embeds, real)
            generated, real = outputs.generated_features[judge], outputs.real_features[judge]
            return find_copies(_unit(generated), _unit(training.features[judge]), _unit(real))

        return outputs.remember(self, f"copies.{judge}", find)

    def _by_judge(self, outputs: ModelOutputs) -> dict[str, Copies]:
        return {judge: self.copies(outputs, judge) for judge in _judges(outputs.eval_set.evaluate)}

    def _training(self, outputs: ModelOutputs) -> ImageFeatures:
        """Features of T training images; one for a model and its base."""
        first = outputs.base_outputs or outputs
        rows = outputs.eval_set.training_sample
        return first.remember(self, "training", lambda: first.row_features(rows, "training images"))

    def compute(self, outputs: ModelOutputs) -> dict[str, float]:
        return {_key(judge): copies.rate for judge, copies in self._by_judge(outputs).items()}

    def references(self, outputs: ModelOutputs) -> dict[str, dict[str, float]]:
        shares = {_key(judge): copies.share for judge, copies in self._by_judge(outputs).items()}
        return {"real": shares}

    def per_item(self, outputs: ModelOutputs) -> dict[str, PerItem]:
        groups = [row.group for row in outputs.eval_set.generated_rows]
        items = {}
        for judge, copies in self._by_judge(outputs).items():
            copied = np.zeros(copies.generated)
            copied[[image for image, _, _ in copies.pairs]] = 1
            items[_key(judge)] = PerItem(copied, groups)
        return items

    def details(self, outputs: ModelOutputs) -> Details:
        return Details(
            near_copies=[
                NearCopy(generated=generated, training=training, cosine=cosine, extractor=judge)
                for judge, copies in self._by_judge(outputs).items()
                for generated, training, cosine in copies.pairs[:PAIRS]
            ]
        )

    def notes(self, outputs: ModelOutputs) -> list[str]:
        by_judge = self._by_judge(outputs)
        notes = [note for each in by_judge.items() for note in _notes(outputs.eval_set, *each)]
        return [*notes, "A close pair is a question, not a proof."]


def _notes(eval_set: EvalSet, judge: str, copies: Copies) -> list[str]:
    """What one judge found."""
    network = eval_set.extractors[judge] if judge else eval_set.scorer
    searched, total = len(eval_set.training_sample), len(eval_set.train_rows)
    among = f"{searched:,}" + (f" of {total:,}" if searched < total else "")
    outcome = (
        "More than chance makes: look at the pairs."
        if copies.more_than_chance
        else "No more than chance makes."
    )
    return [
        f"{len(copies.pairs):,} of {copies.generated:,} generated images are nearer than a "
        f"cosine of {copies.threshold:.3f} to one of {among} training images, by {network.name} "
        f"at {network.image_size} px; of new real images {100 * copies.share:.1f} % are. {outcome}"
    ]


def _judges(evaluate: Evaluate) -> list[str]:
    """The scorer, and every extractor that is another network."""
    return [SCORER, *(name for name in evaluate.extractors if name != "nano_scorer")]


def _key(judge: str) -> str:
    return f"near_copies_{judge}" if judge else "near_copies"


def _unit(features: np.ndarray) -> np.ndarray:
    """Features (n, d) scaled to length 1."""
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
