"""TODO docstring."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from unidiff_cli.data.prompts import load_prompts

TEMPLATES = load_prompts().class_prompts
Embed = Callable[[list[str]], np.ndarray]  # captions -> unit embeddings (n, D)


def class_prompts(
    attribute: str, values: Sequence[str], templates: Sequence[str] = TEMPLATES
) -> list[list[str]]:
    """The prompts of each value, K lists of one prompt a template."""
    name = attribute.replace("_", " ")
    return [[t.format(attribute=name, value=value) for t in templates] for value in values]


def class_embeds(embeds: np.ndarray) -> np.ndarray:
    """A unit vector for each class, (K, D): the mean of its prompts' unit embeddings (K, T, D), made unit again."""
    middle = embeds.astype(np.float64).mean(axis=1)
    return middle / np.maximum(np.linalg.norm(middle, axis=1, keepdims=True), 1e-12)


def embed_classes(attribute: str, values: Sequence[str], embed: Embed) -> np.ndarray:
    """`class_embeds` of an attribute's values, (K, D), by any text tower."""
    prompts = class_prompts(attribute, values)
    flat = embed([prompt for each in prompts for prompt in each])
    return class_embeds(flat.reshape(len(values), -1, flat.shape[1]))


def classify(
    images: np.ndarray, classes: np.ndarray, answers: np.ndarray | None = None
) -> np.ndarray:
    """The class of unit embeddings (N, D) among (K, D), int (N,): the nearest.

    Cosines are taken to 6 decimals. With `answers` (N,) a tie is told against the model; without, the first class.
    """
    scores = np.round(images.astype(np.float64) @ classes.T, 6)
    scores = np.where(np.isfinite(scores), scores, -np.inf)
    if answers is not None:
        scores[np.arange(len(scores)), answers] -= 5e-7
    return scores.argmax(axis=1)


@dataclass(frozen=True)
class Confusion:
    """How often an image of class i was told to be class j: counts (K, K), true classes down, told ones across."""

    matrix: np.ndarray
    values: tuple[str, ...]

    @property
    def accuracy(self) -> float:
        return float(np.trace(self.matrix) / self.matrix.sum())

    @property
    def recalls(self) -> np.ndarray:
        """The share of each class that is told right, (K,); nan for a class without images."""
        with np.errstate(invalid="ignore"):
            return np.diag(self.matrix) / self.matrix.sum(axis=1)

    @property
    def balanced(self) -> float:
        """The mean over the classes that occur, so that a frequent class weighs no more than a rare one."""
        return float(np.nanmean(self.recalls))

    @property
    def chance(self) -> float:
        """The accuracy of a guess, and the balanced accuracy of any constant answer: 1/K."""
        return 1 / len(self.matrix)

    @property
    def majority(self) -> float:
        """The accuracy of always naming the most frequent class: what accuracy has to beat."""
        return float(self.matrix.sum(axis=1).max() / self.matrix.sum())


def confusion(answers: np.ndarray, told: np.ndarray, values: Sequence[str]) -> Confusion:
    """Counts of true (N,) and told (N,) classes, numbers into `values`."""
    k = len(values)
    return Confusion(np.bincount(answers * k + told, minlength=k * k).reshape(k, k), tuple(values))


@dataclass(frozen=True)
class Told:
    """One attribute, told: `rows` (n,) are the images that have a value, the rest is theirs."""

    rows: np.ndarray
    answers: np.ndarray  # (n,) true classes
    told: np.ndarray  # (n,)
    confusion: Confusion

    @property
    def hits(self) -> np.ndarray:
        """1.0 where it was told right, (n,): what paired tests compare."""
        return (self.answers == self.told).astype(float)


def tell(images: np.ndarray, attribute: str, column: Sequence[str | None], embed: Embed) -> Told:
    """What a model tells of an attribute: unit embeddings (N, D) and each image's value, None for none."""
    values = sorted({v for v in column if v is not None})
    rows = np.array([n for n, v in enumerate(column) if v is not None])
    answers = np.array([values.index(v) for v in column if v is not None])
    told = classify(images[rows], embed_classes(attribute, values, embed), answers)
    return Told(rows, answers, told, confusion(answers, told, values))
