"""How much of a run's CLIP an export takes, α, chosen on the validation split.

A blend of tuned and base weights (WiSE-FT, arXiv 2109.01903) gives back some of what the base knew.
Retrieval is measured at each share of a grid. The smallest share is taken whose mean average
precision is within one standard error of the best one's: Breiman et al., Classification and
Regression Trees, 1984, section 3.4.3. That it judges α, and by products, is ours, and so is the
bound on what each figure may lose.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from unidiff_cli import machine
from unidiff_cli.config.schema import Recipe
from unidiff_cli.data.shards import Shards
from unidiff_cli.evaluation.eval_set import EvalSet
from unidiff_cli.evaluation.metrics.image_recall import ImageRecall
from unidiff_cli.evaluation.metrics.recall import Recall
from unidiff_cli.evaluation.model_under_test import ModelUnderTest
from unidiff_cli.evaluation.outputs import ModelOutputs
from unidiff_cli.evaluation.results import PerItem
from unidiff_cli.evaluation.statistics import MIN_GROUPS
from unidiff_cli.models.encoders import CLIP
from unidiff_cli.models.weights import Shares, blend
from unidiff_cli.objectives import trained_encoder
from unidiff_cli.progress import Progress, labelled

if TYPE_CHECKING:
    from torch import Tensor

    from unidiff_cli.models.base import BaseModel

# The shares that are tried, beside 0, the base.
ALPHAS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
# The figures whose mean is compared; the last where products have several images.
FIGURES = ("map_t2i", "map_i2t", "map_i2i")
# What a share may lose of each figure: few products have a large standard error.
MOST_LOST = 0.02
# Validation images that are looked at, in whole products, spread over the split.
MOST = 2048

# Each figure's value of every query.
Trial = Mapping[str, PerItem]


@dataclass(frozen=True)
class MeasuredAlpha:
    """A share, its mean average precision, and how far that is below the best share's.

    `map` is the mean of `figures`; `standard_error` is that of `below_best`, over products.
    """

    alpha: float
    map: float
    figures: Mapping[str, float]
    below_best: float
    standard_error: float


@dataclass(frozen=True)
class ChosenAlpha:
    """The share of the tuned weights in CLIP's towers, why, and what was measured, A = 0 first."""

    alpha: float
    reason: str
    # Whether training brought retrieval nothing on the validation split.
    gained: bool = True
    measured: Sequence[MeasuredAlpha] = ()

    def plain(self) -> dict[str, Any]:
        """As a receipt keeps it."""
        return asdict(self)


def choose_alpha(
    shards: Shards,
    recipe: Recipe,
    base: BaseModel,
    tuned: Mapping[str, Tensor],
    on_progress: Progress | None = None,
) -> ChosenAlpha:
    """The share for a run's tuned weights; `base` has its own weights, before and after.

    It is 1 where nothing can be chosen by: no CLIP that was taught retrieval, or too few products
    in the validation split. It is 0 only where no share is above the base.
    """
    if trained_encoder(recipe.active().values()) != CLIP:
        return ChosenAlpha(1.0, "no objective taught CLIP retrieval, so there is nothing to judge")
    eval_set = _validation_set(shards, recipe, base)
    products = len(set(eval_set.groups))
    if not eval_set.rows:
        return ChosenAlpha(1.0, "there is no validation split to choose by")
    if products < MIN_GROUPS:
        few = f"{products} products in the validation split are too few to choose by"
        return ChosenAlpha(1.0, f"{few}; {MIN_GROUPS} are the fewest")
    trials = _trials(eval_set, base, tuned, on_progress)
    sample = f"{len(eval_set.rows):,} validation images of {products:,} products"
    return choose(trials, sample)


