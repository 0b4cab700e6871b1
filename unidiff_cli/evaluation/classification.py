"""Zero-shot classification: the class whose prompts are nearest to an image's embedding."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from unidiff_cli.data.attributes import MAX_VALUES, MIN_ROWS, MIN_VALUES
from unidiff_cli.data.prompts import load_prompts
from unidiff_cli.errors import WorkError
from unidiff_cli.evaluation.results import PerItem
from unidiff_cli.reports.schema import ConfusionMatrix

TEMPLATES = load_prompts().class_prompts
# Captions -> unit embeddings (n, D).
Embed = Callable[[list[str]], np.ndarray]


def class_prompts(
    attribute: str, values: Sequence[str], templates: Sequence[str] = TEMPLATES
) -> list[list[str]]:
    """The prompts of each value: K lists with one prompt for each template."""
    name = attribute.replace("_", " ")
    return [[t.format(attribute=name, value=value) for t in templates] for value in values]


def class_embeds(embeds: np.ndarray) -> np.ndarray:
    """A unit vector for each class, (K, D): the normalised mean of its prompts' unit embeddings.

    `embeds` is (K, T, D) for K classes and T prompts of each.
    """
    mean = embeds.astype(np.float64).mean(axis=1)
    return mean / np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), 1e-12)


def embed_classes(attribute: str, values: Sequence[str], embed: Embed) -> np.ndarray:
    """`class_embeds` of an attribute's values, (K, D), by any text tower."""
    prompts = class_prompts(attribute, values)
    flat = embed([prompt for each in prompts for prompt in each])
    return class_embeds(flat.reshape(len(values), -1, flat.shape[1]))


def classify(images: np.ndarray, classes: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The nearest class of unit embeddings (N, D) among (K, D), int (N,).

    Cosines are rounded to 6 decimals; a tie with the true class `labels` (N,) counts as wrong.
    """
    scores = np.round(images.astype(np.float64) @ classes.T, 6)
    scores = np.where(np.isfinite(scores), scores, -np.inf)
    scores[np.arange(len(scores)), labels] -= 5e-7
    return scores.argmax(axis=1)


@dataclass(frozen=True)
class Confusion:
    """Counts of images by true class (down) and predicted class (across), `matrix` (K, K)."""

    matrix: np.ndarray
    values: tuple[str, ...]

    @property
    def accuracy(self) -> float:
        """The share of images that are predicted right."""
        return float(np.trace(self.matrix) / self.matrix.sum())

    @property
    def recalls(self) -> np.ndarray:
        """The share of each class that is predicted right, (K,); nan for a class without images."""
        with np.errstate(invalid="ignore"):
            return np.diag(self.matrix) / self.matrix.sum(axis=1)

    @property
    def balanced(self) -> float:
        """Balanced accuracy: the mean of `recalls`, so that a frequent class weighs no more."""
        return float(np.nanmean(self.recalls))

    @property
    def chance(self) -> float:
        """The accuracy of a guess, and the balanced accuracy of any constant answer: 1/K."""
        return 1 / len(self.matrix)

    def as_detail(self, title: str) -> ConfusionMatrix:
        """The matrix for a report."""
        return ConfusionMatrix(
            title=title,
            caption="Each true value (down) by predicted value (across), in %.",
            labels=list(self.values),
            counts=self.matrix.tolist(),
        )

    @property
    def majority(self) -> float:
        """The accuracy of always naming the most frequent class."""
        return float(self.matrix.sum(axis=1).max() / self.matrix.sum())


def confusion(labels: np.ndarray, predicted: np.ndarray, values: Sequence[str]) -> Confusion:
    """The confusion of true (N,) and predicted (N,) classes, which are numbers into `values`."""
    k = len(values)
    counts = np.bincount(labels * k + predicted, minlength=k * k)
    return Confusion(counts.reshape(k, k), tuple(values))


@dataclass(frozen=True)
class Predictions:
    """The predicted values of one attribute.

    `rows` (n,) are the numbers of the images that have a value, `labels` (n,) their true classes,
    `predicted` (n,) the predicted ones.
    """

    rows: np.ndarray
    labels: np.ndarray
    predicted: np.ndarray
    confusion: Confusion

    @property
    def hits(self) -> np.ndarray:
        """1.0 where the prediction is right, (n,)."""
        return (self.labels == self.predicted).astype(float)


def check_attributes(columns: Mapping[str, Any], metric: str, split: str) -> None:
    """Raises WorkError where a split has no attribute to measure a metric on."""
    if not columns:
        raise WorkError(
            f"{metric} needs an attribute of {MIN_VALUES} to {MAX_VALUES} values with "
            f"{MIN_ROWS} images each, and the {split} split has none.",
            f"Add a column such as colour or category to the catalogue, or leave {metric} out.",
        )


def number_values(
    column: Sequence[str | None],
) -> tuple[list[str], np.ndarray, np.ndarray]:
    """The distinct values, the numbers (n,) of the images that have one, and their classes (n,)."""
    values = sorted({v for v in column if v is not None})
    rows = np.array([n for n, v in enumerate(column) if v is not None], int)
    labels = np.array([values.index(v) for v in column if v is not None], int)
    return values, rows, labels


def predict(
    images: np.ndarray, attribute: str, column: Sequence[str | None], embed: Embed
) -> Predictions:
    """Predicts an attribute of N images from unit embeddings (N, D).

    `column` has each image's value, None for none.
    """
    values, rows, labels = number_values(column)
    predicted = classify(images[rows], embed_classes(attribute, values, embed), labels)
    return Predictions(rows, labels, predicted, confusion(labels, predicted, values))


def pooled_hits(predictions: Iterable[Predictions], groups: Sequence[str]) -> PerItem:
    """The hits of all attributes; `groups` are those of the images that `rows` number.

    Every attribute weighs the same, whatever share of the images has it.
    """
    predictions = list(predictions)
    return PerItem(
        np.concatenate([each.hits for each in predictions]),
        [groups[n] for each in predictions for n in each.rows],
        np.concatenate([np.full(len(each.rows), 1 / len(each.rows)) for each in predictions]),
    )
