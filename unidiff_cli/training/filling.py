"""Fills the cache for a run: all that it reads again and again, by every GPU of this machine."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from unidiff_cli import machine
from unidiff_cli.config.schema import Recipe
from unidiff_cli.data.alike_order import block_size
from unidiff_cli.data.caption_length import warn_of_cut
from unidiff_cli.data.reads import Reads, reads_of
from unidiff_cli.data.row import Row
from unidiff_cli.data.rows import column_of, joined
from unidiff_cli.data.shards import Shards
from unidiff_cli.models import loading
from unidiff_cli.models.stored_text import caption_key
from unidiff_cli.objectives import general_images, needs_of
from unidiff_cli.progress import Progress
from unidiff_cli.project.project import Project
from unidiff_cli.training.blocks import Blocks, fill_neighbours
from unidiff_cli.training.cache_rows import image_keys, missing_rows, tidy_cache
from unidiff_cli.training.general_images import general_files, generate_general, missing_images
from unidiff_cli.training.job import Job, read_rows, rows_of
from unidiff_cli.training.launch import launch
from unidiff_cli.training.precision import round_denoiser
from unidiff_cli.training.precompute import CHUNK, Precomputed, fill_cache
from unidiff_cli.training.provenance import Provenance
from unidiff_cli.training.share import WHOLE, Share
from unidiff_cli.training.text_states import fill_text, text_stays

if TYPE_CHECKING:
    from unidiff_cli.models.base import BaseModel

# Seconds between two looks at how much several processes have filled.
INTERVAL = 5.0


def precomputed(
    project: Project,
    run: str,
    recipe: Recipe,
    base: BaseModel,
    shards: Shards,
    weights: str,
    on_progress: Progress | None = None,
    processes: int = 1,
) -> Precomputed:
    """All that a run reads from the cache, before any process waits for another.

    `processes`, each on a GPU of its own, fill it together where that is worth starting them;
    `weights` is the hash of the base's files. The base must still have its own weights. Raises
    EnvironmentProblem when the disk is full.
    """
    round_denoiser(base, recipe)
    if processes > 1 and _worth_starting(project, recipe, base, shards, weights, processes):
        arguments = [str(project.root), run]
        poll = _Poll(project.path("cache"), on_progress)
        launch(
            "unidiff_cli.training.filling", arguments, processes, project.path("runs", run), poll
        )
    base.to(machine.device())
    made = _filled(project, recipe, base, shards, weights, on_progress)
    # A linked cache is shared, with the cells of an ablation or by the user.
    if not project.path("cache").is_symlink():
        tidy_cache(made.arrays, image_keys(shards.rows()))
        if made.text:
            tidy_cache(made.text, map(caption_key, _captions(recipe, base, shards)))
    neighbours = _neighbours(project, recipe, base, shards, on_progress)
    return Precomputed(made.arrays, made.generated, neighbours, made.text)


def _filled(
    project: Project,
    recipe: Recipe,
    base: BaseModel,
    shards: Shards,
    weights: str,
    on_progress: Progress | None = None,
    share: Share = WHOLE,
) -> Precomputed:
    """What is kept of images and captions, this process's share computed where it is missing."""
    active, generated = recipe.active(), dict[str, dict[str, list[Path]]]()
    arrays, text = dict[str, Path](), dict[str, Path]()
    if recipe.train.cache_latents:
        rows, needs, flips = _rows(shards), needs_of(active.values()), recipe.train.augment.flips
        reads = _reads(project, recipe, base, shards)
        arrays = fill_cache(
            project, base, shards, rows, needs, on_progress, share, flips > 0, reads
        )
    for name, objective in active.items():

        def generate(captions: Sequence[str], name: str = name) -> dict[str, list[Path]]:
            warn_of_cut(base.window, captions, "general caption")
            generated[name] = generate_general(
                project, base, weights, captions, recipe.generate, on_progress, share
            )
            return generated[name]

        objective.data(generate, recipe.train.seed)
    if recipe.train.cache_latents and text_stays(recipe):
        captions, states = _captions(recipe, base, shards), needs_of(active.values()).states
        text = fill_text(project, base, captions, states, on_progress, share)
    return Precomputed(arrays, generated, text=text)


def _rows(shards: Shards) -> Sequence[Row]:
    """The rows whose images a run may read."""
    return joined(rows_of(shards, "train"), rows_of(shards, "val"))


def _reads(project: Project, recipe: Recipe, base: BaseModel, shards: Shards) -> Reads | None:
    """Which of these it reads; None: all."""
    count = len(rows_of(shards, "train"))
    if recipe.train.alike or not count:
        return None
    samples = Job.without_cache(project, recipe, shards).training_samples(base, 0, 1)
    validated = Reads.all_of(len(rows_of(shards, "val")))
    return reads_of(samples, recipe.train.total_steps).joined(validated)


def _captions(recipe: Recipe, base: BaseModel, shards: Shards) -> list[str]:
    """All captions that a run reads, but those that `train.augment` makes."""
    rows = (read_rows(shards, recipe, base, split) for split in ("train", "val"))
    general = general_images(recipe.active().values())
    captions = [c for part in rows for captions in column_of(part, "captions") for c in captions]
    return [*captions, *(general.captions if general else []), ""]


def _worth_starting(
    project: Project, recipe: Recipe, base: BaseModel, shards: Shards, weights: str, count: int
) -> bool:
    """Whether so much is missing that several processes are done earlier than one."""
    active = recipe.active().values()
    if recipe.train.cache_latents:
        mirrored = recipe.train.augment.flips > 0
        _, missing = missing_rows(
            project,
            base,
            _rows(shards),
            needs_of(active),
            mirrored,
            reads=_reads(project, recipe, base, shards),
        )
        if sum(map(len, missing.values())) > count * CHUNK:
            return True
    general = general_images(active)
    if general is None:
        return False
    files = general_files(project, base, weights, general.captions, recipe.generate)
    return len(missing_images(files)) > count


def _neighbours(
    project: Project,
    recipe: Recipe,
    base: BaseModel,
    shards: Shards,
    on_progress: Progress | None,
) -> Path | None:
    """Which training rows are near each other, where batches need it."""
    options = recipe.train
    if not options.alike or Blocks.of(shards):
        return None
    size = block_size(options.batch_size, options.alike)
    return fill_neighbours(project, base, shards, shards.rows("train"), size, on_progress)


class _Poll:
    """Says how much several processes have put into the cache since they began."""

    def __init__(self, cache: Path, on_progress: Progress | None) -> None:
        self.cache, self.on_progress, self.next = cache, on_progress, 0.0

    def __call__(self) -> None:
        if self.on_progress and time.monotonic() > self.next:
            self.next = time.monotonic() + INTERVAL
            size = sum(file.stat().st_size for file in self.cache.rglob("*.npy"))
            self.on_progress("caching on all GPUs, MB", size // 10**6, 0)


def main(root: str, run: str) -> None:
    """One of several processes that fill the cache for a run."""
    project, share = Project(root), Share(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
    folder = project.path("runs", run)
    began = Provenance.read(folder)
    recipe = began.recipe_of(folder)
    machine.take_gpu(share.rank)
    base = loading.load_recipe_base(recipe)
    round_denoiser(base, recipe)
    base.to(machine.device())
    shards = Shards.of(project)
    _filled(project, recipe, base, shards, began.weights, share=share)
