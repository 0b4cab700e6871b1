"""Zero-shot accuracy (Radford et al., arXiv 2103.00020, 3.1): attributes predicted from prompts.

The classes are the values that the catalogue has; the model was not trained on them as classes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from unidiff_cli.evaluation.classification import (
    Predictions,
    check_attributes,
    pooled_hits,
    predict,
)
from unidiff_cli.evaluation.metrics import Metric
from unidiff_cli.evaluation.results import PerItem
from unidiff_cli.project.files import digest
from unidiff_cli.reports.schema import Details, FigureSpec

if TYPE_CHECKING:
    from unidiff_cli.evaluation.eval_set import EvalSet
    from unidiff_cli.evaluation.outputs import ModelOutputs


class ZeroShot(Metric):
    """How often the model names the attributes of held-out images right, the mean over attributes.

    The prompts name the values that the catalogue has.
    """

    place: ClassVar[int] = 20
    figures: ClassVar[Mapping[str, FigureSpec]] = {
        "zero_shot": FigureSpec(
            "Zero-shot accuracy", "retrieval", "higher", percent=True, headline=False
        ),
        "zero_shot_balanced": FigureSpec(
            "Zero-shot accuracy, mean of classes",
            "retrieval",
            "higher",
            percent=True,
            headline=False,
        ),
    }

    def check(self, eval_set: EvalSet) -> None:
        check_attributes(self._columns(eval_set), "zero_shot", eval_set.evaluate.split)

    def predictions(self, outputs: ModelOutputs) -> dict[str, Predictions]:
        """The predicted values of each attribute."""
        return outputs.remember(self, "predictions", lambda: self._predict(outputs))

    def _predict(self, outputs: ModelOutputs) -> dict[str, Predictions]:
        predictions = {}
        for name, column in self._columns(outputs.eval_set).items():
            # By a hash: an attribute may have a name that no file can have.
            embed = partial(outputs.embed_captions, f"zero_shot.prompts_{digest(name)}")
            predictions[name] = predict(outputs.image_embeds, name, column, embed)
        return predictions

    def _columns(self, eval_set: EvalSet) -> dict[str, list[str | None]]:
        return eval_set.class_columns

    def compute(self, outputs: ModelOutputs) -> dict[str, float]:
        confusions = [each.confusion for each in self.predictions(outputs).values()]
        return {
            "zero_shot": float(np.mean([c.accuracy for c in confusions])),
            "zero_shot_balanced": float(np.mean([c.balanced for c in confusions])),
        }

    def references(self, outputs: ModelOutputs) -> dict[str, dict[str, float]]:
        columns = self._columns(outputs.eval_set).values()
        counts = [Counter(v for v in column if v is not None) for column in columns]
        chance = float(np.mean([1 / len(c) for c in counts]))
        return {"chance": {"zero_shot": chance, "zero_shot_balanced": chance}}

    def per_item(self, outputs: ModelOutputs) -> dict[str, PerItem]:
        predictions, groups = self.predictions(outputs).values(), outputs.eval_set.groups
        return {"zero_shot": pooled_hits(predictions, groups)}

    def details(self, outputs: ModelOutputs) -> Details:
        confusions = [
            each.confusion.as_detail(f"zero-shot {name}")
            for name, each in self.predictions(outputs).items()
        ]
        return Details(confusions=confusions)

    def notes(self, outputs: ModelOutputs) -> list[str]:
        notes = []
        for name, each in self.predictions(outputs).items():
            c = each.confusion
            notes.append(
                f"{name}: {100 * c.accuracy:.1f} % right over {len(each.rows):,} images and "
                f"{len(c.values)} values, {100 * c.balanced:.1f} % as the mean of values; "
                f"always naming the most frequent value is {100 * c.majority:.1f} % right."
            )
        return notes
