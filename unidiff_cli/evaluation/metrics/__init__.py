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
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from unidiff_cli.config.schema import Section
from unidiff_cli.evaluation.results import BootstrapSamples, PerItem
from unidiff_cli.reports.schema import Details, FigureSpec

if TYPE_CHECKING:
    from unidiff_cli.evaluation.eval_set import EvalSet
    from unidiff_cli.evaluation.outputs import ModelOutputs


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
