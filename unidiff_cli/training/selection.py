"""Which weights of a run are the best: the ones that are exported."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from unidiff_cli.config.schema import Recipe


@dataclass(frozen=True)
class Best:
    """The best weights of a run so far; step 0 where no validation chose any."""

    step: int = 0
    # Of that step's validation.
    figures: Mapping[str, float] = field(default_factory=dict)
    # The highest mean recall of any validation.
    peak: float = 0.0


def is_better(recipe: Recipe, figures: Mapping[str, float], best: Best, count: int) -> bool:
    """Whether these validation figures are better than the best so far.

    By recall: the mean R@1 of both directions over `count` images is noisy, so all within one
    standard error of the peak are taken as equal, and of these the lowest generation loss wins (the
    lowest total loss without one): the run trains both halves, and its best weights should be good
    at both.
    """
    if not math.isfinite(figures["loss"]):
        return False
    rule = recipe.train.best_by
    if not best.figures or rule == "last":
        return True
    second = generation_figure(recipe, figures)
    lower = figures[second] < best.figures[second]
    by_recall = rule == "recall" or (rule == "auto" and teaches_retrieval(recipe))
    if not by_recall or "r1_t2i" not in figures:
        return lower
    recall, before = mean_recall(figures), mean_recall(best.figures)
    peak = max(best.peak, recall)
    error = math.sqrt(peak * (1 - peak) / count)
    # The best was equal once, and is no more.
    if before < peak - error:
        return recall > before
    return recall >= peak - error and lower


def teaches_retrieval(recipe: Recipe) -> bool:
    """Whether an objective brings images and captions together, so that recall judges the run."""
    return any(objective.teaches_retrieval for objective in recipe.active().values())


def generation_figure(recipe: Recipe, figures: Mapping[str, float]) -> str:
    """The validation figure that says how well the model generates; the total loss without one."""
    objectives = recipe.active().items()
    names = (name for name, objective in objectives if objective.measures_generation)
    return next((name for name in names if name in figures), "loss")


def mean_recall(figures: Mapping[str, float]) -> float:
    """The mean R@1 of both directions; 0 where recall is not measured."""
    return (figures.get("r1_t2i", 0.0) + figures.get("r1_i2t", 0.0)) / 2
