"""Attribute accuracy: does a drawn image have the attribute that its prompt asks for, by the independent scorer?"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from unidiff_cli.data.captions import fold
from unidiff_cli.errors import WorkError
from unidiff_cli.evaluation.attribute_columns import categories
from unidiff_cli.evaluation.classification import Embed, classify, embed_classes
from unidiff_cli.evaluation.extractors import scorer
from unidiff_cli.evaluation.metrics import Metric
from unidiff_cli.evaluation.results import FigureSpec, PerItem, once
from unidiff_cli.evaluation.statistics import Interval, bootstrap_mean

if TYPE_CHECKING:
    from unidiff_cli.evaluation.eval_set import EvalSet
    from unidiff_cli.evaluation.outputs import ModelOutputs


def asked(prompts: Sequence[str], column: Sequence[str | None]) -> list[str | None]:
    """A prompt's value of an attribute where the prompt says it, as whole words; None where it does not.

    A caption that is silent about the colour asks for none, whatever colour the product has.
    """
    found: list[str | None] = []
    for prompt, value in zip(prompts, column, strict=True):
        said = value is not None and re.search(
            rf"(?<!\w){re.escape(_plain(value))}(?!\w)", _plain(prompt)
        )
        found.append(value if said else None)
    return found


def _plain(text: str) -> str:
    return fold(text).casefold().replace("_", " ").replace("-", " ")


@dataclass(frozen=True)
class Attribute:
    """One attribute of drawn images: which prompts ask for it, and whether the images have it."""

    name: str
    values: tuple[str, ...]
    images: np.ndarray  # (m,) the numbers of the images whose prompts ask
    drawn: np.ndarray  # (m,) 1.0 where the scorer tells the asked value in the drawn image
    real: (
        np.ndarray
    )  # (m',) the same of the real images that gave the prompts: what the scorer can tell at all
    majority: float  # the share of the value asked most often

    @property
    def told(self) -> bool:
        """Whether the scorer tells this attribute of real images better than by always naming one value."""
        return len(self.real) > 0 and float(self.real.mean()) > self.majority


def attribute(
    name: str, column: Sequence[str | None], drawn: np.ndarray, real: np.ndarray, embed: Embed
) -> Attribute:
    """The attribute's outcome for unit embeddings of n drawn images (n, D) and of the first m ≤ n prompts' real
    images (m, D), with the n values that the prompts ask for (None for none), by one scorer's text tower.

    The scorer chooses among the values that are asked for; a tie counts as wrong.
    """
    values = sorted({v for v in column if v is not None})
    images = np.array([i for i, v in enumerate(column) if v is not None], int)
    answers = np.array([values.index(v) for v in column if v is not None], int)
    if len(values) < 2:
        return Attribute(name, tuple(values), images, np.zeros(0), np.zeros(0), 1.0)
    classes = embed_classes(name, values, embed)
    hit = (classify(drawn[images], classes, answers) == answers).astype(float)
    seen = images < len(real)
    known = classify(real[images[seen]], classes, answers[seen]) == answers[seen]
    return Attribute(
        name,
        tuple(values),
        images,
        hit,
        known.astype(float),
        float(np.bincount(answers).max() / len(answers)),
    )


def accuracy(found: Sequence[Attribute], groups: Sequence[object] | None = None) -> Interval:
    """The share of asked attributes that the drawn images have, over all (image, attribute), with its interval.

    An image's attributes are resampled together, or with `groups` (n,) those of a product.
    """
    hits = np.concatenate([a.drawn for a in found])
    of = np.concatenate([a.images for a in found])
    return bootstrap_mean(hits, groups=of if groups is None else [groups[i] for i in of])


class Attributes(Metric):
    """The share of attributes asked for by prompts that the scorer tells in the drawn images."""

    reads: ClassVar[frozenset[str]] = frozenset({"generated_embeds", "real_embeds"})
    figures: ClassVar[Mapping[str, FigureSpec]] = {
        "attributes": FigureSpec(
            "Attribute accuracy of generated images",
            "generation",
            "higher",
            percent=True,
            headline=False,
        )
    }

    def check(self, eval_set: EvalSet) -> None:
        if not self._columns(eval_set):
            raise WorkError(
                "No prompt names an attribute's value, so attributes have nothing to be checked against.",
                "Add a column such as colour whose values the captions use, or leave attributes out.",
            )

    def _columns(self, eval_set: EvalSet) -> dict[str, list[str | None]]:
        """What each prompt asks for, of the attributes of which two values are asked for."""
        rows = eval_set.drawn_rows
        of = {id(row): n for n, row in enumerate(eval_set.rows)}
        found = {}
        for name, column in categories([row.attributes for row in eval_set.rows]).items():
            values = asked(eval_set.prompts, [column[of[id(row)]] for row in rows])
            if len({v for v in values if v is not None}) > 1:
                found[name] = values
        return found

    @once
    def found(self, outputs: ModelOutputs) -> list[Attribute]:
        """Every attribute asked for, for the report."""
        drawn, embed = outputs.generated_embeds, scorer().embed_captions
        real = outputs.real_embeds[: len(drawn)]  # real_rows[i] gave prompt i
        return [
            attribute(n, c, drawn, real, embed) for n, c in self._columns(outputs.eval_set).items()
        ]

    def _used(self, outputs: ModelOutputs) -> list[Attribute]:
        found = self.found(outputs)
        return [a for a in found if a.told] or found

    def compute(self, outputs: ModelOutputs) -> dict[str, float]:
        return {"attributes": float(np.concatenate([a.drawn for a in self._used(outputs)]).mean())}

    def references(self, outputs: ModelOutputs) -> dict[str, dict[str, float]]:
        used = self._used(outputs)
        real, sizes = np.concatenate([a.real for a in used]), [len(a.drawn) for a in used]
        level = float(np.average([1 / len(a.values) for a in used], weights=sizes))
        return {"chance": {"attributes": level}} | (
            {"real": {"attributes": float(real.mean())}} if len(real) else {}
        )

    def per_item(self, outputs: ModelOutputs) -> dict[str, PerItem]:
        used, groups = self._used(outputs), [row.group for row in outputs.eval_set.drawn_rows]
        return {
            "attributes": PerItem(
                np.concatenate([a.drawn for a in used]),
                [groups[i] for a in used for i in a.images],
            )
        }

    def details(self, outputs: ModelOutputs) -> dict[str, Any]:
        return {
            a.name: {
                "drawn": float(a.drawn.mean()),
                "real": float(a.real.mean()) if len(a.real) else None,
                "asked": len(a.drawn),
            }
            for a in self.found(outputs)
        }

    def notes(self, outputs: ModelOutputs) -> list[str]:
        found = self.found(outputs)
        said = [
            f"{a.name}: {100 * a.drawn.mean():.1f} % of {len(a.drawn):,} drawn images as asked, by {scorer().name}, which is "
            f"right about {100 * a.real.mean():.1f} % of the real ones (most frequent value: {100 * a.majority:.1f} %)."
            for a in found
            if len(a.real)
        ]
        if blind := [a.name for a in found if not a.told]:
            names = ", ".join(blind)
            part = "left out" if len(blind) < len(found) else "of little worth"
            said.append(
                f"The scorer does not tell {names} of real images better than one constant answer: {part}."
            )
        return said
