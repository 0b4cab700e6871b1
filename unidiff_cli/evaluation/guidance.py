"""The guidance of an export, chosen on the validation split by the images that it makes.

Images of validation captions are generated with a few settings, from the same seeds. The lowest KID
to the real validation images wins, up to chance: of the settings that are not worse than it by more
than one standard error of the paired difference, the simplest is taken. A plain scale is simpler
than one with an interval or a rescale; of two scales, the one nearer to the base's own is. Guidance
that starts from the base's prediction brings a second denoiser along, so its KID has to be lower by
more than chance: by over two standard errors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from unidiff_cli.config.schema import Recipe
from unidiff_cli.data.shards import Shards
from unidiff_cli.evaluation.eval_set import EvalSet
from unidiff_cli.evaluation.extractors import Extractor
from unidiff_cli.evaluation.image_features import cropped_images
from unidiff_cli.evaluation.metrics.kid import bootstrap_kid
from unidiff_cli.evaluation.metrics.precision_recall import manifolds
from unidiff_cli.evaluation.mmd import unbiased_mmd
from unidiff_cli.evaluation.statistics import MIN_GROUPS
from unidiff_cli.models.guidance import Guidance
from unidiff_cli.models.guidance_file import GuidanceFile, MeasuredGuidance, own_guidance
from unidiff_cli.models.sampler import generate_images
from unidiff_cli.progress import Progress, labelled

if TYPE_CHECKING:
    from PIL.Image import Image

    from unidiff_cli.models.base import BaseModel

# Images generated with each setting: half of `evaluate.images`, at most so many.
MOST = 40
# Generated and real images below which nothing is chosen.
FEWEST = 24
# Scales that are tried beside the base's own, as shares of it: a tuned model needs less guidance.
# With a quarter of nano's the KID was lowest, and what prompts ask for was lost.
SHARES = (0.5,)
# What is tried at the best scale, the simpler one first.
REFINEMENTS: tuple[dict[str, Any], ...] = ({"rescale": 0.7}, {"interval": (0.0, 0.8)})
# Standard errors by which guidance from the base's prediction has to be better.
CLEARLY = 2.0


@dataclass(frozen=True)
class Trial:
    """A setting and its images: KID, its bootstrap samples (B,), coverage and CLIP score."""

    guidance: Guidance
    kid: float
    samples: np.ndarray
    coverage: float
    clip_score: float

    def above(self, other: Trial) -> tuple[float, float]:
        """How much higher its KID is than another's, and the standard error of that difference."""
        return self.kid - other.kid, float(np.nanstd(self.samples - other.samples))


