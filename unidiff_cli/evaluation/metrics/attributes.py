"""Attribute accuracy: whether a generated image has the attribute that its prompt names.

The independent scorer judges it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from unidiff_cli.data.attributes import named_values
from unidiff_cli.errors import WorkError
from unidiff_cli.evaluation.classification import Embed, classify, embed_classes, number_values
from unidiff_cli.evaluation.metrics import Metric
from unidiff_cli.evaluation.results import PerItem
from unidiff_cli.reports.schema import Bars, Details, FigureSpec, Interval

if TYPE_CHECKING:
    from unidiff_cli.evaluation.eval_set import EvalSet
    from unidiff_cli.evaluation.outputs import ModelOutputs


@dataclass(frozen=True)
class Attribute:
    """The hits of one attribute.

    `images` (m,) are the numbers of the images whose prompts name a value. `hits` (m,) is 1.0 where
    the scorer predicts that value for the generated image, `real_hits` (m',) the same for the real
    images that gave the prompts. `majority` is the share of the most frequent value.
    """

    name: str
    values: tuple[str, ...]
    images: np.ndarray
    hits: np.ndarray
    real_hits: np.ndarray
    majority: float

    @property
    def recognized(self) -> bool:
        """Whether the scorer is right about real images more often than one constant answer."""
        return len(self.real_hits) > 0 and float(self.real_hits.mean()) > self.majority


def judge_attribute(
    name: str,
    column: Sequence[str | None],
    generated: np.ndarray,
    real: np.ndarray,
    embed: Embed,
) -> Attribute:
    """The hits of an attribute, by one scorer's embeddings.

    Unit embeddings of n generated images (n, D) and of the first m ≤ n prompts' real images (m, D);
    `column` has the n values that the prompts name (None for none). The scorer chooses among the
    values that are named; a tie counts as wrong.
    """
    values, images, labels = number_values(column)
    if len(values) < 2:
        return Attribute(name, tuple(values), images, np.zeros(0), np.zeros(0), 1.0)
    classes = embed_classes(name, values, embed)
    hits = classify(generated[images], classes, labels) == labels
    has_real = images < len(real)
    real_labels = labels[has_real]
    real_hits = classify(real[images[has_real]], classes, real_labels) == real_labels
    majority = float(np.bincount(labels).max() / len(labels))
    return Attribute(
        name, tuple(values), images, hits.astype(float), real_hits.astype(float), majority
    )


class Attributes(Metric):
    """The share of named attributes that the scorer recognizes in the generated images."""

    place: ClassVar[int] = 90
    needs_generated_images: ClassVar[bool] = True
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
        if not self.columns(eval_set):
            raise WorkError(
                "No prompt names an attribute's value, "
                "so attributes have nothing to be checked against.",
                "Add a column such as colour whose values the captions use, "
                "or leave attributes out.",
            )

    def columns(self, eval_set: EvalSet) -> dict[str, list[str | None]]:
        """The value that each prompt names, of the attributes of which two values are named."""
        numbers, columns = eval_set.generated_numbers, {}
        for name, column in eval_set.class_columns.items():
            values = named_values(eval_set.prompts, [column[n] for n in numbers])
            if len({v for v in values if v is not None}) > 1:
                columns[name] = values
        return columns

    def attributes(self, outputs: ModelOutputs) -> list[Attribute]:
        """Every attribute that prompts name."""
        return outputs.remember(self, "attributes", lambda: self._judge(outputs))

    def _judge(self, outputs: ModelOutputs) -> list[Attribute]:
        generated = outputs.generated_embeds
        embed = outputs.eval_set.scorer.embed_captions
        # real_rows[i] gave prompt i.
        real = outputs.real_embeds[: len(generated)]
        return [
            judge_attribute(name, column, generated, real, embed)
            for name, column in self.columns(outputs.eval_set).items()
        ]

    def _counted(self, outputs: ModelOutputs) -> list[Attribute]:
        """The attributes in the figure: those that the scorer recognizes, or else all."""
        attributes = self.attributes(outputs)
        return [a for a in attributes if a.recognized] or attributes

    def compute(self, outputs: ModelOutputs) -> dict[str, float]:
        hits = np.concatenate([a.hits for a in self._counted(outputs)])
        return {"attributes": float(hits.mean())}

    def references(self, outputs: ModelOutputs) -> dict[str, dict[str, float]]:
        counted = self._counted(outputs)
        real_hits = np.concatenate([a.real_hits for a in counted])
        sizes = [len(a.hits) for a in counted]
        chance = float(np.average([1 / len(a.values) for a in counted], weights=sizes))
        references = {"chance": {"attributes": chance}}
        if len(real_hits):
            references["real"] = {"attributes": float(real_hits.mean())}
        return references

    def per_item(self, outputs: ModelOutputs) -> dict[str, PerItem]:
        counted = self._counted(outputs)
        groups = [row.group for row in outputs.eval_set.generated_rows]
        return {
            "attributes": PerItem(
                np.concatenate([a.hits for a in counted]),
                [groups[i] for a in counted for i in a.images],
            )
        }

    def details(self, outputs: ModelOutputs) -> Details:
        """The accuracy of each attribute, beside the scorer's on real images."""
        attributes = [a for a in self.attributes(outputs) if len(a.real_hits)]
        if not attributes:
            return Details()
        title = "Attribute accuracy of generated images"
        caption = "The scorer's predictions; on real images they show what it can recognize."
        series = {
            "": {a.name: a.hits for a in attributes},
            "real images": {a.name: a.real_hits for a in attributes},
        }
        bars = [
            Bars(
                title=title,
                caption=caption,
                x_label="accuracy",
                series=name,
                values={
                    attribute: Interval(float(hits.mean()), items=len(hits))
                    for attribute, hits in values.items()
                },
            )
            for name, values in series.items()
        ]
        return Details(bars=bars)

    def notes(self, outputs: ModelOutputs) -> list[str]:
        attributes = self.attributes(outputs)
        notes = [
            f"{a.name}: {100 * a.hits.mean():.1f} % of {len(a.hits):,} generated images have the "
            f"value in their prompt, by {outputs.eval_set.scorer.name}, which is right about "
            f"{100 * a.real_hits.mean():.1f} % of the real ones "
            f"(most frequent value: {100 * a.majority:.1f} %)."
            for a in attributes
            if len(a.real_hits)
        ]
        if unrecognized := [a.name for a in attributes if not a.recognized]:
            outcome = "left out" if len(unrecognized) < len(attributes) else "of little worth"
            notes.append(
                f"The scorer does not recognize {', '.join(unrecognized)} in real images better "
                f"than one constant answer: {outcome}."
            )
        return notes
