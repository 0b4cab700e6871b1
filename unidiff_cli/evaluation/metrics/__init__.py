"""Metrics: each is one file, a pydantic model whose `compute` reads Evidence and gives back named figures.

    class Sharpness(Metric):                      # metrics/sharpness.py is `sharpness` in a recipe
        reads = frozenset({"generated_features"})
        figures = {"sharpness": Figure("Sharpness", "generation", better="higher")}
        def compute(self, outputs): ...          # -> {"sharpness": 0.7}
        def per_item(self, outputs): ...            # what the mean is of, for intervals and paired tests

The numbers come from pure functions of arrays in the same file. A metric that is not asked for is not computed,
and what only it reads is not made either. Imports of torch stay inside functions.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from unidiff_cli.config.schema import Section
from unidiff_cli.evaluation.results import BootstrapSamples, FigureSpec, PerItem

if TYPE_CHECKING:
    from unidiff_cli.evaluation.eval_set import EvalSet
    from unidiff_cli.evaluation.outputs import ModelOutputs


class Metric(Section):
    """One way to measure a model. Every dict below is keyed by the names in `figures`."""

    reads: ClassVar[frozenset[str]]  # the names of Evidence it looks at
    figures: ClassVar[Mapping[str, FigureSpec]]
    on_request: ClassVar[bool] = (
        False  # it is slow: measured only where evaluate.metrics or a gate names it
    )

    @abstractmethod
    def compute(self, outputs: ModelOutputs) -> dict[str, float]:
        """The figures of one model."""

    def check(self, eval_set: EvalSet) -> None:
        """Raises WorkError, before anything is drawn, where the figures would mislead."""

    def per_item(self, outputs: ModelOutputs) -> dict[str, PerItem]:
        """What those figures are means of that are means."""
        return {}

    def bootstrap(self, outputs: ModelOutputs) -> dict[str, BootstrapSamples]:
        """Bootstrap figures of those that are not."""
        return {}

    def references(self, outputs: ModelOutputs) -> dict[str, dict[str, float]]:
        """What to hold the figures against: `chance`, `real` (real images in place of drawn ones), and `noise`
        (the typical size of a figure whose truth is 0)."""
        return {}

    def details(self, outputs: ModelOutputs) -> dict[str, Any]:
        """What else is worth a look, as JSON: curves, a confusion, near copies. The report knows their names."""
        return {}

    def notes(self, outputs: ModelOutputs) -> list[str]:
        """The figures' own warnings, in whole sentences."""
        return []
