"""Domain guidance: the base's prediction without a caption in place of the tuned model's own.

    python -m benchmarks.domain_guidance PROJECT [--scales 1.5 2 4] [--images 96]

p = base(∅) + w · (tuned(c) − base(∅)) (Zhong et al., arXiv 2504.01521), beside classifier-free
guidance at the same scales. Images of validation captions have the same seeds in every row. KID has
its difference to the lowest with the standard error of that difference, by the paired bootstrap.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor

from unidiff_cli.config.run_recipe import read_run_recipe
from unidiff_cli.data.shards import Shards
from unidiff_cli.evaluation.eval_set import EvalSet
from unidiff_cli.evaluation.guidance import Judge, Trial
from unidiff_cli.models.base import BaseModel, TextFeatures
from unidiff_cli.models.guidance import Guidance
from unidiff_cli.models.loading import load_base
from unidiff_cli.project.project import Project


class FromBase:
    """Takes the first half of a guided batch, which has no caption, from the base."""

    def __init__(self, tuned: BaseModel, base: BaseModel) -> None:
        self.tuned, self.base, self.own = tuned, base, tuned.denoise
        self.empty = base.encode_text([""])

    def __call__(self, z_t: Tensor, t: Tensor, text: TextFeatures) -> Tensor:
        without, with_caption = z_t.chunk(2)
        captions = TextFeatures(text.states.chunk(2)[1], text.embeds.chunk(2)[1])
        first = self.base.denoise(without, t, self.empty.expand(len(without)))
        return torch.cat([first, self.own(with_caption, t, captions)])


def describe(name: str, trial: Trial, lowest: Trial) -> str:
    """A setting and its figures on one line; KID times 1,000."""
    above, error = trial.above(lowest)
    return (
        f"{name:5} {trial.guidance.scale:<4g} KID {1e3 * trial.kid:6.2f}  above the lowest "
        f"{1e3 * above:5.2f} ± {1e3 * error:.2f}  coverage {trial.coverage:.2f}  "
        f"CLIP score {trial.clip_score:.3f}"
    )


def main() -> None:
    given = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    given.add_argument("project", type=Path)
    given.add_argument("--scales", type=float, nargs="+", default=[1.5, 2.0, 4.0])
    given.add_argument("--images", type=int, default=96)
    options = given.parse_args()
    project = Project(options.project)
    export = project.export(None)
    run = project.receipt("exports", export.name).settings
    recipe = read_run_recipe(project.path("runs", export.name))
    tuned = load_base(str(export), recipe.image_size)
    base = load_base(recipe.base, recipe.image_size)
    print(f"{export}, {run['name']}, base {recipe.base}")
    evaluate = recipe.evaluate.model_copy(
        update={
            "split": "val",
            "images": options.images,
            "extractor": recipe.evaluate.extractors[:1],
        }
    )
    measured = recipe.model_copy(update={"evaluate": evaluate})
    eval_set = EvalSet.of(Shards.open(project.path("shards")), measured, tuned.window, None)
    judge = Judge(eval_set, tuned, None)
    guidances = [Guidance(scale) for scale in options.scales]
    trials = [("own", judge.trial(guidance)) for guidance in guidances]
    tuned.denoise = FromBase(tuned, base)  # type: ignore[method-assign]
    trials += [("base", judge.trial(guidance)) for guidance in guidances]
    lowest = min((trial for _, trial in trials), key=lambda trial: trial.kid)
    for name, trial in trials:
        print(describe(name, trial, lowest))


if __name__ == "__main__":
    main()