def choose(trials: Mapping[float, Trial], sample: str) -> ChosenAlpha:
    """The share that the figures of shares speak for; 0, the base, is among them.

    `sample` says in words what they were measured on.
    """
    means = {alpha: _mean(trial) for alpha, trial in trials.items()}
    shares = sorted(alpha for alpha in trials if alpha)
    # Of equal ones the smallest.
    best = max(shares, key=lambda alpha: (means[alpha], -alpha))
    measured = []
    for alpha in sorted(trials):
        below, error = difference(trials[alpha], trials[best])
        figures = {key: _average(item) for key, item in trials[alpha].items()}
        measured.append(MeasuredAlpha(alpha, means[alpha], figures, below, error))
    if means[best] <= means[0.0]:
        reason = f"no share has a higher mean average precision than the base's, on {sample}"
        return ChosenAlpha(0.0, reason, gained=False, measured=measured)
    top = next(m for m in measured if m.alpha == best)
    alpha = next(m.alpha for m in measured if m.alpha and _is_as_good(m, top))
    reason = (
        f"the smallest share whose mean average precision ({means[alpha]:.1%}) is within one "
        f"standard error of the best ({means[best]:.1%} at {best:g}; base {means[0.0]:.1%}) and "
        f"none of whose figures is more than {100 * MOST_LOST:g} points below it, on {sample}"
    )
    return ChosenAlpha(alpha, reason, measured=measured)


def _is_as_good(share: MeasuredAlpha, best: MeasuredAlpha) -> bool:
    """Whether chance explains its distance to the best, and no figure loses much."""
    lost = max(best.figures[key] - value for key, value in share.figures.items())
    return share.below_best <= share.standard_error and lost <= MOST_LOST


def difference(trial: Trial, best: Trial) -> tuple[float, float]:
    """How far a trial's mean of the figures is below another's, and the standard error of that.

    √(G/(G−1) Σ_g r_g²) over G products, where r_g is what product g adds to the difference beyond
    the mean: the linearised variance of a ratio (Cochran, Sampling Techniques, chapter 6).
    Queries of a product succeed and fail together.
    """
    residuals: dict[object, float] = defaultdict(float)
    below = 0.0
    for key, item in trial.items():
        gap = best[key].values - item.values
        weights = np.ones(len(gap)) if item.weights is None else np.asarray(item.weights, float)
        shares = weights / weights.sum() / len(trial)
        mean = float(np.average(gap, weights=weights))
        below += mean / len(trial)
        for group, part in zip(item.groups, shares * (gap - mean), strict=True):
            residuals[group] += float(part)
    count = len(residuals)
    squares = sum(part**2 for part in residuals.values())
    return below, math.sqrt(squares * count / max(1, count - 1))


def _average(item: PerItem) -> float:
    return float(np.average(item.values, weights=item.weights))


def _mean(trial: Trial) -> float:
    return float(np.mean([_average(item) for item in trial.values()]))


# ---------------------------------------------------------------- measuring


def _validation_set(shards: Shards, recipe: Recipe, base: BaseModel) -> EvalSet:
    """The validation images of at most MOST rows; a product is in it whole."""
    options = recipe.evaluate.model_copy(update={"split": "val"})
    measured = recipe.model_copy(update={"evaluate": options})
    whole = EvalSet.of(shards, measured, base.window, None)
    every = -(-len(whole.rows) // MOST)
    if every < 2:
        return whole
    taken = set(list(dict.fromkeys(whole.groups))[::every])
    rows = [whole.rows[n] for n, group in enumerate(whole.groups) if group in taken]
    return EvalSet(shards, rows, options, recipe.generate, window=base.window)


def _trials(
    eval_set: EvalSet,
    base: BaseModel,
    tuned: Mapping[str, Tensor],
    on_progress: Progress | None,
) -> dict[float, Trial]:
    """The figures at each share, 0 first."""
    counter = labelled(on_progress, "choosing alpha")
    groups = base.parameter_groups()
    towers = {id(p) for tower in ("vision", "text") for p in groups[tower]}
    state = dict(base.named_parameters())
    names = [name for name, p in state.items() if id(p) in towers and name in tuned]
    device, trials = base.device, {}
    base.to(machine.device()).eval()
    own = {name: state[name].detach().clone() for name in names}
    clip = {name: tuned[name].to(base.device) for name in names}
    for done, alpha in enumerate((0.0, *ALPHAS), 1):
        blend(base, clip, Shares(clip=alpha))
        trials[alpha] = _measured(eval_set, base)
        for name, weight in own.items():
            state[name].data.copy_(weight)
        if counter:
            counter(done, 1 + len(ALPHAS))
    base.to(device)
    return trials


def _measured(eval_set: EvalSet, base: BaseModel) -> Trial:
    subject = ModelUnderTest("blend", None, None, base.image_size, "")
    outputs = ModelOutputs(subject, eval_set, model=base)
    items = Recall().per_item(outputs) | ImageRecall().per_item(outputs)
    return {key: items[key] for key in FIGURES if key in items}
