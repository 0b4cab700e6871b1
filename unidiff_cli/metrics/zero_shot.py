"""Zero-shot classification (Radford et al., arXiv 2103.00020, 3.1): can the model name a picture's attributes, among
the values that the catalogue has, without having been trained on them as classes?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..errors import WorkError
from ..project import digest
from . import Figure, Items, Metric, once, same
from ._statistics import Interval, bootstrap_mean

if TYPE_CHECKING:
    from ._evidence import Evidence, HeldOut

TEMPLATES = ("{value}", "a photo of a {value}", "a {value} product", "{attribute}: {value}")
FEWEST, MOST, LEAST = 2, 50, 5  # values of an attribute, and pictures of each value
LONGEST = 40  # characters of a value: what is longer describes
Embed = Callable[[list[str]], np.ndarray]  # captions -> unit embeddings (n, D)


def categories(rows: Sequence[Mapping[str, Any]], least: int = LEAST) -> dict[str, list[str | None]]:
    """Which columns are attributes, and each row's value (None where it has none or a rare one), by column.

    An attribute is text and has 2 to 50 values of 40 characters at most with at least `least` rows each, which make up half
    of the rows: so a colour is one; a title, a description, a price and a file name are none. Values that differ in case
    and blanks only are one, spelled as it is first.
    """
    found = {}
    for name in dict.fromkeys(key for row in rows for key in row):
        cells = [row.get(name) for row in rows]
        texts = [cell.strip() if isinstance(cell, str) else "" for cell in cells]
        spelled: dict[str, str] = {}
        values = [spelled.setdefault(same(text), text) if text else None for text in texts]
        counts = Counter(v for v in values if v is not None and len(v) <= LONGEST)
        kept = {v for v, count in counts.items() if count >= least}
        column = [v if v in kept else None for v in values]
        if FEWEST <= len(kept) <= MOST and 2 * sum(v is not None for v in column) >= len(rows):
            found[name] = column
    return found


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


def classify(images: np.ndarray, classes: np.ndarray, answers: np.ndarray | None = None) -> np.ndarray:
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
    """How often a picture of class i was told to be class j: counts (K, K), true classes down, told ones across."""

    matrix: np.ndarray
    values: tuple[str, ...]

    @property
    def accuracy(self) -> float:
        return float(np.trace(self.matrix) / self.matrix.sum())

    @property
    def recalls(self) -> np.ndarray:
        """The share of each class that is told right, (K,); nan for a class without pictures."""
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
    """One attribute, told: `rows` (n,) are the pictures that have a value, the rest is theirs."""

    rows: np.ndarray
    answers: np.ndarray  # (n,) true classes
    told: np.ndarray  # (n,)
    confusion: Confusion

    @property
    def hits(self) -> np.ndarray:
        """1.0 where it was told right, (n,): what paired tests compare."""
        return (self.answers == self.told).astype(float)


def tell(images: np.ndarray, attribute: str, column: Sequence[str | None], embed: Embed) -> Told:
    """What a model tells of an attribute: unit embeddings (N, D) and each picture's value, None for none."""
    values = sorted({v for v in column if v is not None})
    rows = np.array([n for n, v in enumerate(column) if v is not None])
    answers = np.array([values.index(v) for v in column if v is not None])
    told = classify(images[rows], embed_classes(attribute, values, embed), answers)
    return Told(rows, answers, told, confusion(answers, told, values))


def accuracy(told: Told, groups: Sequence[object] | None = None) -> Interval:
    """The accuracy with its interval; `groups` are those of all N pictures, resampled whole."""
    mine = None if groups is None else [groups[n] for n in told.rows]
    return bootstrap_mean(told.hits, groups=mine)


class ZeroShot(Metric):
    """How well the model names the attributes of held-out pictures, by prompts for the values that the catalogue has."""

    reads: ClassVar[frozenset[str]] = frozenset({"image_embeds"})
    figures: ClassVar[Mapping[str, Figure]] = {
        "zero_shot": Figure("Zero-shot accuracy", "retrieval", "higher", percent=True, headline=False),
        "zero_shot_balanced": Figure(
            "Zero-shot, mean of classes", "retrieval", "higher", percent=True, headline=False
        ),
    }

    def refuse(self, held: HeldOut) -> None:
        if not self._columns(held):
            raise WorkError(
                f"zero_shot needs an attribute of {FEWEST} to {MOST} values with {LEAST} pictures each, and the "
                f"{held.evaluate.split} split has none.",
                "Add a column such as colour or category to the catalogue, or leave zero_shot out.",
            )

    @once
    def told(self, evidence: Evidence) -> dict[str, Told]:
        """What the model tells of each attribute, confusion included, for the report."""
        found = {}
        for name, column in self._columns(evidence.held).items():
            embed = partial(
                evidence.captions, f"class_{digest(name)}"
            )  # an attribute may be named like no file
            found[name] = tell(evidence.image_embeds, name, column, embed)
        return found

    def _columns(self, held: HeldOut) -> dict[str, list[str | None]]:
        return categories([row.attributes for row in held.rows])

    def compute(self, evidence: Evidence) -> dict[str, float]:
        found = [each.confusion for each in self.told(evidence).values()]
        return {
            "zero_shot": float(np.mean([c.accuracy for c in found])),
            "zero_shot_balanced": float(np.mean([c.balanced for c in found])),
        }

    def references(self, evidence: Evidence) -> dict[str, dict[str, float]]:
        columns = self._columns(evidence.held).values()
        counts = [Counter(v for v in column if v is not None) for column in columns]
        level = float(np.mean([1 / len(c) for c in counts]))
        return {"chance": {"zero_shot": level, "zero_shot_balanced": level}}

    def items(self, evidence: Evidence) -> dict[str, Items]:
        """Every attribute weighs the same, whatever share of the pictures has it."""
        told = list(self.told(evidence).values())
        return {
            "zero_shot": Items(
                np.concatenate([each.hits for each in told]),
                [evidence.held.groups[n] for each in told for n in each.rows],
                np.concatenate([np.full(len(each.rows), 1 / len(each.rows)) for each in told]),
            )
        }

    def shows(self, evidence: Evidence) -> dict[str, Any]:
        return {
            name: {"matrix": each.confusion.matrix.tolist(), "values": list(each.confusion.values), "accuracy": each.confusion.accuracy,
                   "balanced": each.confusion.balanced, "majority": each.confusion.majority}
            for name, each in self.told(evidence).items()
        }  # fmt: skip

    def notes(self, evidence: Evidence) -> list[str]:
        said = []
        for name, each in self.told(evidence).items():
            c = each.confusion
            said.append(
                f"{name}: {100 * c.accuracy:.1f} % right over {len(each.rows):,} pictures and {len(c.values)} values, "
                f"{100 * c.balanced:.1f} % as the mean of values; always naming the most frequent is {100 * c.majority:.1f} %."
            )
        return said