def choose_guidance(
    shards: Shards, recipe: Recipe, base: BaseModel, on_progress: Progress | None = None
) -> GuidanceFile:
    """The guidance of a tuned model, which `base` holds, and the figures of all that were tried.

    It is the recipe's where that has a number, and the base's own where there are too few
    validation images to choose by.
    """
    if recipe.generate.guidance != "auto":
        given = Guidance(recipe.generate.guidance)
        return GuidanceFile(guidance=given, reason="set by generate.guidance of its run")
    own, _ = own_guidance(base.source)
    images = min(recipe.evaluate.images // 2, MOST)
    # The first extractor chooses, so no other is loaded.
    extractor = recipe.evaluate.extractors[:1]
    changed = {"split": "val", "images": max(1, images), "extractor": extractor}
    options = recipe.evaluate.model_copy(update=changed)
    measured = recipe.model_copy(update={"evaluate": options})
    eval_set = EvalSet.of(shards, measured, base.window, None)
    if shortage := _shortage(eval_set, images):
        return GuidanceFile(guidance=own, reason=f"the base's own, for {shortage}")
    judge = Judge(eval_set, base, on_progress)
    trials = _trials(judge, replace(own, unconditional="own"))
    chosen = _simplest(trials)
    if base.untuned and chosen.guidance.scale > 1:
        trials.append(judge.trial(replace(chosen.guidance, unconditional="base")))
        chosen = _clearly_better(trials[-1], chosen)
    lowest = min(trials, key=lambda trial: trial.kid)
    return GuidanceFile(
        guidance=chosen.guidance,
        reason=f"chosen by KID on {len(eval_set.rows)} validation images",
        images=images,
        real=len(eval_set.real_rows),
        extractor=first_extractor(eval_set).name,
        measured=tuple(_figures(trial, lowest) for trial in trials),
    )


def _shortage(eval_set: EvalSet, images: int) -> str:
    """What there is too little of to choose by; "" where there is enough."""
    rows, groups = len(eval_set.rows), len(set(eval_set.groups))
    if rows < FEWEST or groups < MIN_GROUPS:
        return (
            f"{rows} validation images of {groups} products are too few to choose by: "
            f"{FEWEST} of {MIN_GROUPS} are needed"
        )
    if images < FEWEST:
        return f"evaluate.images is below {2 * FEWEST}, and half of them are generated to choose by"
    return ""


def first_extractor(eval_set: EvalSet) -> Extractor:
    """The one that chooses, where a recipe names several."""
    return next(iter(eval_set.extractors.values()))


class Judge:
    """Generates the images of a setting, and compares them with the real ones."""

    def __init__(self, eval_set: EvalSet, base: BaseModel, on_progress: Progress | None) -> None:
        self.eval_set, self.base, self.on_progress = eval_set, base, on_progress
        images = cropped_images(
            eval_set.shards, eval_set.real_rows, base.default_size, eval_set.evaluate.batch_size
        )
        self.extractor = first_extractor(eval_set)
        self.real = self.extractor.features(images)

    def trial(self, guidance: Guidance) -> Trial:
        """A setting with the figures of its images."""
        return self.judged(guidance, self.images(guidance))

    def images(self, guidance: Guidance) -> list[Image]:
        """The images of a setting, one for each prompt of the eval set."""
        eval_set, options = self.eval_set, self.eval_set.generate
        return list(
            generate_images(
                self.base,
                eval_set.prompts,
                eval_set.seeds,
                steps=options.steps,
                guidance=guidance,
                batch_size=options.batch_size,
                on_progress=labelled(self.on_progress, f"choosing the guidance: {guidance}"),
            )
        )

    def judged(self, guidance: Guidance, images: list[Image]) -> Trial:
        """A setting with the figures of these images."""
        eval_set, features = self.eval_set, self.extractor.features(images)
        embeds = eval_set.scorer.embed_images(images)[1]
        return Trial(
            guidance,
            unbiased_mmd(self.real, features),
            bootstrap_kid(self.real, features, groups=eval_set.image_groups),
            float(manifolds(self.real, features).covered.mean()),
            float((embeds * eval_set.prompt_embeds).sum(axis=1).mean()),
        )


def _trials(judge: Judge, own: Guidance) -> list[Trial]:
    """All settings that are tried, the simplest first: scales, then what is tried at the best."""
    scaled = (Guidance(max(1.0, share * own.scale)) for share in SHARES)
    # A base of little guidance gives the same setting twice.
    trials = [judge.trial(guidance) for guidance in dict.fromkeys([own, *scaled])]
    best = _simplest(trials).guidance
    if best.scale > 1:
        refined = (replace(best, **change) for change in REFINEMENTS)
        trials += [judge.trial(guidance) for guidance in refined if guidance != best]
    return trials


def _simplest(trials: Sequence[Trial]) -> Trial:
    """The first trial whose KID is at most one standard error above the lowest."""
    lowest = min(trials, key=lambda trial: trial.kid)
    differences = [(trial, *trial.above(lowest)) for trial in trials]
    return next(trial for trial, above, error in differences if above <= error)


def _clearly_better(trial: Trial, chosen: Trial) -> Trial:
    """The trial where its KID is clearly lower, else what was chosen."""
    below, error = chosen.above(trial)
    return trial if below > CLEARLY * error else chosen


def _figures(trial: Trial, lowest: Trial) -> MeasuredGuidance:
    above, error = trial.above(lowest)
    return MeasuredGuidance(
        guidance=trial.guidance,
        kid=round(trial.kid, 6),
        above_lowest=round(above, 6),
        standard_error=round(error, 6),
        coverage=round(trial.coverage, 6),
        clip_score=round(trial.clip_score, 6),
    )
