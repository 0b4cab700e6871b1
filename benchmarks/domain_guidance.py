"""Domain guidance: the base's prediction without a caption in place of the tuned model's own.

    python -m benchmarks.domain_guidance PROJECT [--scales 1.5 2 4] [--images 96]

p = base(∅) + w · (tuned(c) − base(∅)) (Zhong et al., arXiv 2504.01521), beside classifier-free
guidance at the same scales. Images of validation captions have the same seeds in every row. KID has
its difference to the lowest with the standard error of that difference, by the paired bootstrap.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unidiff_cli.config.run_recipe import read_run_recipe
from unidiff_cli.data.shards import Shards
from unidiff_cli.evaluation.eval_set import EvalSet
from unidiff_cli.evaluation.guidance import Judge, Trial
from unidiff_cli.evaluation.image_features import cropped_images
from unidiff_cli.evaluation.metrics.attributes import Attributes, judge_attribute
from unidiff_cli.models.guidance import Guidance
from unidiff_cli.models.loading import load_base
from unidiff_cli.project.project import Project


@dataclass(frozen=True)
class Measured:
    """A setting by its figures, and the attributes that its images have as their prompts ask."""

    name: str
    trial: Trial
    attributes: dict[str, tuple[float, float]]

    @classmethod
    def of(cls, name: str, judge: Judge, guidance: Guidance, real: np.ndarray) -> Measured:
        """Generates the images of a setting; `real` (n, D) are the embeddings of the real ones."""
        images, eval_set = judge.images(guidance), judge.eval_set
        generated = eval_set.scorer.embed_images(images)[1]
        embed = eval_set.scorer.embed_captions
        judged = [
            judge_attribute(name, column, generated, real, embed)
            for name, column in Attributes().columns(eval_set).items()
        ]
        shares = {a.name: (a.hits.mean(), a.real_hits.mean()) for a in judged if a.recognized}
        return cls(name, judge.judged(guidance, images), shares)

    def line(self, lowest: Trial) -> str:
        """The figures, with KID's distance to the lowest and its standard error."""
        above, error = self.trial.above(lowest)
        shares = "  ".join(
            f"{name} {100 * share:.0f} (real images {100 * real:.0f}) %"
            for name, (share, real) in self.attributes.items()
        )
        return (
            f"{self.name:5} {self.trial.guidance.scale:<4g} KID {self.trial.kid:6.3f}  above the "
            f"lowest {above:5.3f} ± {error:.3f}  coverage {self.trial.coverage:.2f}  "
            f"CLIP score {self.trial.clip_score:.3f}  {shares}"
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
    crops = cropped_images(
        eval_set.shards, eval_set.generated_rows, tuned.default_size, evaluate.batch_size
    )
    real = eval_set.scorer.embed_images(list(crops))[1]
    guidances = [Guidance(scale) for scale in options.scales]
    trials = [Measured.of("own", judge, each, real) for each in guidances]
    base.keep_untuned()
    tuned.untuned = base.untuned
    from_base = [Guidance(scale, unconditional="base") for scale in options.scales]
    trials += [Measured.of("base", judge, each, real) for each in from_base]
    lowest = min((each.trial for each in trials), key=lambda trial: trial.kid)
    for each in trials:
        print(each.line(lowest))


if __name__ == "__main__":
    main()
