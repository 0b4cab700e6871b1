"""Metrics: what a model is measured by. In: its ModelOutputs. Out: named figures.

Each metric is one file: pure functions of arrays, and a class whose `compute` calls them.

    class Sharpness(Metric):                 # metrics/sharpness.py is `sharpness` in a recipe
        figures = {"sharpness": FigureSpec("Sharpness", "generation", better="higher")}
        needs_generated_images = True
        def compute(self, outputs): ...      # -> {"sharpness": 0.7}
        def per_item(self, outputs): ...     # the values of the mean, for intervals and tests

A metric that is not asked for is not computed, and what only it reads is not computed either. An
output that ModelOutputs does not offer, the metric computes in its own file with the services
`array`, `rows` and `remember`. Imports of torch stay inside functions.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, TypeVar

from unidiff_cli.config.schema import Evaluate
from unidiff_cli.config.values import Section
from unidiff_cli.evaluation.results import BootstrapSamples, PerItem
from unidiff_cli.reports.schema import Details, FigureSpec

if TYPE_CHECKING:
    import numpy as np

    from unidiff_cli.evaluation.eval_set import EvalSet
    from unidiff_cli.evaluation.extractors import Extractor
    from unidiff_cli.evaluation.outputs import ModelOutputs

T = TypeVar("T")
# Generated images, below which a distance of two sets of images gives no verdict.
VERDICT_IMAGES = 256


class Metric(Section):
    """One way to measure a model. Every dictionary below is keyed by the names in `figures`.

    `needs_generated_images` says that images are generated for it and the scorer judges them.
    `on_request` says that it is slow, or asks what few want to know: computed only if
    evaluate.metrics or a gate names it.
    `place` orders a report where no metrics are named: small numbers first, equal ones by name.
    `in_ablations` says that an ablation measures it where the recipe names no metrics. `plotted`
    are the figures that an ablation plots beside the headline ones.
    """

    figures: ClassVar[Mapping[str, FigureSpec]]
    needs_generated_images: ClassVar[bool] = False
    on_request: ClassVar[bool] = False
    place: ClassVar[int] = 1000
    in_ablations: ClassVar[bool] = False
    plotted: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def specs(cls, evaluate: Evaluate) -> Mapping[str, FigureSpec]:
        """The figures that a recipe's `evaluate` asks for."""
        return cls.figures

    @abstractmethod
    def compute(self, outputs: ModelOutputs) -> dict[str, float]:
        """The figures of one model."""

    def check(self, eval_set: EvalSet) -> None:
        """Raises WorkError, before any image is generated, where the figures would mislead."""

    def per_item(self, outputs: ModelOutputs) -> dict[str, PerItem]:
        """The values of each figure that is a mean."""
        return {}

    def bootstrap(self, outputs: ModelOutputs) -> dict[str, BootstrapSamples]:
        """The bootstrap samples of each figure that is not a mean."""
        return {}

    def references(self, outputs: ModelOutputs) -> dict[str, dict[str, float]]:
        """What to compare the figures with.

        `chance` is a random answer's figure, `real` that of real images in place of generated ones,
        `null_level` the typical size of a figure whose true value is 0.
        """
        return {}

    def details(self, outputs: ModelOutputs) -> Details:
        """What else the report shows: curves, bars, confusion matrices, near copies."""
        return Details()

    def notes(self, outputs: ModelOutputs) -> list[str]:
        """Warnings about the figures, in whole sentences."""
        return []


# ---------------------------------------------------------------- by each extractor


@dataclass(frozen=True)
class FeatureOutputs:
    """What one extractor, by its name in a recipe, makes of a model's images and the real ones."""

    outputs: ModelOutputs
    name: str

    @property
    def eval_set(self) -> EvalSet:
        return self.outputs.eval_set

    @property
    def extractor(self) -> Extractor:
        return self.eval_set.extractors[self.name]

    @property
    def real(self) -> np.ndarray:
        """Features of the real images, (R, d)."""
        return self.outputs.real_features[self.name]

    @property
    def generated(self) -> np.ndarray:
        """Features of the generated images, (n, d)."""
        return self.outputs.generated_features[self.name]


class FeatureMetric(Metric):
    """A metric of image features: every figure by each extractor of `evaluate.extractor`.

    The first extractor's figures have the keys of `figures`, those of another end in its name.
    Subclasses compute them of one extractor, by the plain keys.
    """

    needs_generated_images: ClassVar[bool] = True

    @classmethod
    def specs(cls, evaluate: Evaluate) -> Mapping[str, FigureSpec]:
        several = len(evaluate.extractors) > 1
        return {
            by_extractor(key, place, name): replace(
                spec, label=f"{spec.label} by {name}" if several else spec.label, extractor=name
            )
            for place, name in enumerate(evaluate.extractors)
            for key, spec in cls.figures.items()
        }

    @abstractmethod
    def compute_by(self, features: FeatureOutputs) -> dict[str, float]:
        """`compute` by one extractor."""

    def per_item_by(self, features: FeatureOutputs) -> dict[str, PerItem]:
        """`per_item` by one extractor."""
        return {}

    def bootstrap_by(self, features: FeatureOutputs) -> dict[str, BootstrapSamples]:
        """`bootstrap` by one extractor."""
        return {}

    def references_by(self, features: FeatureOutputs) -> dict[str, dict[str, float]]:
        """`references` by one extractor."""
        return {}

    def notes_by(self, features: FeatureOutputs) -> list[str]:
        """`notes` on one extractor's figures."""
        return []

    def compute(self, outputs: ModelOutputs) -> dict[str, float]:
        return _joined(outputs, self.compute_by)

    def per_item(self, outputs: ModelOutputs) -> dict[str, PerItem]:
        return _joined(outputs, self.per_item_by)

    def bootstrap(self, outputs: ModelOutputs) -> dict[str, BootstrapSamples]:
        return _joined(outputs, self.bootstrap_by)

    def references(self, outputs: ModelOutputs) -> dict[str, dict[str, float]]:
        references: dict[str, dict[str, float]] = {}
        for place, features in enumerate(_by_extractor(outputs)):
            for kind, values in self.references_by(features).items():
                renamed = {by_extractor(k, place, features.name): v for k, v in values.items()}
                references.setdefault(kind, {}).update(renamed)
        return references

    def notes(self, outputs: ModelOutputs) -> list[str]:
        notes = [note for each in _by_extractor(outputs) for note in self.notes_by(each)]
        return list(dict.fromkeys(notes))


def by_extractor(key: str, place: int, name: str) -> str:
    """The key of a figure by the extractor at a place of a recipe: the first's is plain."""
    return f"{key}_{name}" if place else key


def _by_extractor(outputs: ModelOutputs) -> Iterable[FeatureOutputs]:
    return [FeatureOutputs(outputs, name) for name in outputs.eval_set.evaluate.extractors]


def _joined(
    outputs: ModelOutputs, values_by: Callable[[FeatureOutputs], dict[str, T]]
) -> dict[str, T]:
    return {
        by_extractor(key, place, features.name): value
        for place, features in enumerate(_by_extractor(outputs))
        for key, value in values_by(features).items()
    }
