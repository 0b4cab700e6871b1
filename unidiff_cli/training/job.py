"""A Job is what a process has to know of its run: `train` makes it, the others read it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unidiff_cli.config.schema import Recipe
from unidiff_cli.data import attributes
from unidiff_cli.data.alike_order import block_size
from unidiff_cli.data.augmentation import Augmentation
from unidiff_cli.data.buckets import Size
from unidiff_cli.data.caption_length import divide_captions
from unidiff_cli.data.dataset import BatchPlan, Order, PriorDataset, Samples
from unidiff_cli.data.reads import reads_of
from unidiff_cli.data.row import Row
from unidiff_cli.data.rows import column_of, taken
from unidiff_cli.data.shards import Shards
from unidiff_cli.data.streaming import StreamedSamples
from unidiff_cli.errors import UsageError
from unidiff_cli.models.needs import Needs
from unidiff_cli.models.stored_text import StoredText
from unidiff_cli.objectives import needs_of
from unidiff_cli.project.project import Project
from unidiff_cli.training.blocks import Blocks
from unidiff_cli.training.cache_rows import buckets_of, image_keys, stored_tensors
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
    def without_cache(cls, project: Project, recipe: Recipe, shards: Shards) -> Job:
        """One of no run: it reads batches, and nothing that was computed."""
        return cls(project, "", recipe, Provenance("", "", "", {}), shards, Precomputed({}, {}))

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
            Shards.of(project),
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
            options.alike,
        )
        kind = StreamedSamples if options.streaming else Samples
        return self._samples(base, "train", plan, kind)

    def stored_text(self, base: BaseModel) -> StoredText | None:
        """The features of captions where the text tower does not train; None: it runs."""
        return StoredText(base, self.precomputed.text) if self.precomputed.text else None

    @cached_property
    def blocks(self) -> Blocks | None:
        """What the samples of a hard batch's blocks share; None where there are none."""
        if not self.recipe.train.alike:
            return None
        return Blocks.of(self.shards, self.precomputed.neighbours)

    def sentences(self, base: BaseModel) -> list[str]:
        """What decides how samples are ordered and changed, where a recipe asks for that."""
        options, said = self.recipe.train, []
        if self.blocks:
            size = block_size(options.batch_size, options.alike, self.needs.views)
            said.append(self.blocks.sentence(size))
        if augmentation := self.augmentation(base):
            said += augmentation.sentences()
        if counts := self.bucket_counts(base):
            listed = ", ".join(f"{size} ({count:,})" for size, count in counts.items())
            said.append(f"The denoiser learns images in {len(counts)} sizes: {listed}.")
        return said

    def bucket_counts(self, base: BaseModel) -> dict[Size, int]:
        """How many training images are in each bucket, most first; none without buckets."""
        if not (base.buckets and self.needs.latents):
            return {}
        rows = rows_of(self.shards, "train")
        unlike = dict(zip(image_keys(rows), buckets_of(base.buckets, rows), strict=True))
        counts = Counter(unlike.values())
        return dict(counts.most_common())

    def figures(self, samples: Samples, base: BaseModel) -> dict[str, Any]:
        """The same for the run's receipt, by the run's training samples."""
        figures: dict[str, Any] = {"blocks": self.blocks.by} if self.blocks else {}
        if samples.augmentation:
            figures["augmentation"] = samples.augmentation.figures()
        if counts := self.bucket_counts(base):
            figures["buckets"] = {str(size): count for size, count in counts.items()}
        return figures

    def augmentation(self, base: BaseModel) -> Augmentation | None:
        """The changes of training samples; None where there are none."""
        options = self.recipe.train
        if not options.augment.on:
            return None
        known = attributes.from_figures(self.shards.receipt.figures)
        rows = read_rows(self.shards, self.recipe, base, "train")
        return Augmentation(rows, options.augment, options.seed, known, base.window.same)

    def _order(self) -> Order:
        """The order of a batch's samples. Raises UsageError where two are asked for."""
        options = self.recipe.train
        if not self.needs.views:
            return "distinct" if options.no_duplicates else "shuffled"
        if options.no_duplicates or options.streaming:
            key = "no_duplicates" if options.no_duplicates else "streaming"
            raise UsageError(
                f"image_contrast wants two images of a product in a batch, and train.{key} is on.",
                f"Turn it off: --set train.{key}=false; or train without that term: "
                "--set objectives.image_contrast=null",
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
        rows = read_rows(self.shards, self.recipe, base, split)
        training = split == "train"
        samples = kind(
            self.shards,
            rows,
            plan,
            prior=self.prior,
            same=base.window.same,
            keys=self.blocks.keys if training and self.blocks else None,
            augmentation=self.augmentation(base) if training else None,
        )
        arrays = self.precomputed.arrays
        reads = reads_of(samples, self.recipe.train.total_steps) if arrays and training else None
        samples.cached = stored_tensors(arrays, rows, base, reads)
        samples.transforms = {} if samples.cached else self._transforms(base)
        return samples

    def _transforms(self, base: BaseModel) -> dict[str, Transform]:
        needed = {"clip_pixels": self.needs.clip_pixels, "diffusion_pixels": self.needs.latents}
        return {name: change for name, change in base.transforms().items() if needed[name]}


def rows_of(shards: Shards, split: str) -> Sequence[Row]:
    """The rows a run reads of a split: all to train on, evenly spaced groups to validate with.

    Whole groups, since the images of a product are searched for by each other.
    """
    rows = shards.rows(split)
    if split == "train" or len(rows) <= MOST_VALIDATED:
        return rows
    groups: dict[str, list[int]] = {}
    for number, group in enumerate(column_of(rows, "group")):
        groups.setdefault(group, []).append(number)
    spread = list(groups.values())[:: -(-len(rows) // MOST_VALIDATED)]
    return taken(rows, [number for group in spread for number in group][:MOST_VALIDATED])


def read_rows(shards: Shards, recipe: Recipe, base: BaseModel, split: str) -> Sequence[Row]:
    """The same, their long captions as the recipe wants them."""
    rows = rows_of(shards, split)
    if recipe.train.long_captions == "split":
        rows = divide_captions(rows, base.window)
    return rows
