"""TODO docstring."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from unidiff_cli.config.schema import Recipe

if TYPE_CHECKING:
    pass


def is_better(
    recipe: Recipe, figures: dict[str, float], best: dict[str, Any], peak: float, count: int
) -> bool:
    """Whether these validation figures are better than the best so far.

    By recall: the mean R@1 of both ways over `count` images is noisy, so all within one standard error of the `peak`
    are taken as equal, and of these the lowest denoise loss wins (the lowest loss without that term): the run trains
    both halves, and its best weights should be good at both.
    """
    if not math.isfinite(figures["loss"]):
        return False
    by, old = recipe.train.best_by, best.get("figures")
    if old is None or by == "last":
        return True
    second = "denoise" if "denoise" in figures else "loss"
    lower = figures[second] < old[second]
    if by == "denoise" or "r1_t2i" not in figures or (by == "auto" and not learns_to_find(recipe)):
        return lower
    error = math.sqrt(peak * (1 - peak) / count)
    if _found(old) < peak - error:  # it was equal once, and is no more
        return _found(figures) > _found(old)
    return _found(figures) >= peak - error and lower


def learns_to_find(recipe: Recipe) -> bool:
    """Whether an objective brings images and captions together, so that recall judges the run."""
    return any(
        {"image_embeds", "text_embeds"} <= o.reads
        and "frozen_image_embeds" not in o.reads
        or "dual_stream" in o.reads
        for o in recipe.active().values()
    )


def _found(figures: dict[str, float]) -> float:
    """The mean R@1 of both ways; 0 where recall is not measured."""
    return (figures.get("r1_t2i", 0.0) + figures.get("r1_i2t", 0.0)) / 2
