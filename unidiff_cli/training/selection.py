"""Which weights of a run are the best: the ones that are exported."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from unidiff_cli.config.schema import Recipe

# The R@1 of each direction: by and for captions, and of a product's images among all.

TEXT, IMAGE = ("r1_t2i", "r1_i2t"), ("r1_i2i",)
NAMES = {
    "r1_t2i": "text-to-image",
    "r1_i2t": "image-to-text",
    "r1_i2i": "image-to-image",
}


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

    By recall: the mean R@1 of the directions that judge, over `count` queries, is noisy, so all
    within one standard error of the peak are taken as equal, and of these the lowest generation
    loss wins (the lowest total loss without one): the run trains both halves, and its best weights
    should be good at both.
    """
    if not math.isfinite(figures["loss"]):
        return False
    if not best.figures or recipe.train.best_by == "last":
        return True
    second = generation_figure(recipe, figures)
    lower = figures[second] < best.figures[second]
    if not judging_figures(recipe, figures):
        return lower
    recall, before = (mean_recall(recipe, each) for each in (figures, best.figures))
    peak = max(best.peak, recall)
    error = math.sqrt(peak * (1 - peak) / count)
    # The best was equal once, and is no more.
    if before < peak - error:
        return recall > before
    return recall >= peak - error and lower


def judging_figures(recipe: Recipe, measured: Collection[str]) -> list[str]:
    """The directions' R@1, of those measured, that `train.best_by` judges by; none: by loss.

    `auto` takes the directions that the objectives teach.
    """
    rule, objectives = recipe.train.best_by, recipe.active().values()
    text = rule == "recall" or (rule == "auto" and any(o.teaches_retrieval for o in objectives))
    image = rule == "image" or (rule == "auto" and any(o.teaches_image_search for o in objectives))
    wanted = (*(TEXT if text else ()), *(IMAGE if image else ()))
    return [key for key in wanted if key in measured]


def generation_figure(recipe: Recipe, figures: Mapping[str, float]) -> str:
    """The validation figure that says how well the model generates; the total loss without one."""
    objectives = recipe.active().items()
    names = (name for name, objective in objectives if objective.measures_generation)
    return next((name for name in names if name in figures), "loss")


def mean_recall(recipe: Recipe, figures: Mapping[str, float]) -> float:
    """The mean R@1 of the directions that judge; 0 where none does."""
    judging = judging_figures(recipe, figures)
    return sum(figures[key] for key in judging) / len(judging) if judging else 0.0


def rule_words(recipe: Recipe, measured: Collection[str]) -> str:
    """A sentence on which weights are exported, where `measured` are the directions' R@1."""
    if recipe.train.best_by == "last":
        return "The last weights are exported."
    judging = [NAMES[key] for key in judging_figures(recipe, measured)]
    if not judging:
        return "The weights with the lowest validation loss are exported."
    mean = f"mean of {' and '.join(judging)}" if len(judging) > 1 else judging[0]
    words = f"The exported weights are chosen by validation R@1 ({mean})."
    missing = [NAMES[key] for key in judging_figures(recipe, NAMES) if key not in measured]
    if missing:
        words += (
            f" {missing[0].capitalize()} does not count: no product of the validation split has "
            "two images."
        )
    return words
