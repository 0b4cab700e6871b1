"""Zero-shot classification (Radford et al., arXiv 2103.00020, 3.1): can the model name an image's attributes, among
the values that the catalogue has, without having been trained on them as classes?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from unidiff_cli.errors import WorkError
from unidiff_cli.evaluation.metrics import Metric
from unidiff_cli.evaluation.results import FigureSpec, PerItem, once
from unidiff_cli.evaluation.statistics import Interval, bootstrap_mean
from unidiff_cli.project.files import digest

if TYPE_CHECKING:
    from unidiff_cli.evaluation.eval_set import EvalSet
    from unidiff_cli.evaluation.outputs import ModelOutputs


from unidiff_cli.evaluation.attribute_columns import FEWEST, LEAST, MOST, categories
from unidiff_cli.evaluation.classification import Told, tell


def accuracy(told: Told, groups: Sequence[object] | None = None) -> Interval:
    """The accuracy with its interval; `groups` are those of all N images, resampled whole."""
    mine = None if groups is None else [groups[n] for n in told.rows]
    return bootstrap_mean(told.hits, groups=mine)


class ZeroShot(Metric):
    """How well the model names the attributes of held-out images, by prompts for the values that the catalogue has."""

    reads: ClassVar[frozenset[str]] = frozenset({"image_embeds"})
    figures: ClassVar[Mapping[str, FigureSpec]] = {
        "zero_shot": FigureSpec(
            "Zero-shot accuracy", "retrieval", "higher", percent=True, headline=False
        ),
        "zero_shot_balanced": FigureSpec(
            "Zero-shot, mean of classes", "retrieval", "higher", percent=True, headline=False
        ),
    }

    def check(self, eval_set: EvalSet) -> None:
        if not self._columns(eval_set):
            raise WorkError(
                f"zero_shot needs an attribute of {FEWEST} to {MOST} values with {LEAST} images each, and the "
                f"{eval_set.evaluate.split} split has none.",
                "Add a column such as colour or category to the catalogue, or leave zero_shot out.",
            )

    @once
    def told(self, outputs: ModelOutputs) -> dict[str, Told]:
        """What the model tells of each attribute, confusion included, for the report."""
        found = {}
        for name, column in self._columns(outputs.eval_set).items():
            embed = partial(
                outputs.captions, f"class_{digest(name)}"
            )  # an attribute may be named like no file
            found[name] = tell(outputs.image_embeds, name, column, embed)
        return found

    def _columns(self, eval_set: EvalSet) -> dict[str, list[str | None]]:
        return categories([row.attributes for row in eval_set.rows])

    def compute(self, outputs: ModelOutputs) -> dict[str, float]:
        found = [each.confusion for each in self.told(outputs).values()]
        return {
            "zero_shot": float(np.mean([c.accuracy for c in found])),
            "zero_shot_balanced": float(np.mean([c.balanced for c in found])),
        }

    def references(self, outputs: ModelOutputs) -> dict[str, dict[str, float]]:
        columns = self._columns(outputs.eval_set).values()
        counts = [Counter(v for v in column if v is not None) for column in columns]
        level = float(np.mean([1 / len(c) for c in counts]))
        return {"chance": {"zero_shot": level, "zero_shot_balanced": level}}

    def per_item(self, outputs: ModelOutputs) -> dict[str, PerItem]:
        """Every attribute weighs the same, whatever share of the images has it."""
        told = list(self.told(outputs).values())
        return {
            "zero_shot": PerItem(
                np.concatenate([each.hits for each in told]),
                [outputs.eval_set.groups[n] for each in told for n in each.rows],
                np.concatenate([np.full(len(each.rows), 1 / len(each.rows)) for each in told]),
            )
        }

    def details(self, outputs: ModelOutputs) -> dict[str, Any]:
        return {
            name: {"matrix": each.confusion.matrix.tolist(), "values": list(each.confusion.values), "accuracy": each.confusion.accuracy,
                   "balanced": each.confusion.balanced, "majority": each.confusion.majority}
            for name, each in self.told(outputs).items()
        }  # fmt: skip

    def notes(self, outputs: ModelOutputs) -> list[str]:
        said = []
        for name, each in self.told(outputs).items():
            c = each.confusion
            said.append(
                f"{name}: {100 * c.accuracy:.1f} % right over {len(each.rows):,} images and {len(c.values)} values, "
                f"{100 * c.balanced:.1f} % as the mean of values; always naming the most frequent is {100 * c.majority:.1f} %."
            )
        return said
