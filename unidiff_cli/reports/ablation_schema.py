"""What table.json of an ablation holds: the typed records that experiments make and pages read."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from unidiff_cli.reports.schema import FigureSpec, FigureTest, Part


class SeedFigure(Part):
    """A figure of a recipe over training seeds: mean, sample s.d. (None for one seed), values."""

    mean: float
    sd: float | None
    seeds: list[float]


class Validation(Part):
    """What a training run measured at a step."""

    step: int
    figures: dict[str, float]


class ValidationCurve(Part):
    """The validations of one cell's training run."""

    cell: str
    validations: list[Validation]


class AblationCounts(Part):
    """The size of the grid; 0 folds: the project's own splits."""

    recipes: int
    seeds: int
    folds: int
    cells: int


class AblationReport(Part):
    """table.json: recipes trained and measured alike, over seeds and folds."""

    schema_version: Literal[3] = 3
    counts: AblationCounts
    split: str
    steps: int
    batch_size: int
    recipes: dict[str, dict[str, Any]] = Field(description="recipe -> the sections that decide it")
    figures: dict[str, dict[str, SeedFigure]] = Field(
        description="model -> figure; the first model is the base, which is not trained"
    )
    specs: dict[str, FigureSpec]
    chance: dict[str, float]
    tests: list[FigureTest] = Field(description="one table: their p values are corrected together")
    margin: float | None = Field(
        None, description="points by which a share may be worse and count as not worse"
    )
    curves: dict[str, list[ValidationCurve]] = Field(description="recipe -> one for each cell")
    plotted: list[str] = Field(description="figures with a plot beside the headline ones")
    tradeoffs: list[tuple[str, str]] = Field(description="pairs of figures with a plot, x and y")
    joined: list[list[str]] = Field([], description="models whose points a line joins, in order")
    limits: list[str] = Field(description="what the tests do not cover")
    notes: list[str]
    left_out: dict[str, str] = Field(description="metric -> why it was not computed")
    versions: dict[str, str]

    @property
    def models(self) -> list[str]:
        """The base and the recipes."""
        return list(self.figures)
