"""A Job is what a process has to know of its run: `train` makes it, the others read it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from unidiff_cli.config.schema import Recipe
from unidiff_cli.data.caption_length import divide_captions
from unidiff_cli.data.dataset import BatchPlan, Order, PriorDataset, Samples
from unidiff_cli.data.shards import Row, Shards
from unidiff_cli.data.streaming import StreamedSamples
from unidiff_cli.errors import UsageError
from unidiff_cli.models.needs import Needs
from unidiff_cli.objectives import needs_of
from unidiff_cli.project.project import Project
from unidiff_cli.training.precompute import Precomputed
from unidiff_cli.training.provenance import Provenance

if TYPE_CHECKING:
    from unidiff_cli.data.batch import Transform
    from unidiff_cli.models.base import BaseModel

# Held-out samples that a validation looks at, spread over the split.
MOST_VALIDATED = 512


@dataclass(frozen=True)
class Job:
    """A run and all that it reads."""

    project: Project
    name: str
    recipe: Recipe
    provenance: Provenance
    shards: Shards
    precomputed: Precomputed

    @classmethod
    def read(cls, project: Project, name: str) -> Job:
        """The job of a run whose launching process left it in the run's folder."""
        folder = project.path("runs", name)
        provenance = Provenance.read(folder)
        return cls(
            project,
            name,
            provenance.recipe_of(folder),
            provenance,
            Shards.open(project.path("shards")),
            Precomputed.read(folder),
        )

    @property
    def folder(self) -> Path:
        """The run's."""
        return self.project.path("runs", self.name)

    @property
    def needs(self) -> Needs:
        """What the recipe's objectives ask of a step."""
        return needs_of(self.recipe.active().values())

    @cached_property
    def prior(self) -> PriorDataset | None:
        """The samples that an objective brings beside the catalogue's."""
        for name, objective in self.recipe.active().items():
            files = self.precomputed.generated.get(name, {})
            if data := objective.data(lambda captions, f=files: f, self.recipe.train.seed):
                return data
        return None

    def training_samples(self, base: BaseModel, rank: int, world: int) -> Samples:
        """The training split, shuffled: one process's share of each step."""
        options = self.recipe.train
        plan = BatchPlan(
            options.batch_size,
            options.seed,
            self._order(),
            options.denoise_batch,
            rank,
            world,
        )
        kind = StreamedSamples if options.streaming else Samples
        return self._samples(base, "train", plan, kind)

    def _order(self) -> Order:
        """The order of a batch's samples. Raises UsageError where two are asked for."""
        options = self.recipe.train
        if not self.needs.views:
            return "distinct" if options.no_duplicates else "shuffled"
        if options.no_duplicates or options.streaming:
            key = "no_duplicates" if options.no_duplicates else "streaming"
            raise UsageError(
                f"image_contrast wants two images of a product in a batch, and train.{key} is on.",
                f"Turn it off: --set train.{key}=false",
            )
        return "views"

    def held_out_samples(self, base: BaseModel) -> Samples | None:
        """The samples to validate with, in order and whole; None where the split is empty."""
        options = self.recipe.train
        if not rows_of(self.shards, "val"):
            return None
        # The denoiser sees all of them; a lone sample would not be looked at.
        size = max(2, options.denoise_batch or options.batch_size)
        return self._samples(base, "val", BatchPlan(size, options.seed, "listed"))

    def _samples(
        self, base: BaseModel, split: str, plan: BatchPlan, kind: type[Samples] = Samples
    ) -> Samples:
        rows, cached = rows_of(self.shards, split), self.precomputed.arrays.get(split)
        transforms = None if cached else self._transforms(base)
        if self.recipe.train.long_captions == "split":
            rows = divide_captions(rows, base.window)
        return kind(
            self.shards,
            rows,
            plan,
            cached=cached,
            transforms=transforms,
            prior=self.prior,
            same=base.window.same,
        )

    def _transforms(self, base: BaseModel) -> dict[str, Transform]:
        needed = {"clip_pixels": self.needs.clip_pixels, "diffusion_pixels": self.needs.latents}
        return {name: change for name, change in base.transforms().items() if needed[name]}


def rows_of(shards: Shards, split: str) -> list[Row]:
    """The rows a run reads of a split: all to train on, evenly spaced ones to validate with."""
    rows = shards.rows(split)
    return rows if split == "train" else rows[:: -(-len(rows) // MOST_VALIDATED) or 1]
