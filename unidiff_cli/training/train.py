"""The stage `train`: shards, a recipe and a base → runs/<id>/, whose best weights export takes.

It opens the run and works in this process, or launches one process a device that each do.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from unidiff_cli import machine
from unidiff_cli.config.schema import Recipe
from unidiff_cli.data.caption_length import count_tokens, divide_captions, warn_of_cut
from unidiff_cli.data.rows import column_of
from unidiff_cli.data.shards import Shards
from unidiff_cli.errors import Damaged, NotReady, UsageError, nearest
from unidiff_cli.models import loading
from unidiff_cli.objectives import Objective, general_images, needs_of, trained_encoder
from unidiff_cli.progress import Progress
from unidiff_cli.project.files import make_folder
from unidiff_cli.project.folders import PREVIOUS_INDEX
from unidiff_cli.project.project import Project
from unidiff_cli.project.receipt import Receipt, is_closed
from unidiff_cli.training import compilation, optimizer_kinds, trackers
from unidiff_cli.training.filling import precomputed
from unidiff_cli.training.follower import launch_followed
from unidiff_cli.training.job import Job, rows_of
from unidiff_cli.training.launching import Launching
from unidiff_cli.training.place import Place, others
from unidiff_cli.training.precision import precision_of, warn_of_slow_half
from unidiff_cli.training.provenance import Provenance
from unidiff_cli.training.run import rewind
from unidiff_cli.training.selection import rule_words
from unidiff_cli.training.sizing import sized
from unidiff_cli.training.validation import directions
from unidiff_cli.training.worker import OnStep, work

if TYPE_CHECKING:
    from unidiff_cli.models.base import BaseModel

logger = logging.getLogger("unidiff")


def train(
    project: Project,
    recipe: Recipe,
    *,
    resume: str | bool = False,
    force: bool = False,
    flags: Sequence[str] = (),
    on_step: OnStep | None = None,
    on_progress: Progress | None = None,
) -> tuple[str, Receipt]:
    """The run's name and its receipt; a finished run of the same work as it is, unless `force`.

    `resume` continues the newest run, or the named one, with that run's own recipe; `flags` are
    those of `accelerate launch`; `on_step` gets each step's log line. Raises NotReady, UsageError,
    WorkError, EnvironmentProblem, and Interrupted after a checkpoint was saved.
    """
    if rank := Place.here().rank:
        raise UsageError(f"This is process {rank} of a launcher's.", "Call `take_part` in it.")
    launching = Launching.found(recipe, flags)
    with project.lock(existing=True), others(launching.started) as waiting:
        # What we read.
        prepared = project.receipt("shards")
        shards, notes = Shards.of(project), list[str]()
        if resume:
            name, recipe, provenance = _resumed(project, resume, prepared.hash)
        else:
            recipe, notes = sized(launching.apply(recipe), len(shards.rows("train")))
            provenance = Provenance.of(recipe, prepared.hash)
            if (finished := _finished(project, recipe, provenance)) and not force:
                return finished
            name = project.next_run(recipe.name)
        if receipt := Receipt.read(project.path("runs", name)):
            project.keep("runs", name)
            return name, receipt
        # What we refuse.
        for written in ("exports", "runs"):
            project.folder(written)
        for written in ("index", PREVIOUS_INDEX):
            project.refuse_foreign(written)
        trackers.require(recipe.train.trackers)
        optimizer_kinds.require(recipe.train)
        compilation.require(recipe.train)
        world = launching.world(recipe)
        _check(recipe, shards, world)
        # The base of a run before this one, in the same process.
        machine.free_dropped()
        base = loading.load_recipe_base(recipe)
        # Do.
        launching.say(recipe)
        _say_precision(recipe, name, provenance)
        if not resume:
            for note in notes:
                logger.info("%s", note)
            _say_cut(recipe, base, shards)
            _say_rule(recipe, shards)
            folder = project.path("runs", name)
            make_folder(folder)
            provenance.write(folder, recipe)
        gpus = min(world, machine.gpu_count())
        computed = precomputed(
            project, name, recipe, base, shards, provenance.weights, on_progress, gpus
        )
        job = Job(project, name, recipe, provenance, shards, computed)
        for sentence in job.sentences(base):
            logger.info(sentence)
        if launching.started:
            computed.write(job.folder)
            waiting.tell(name)
            work(job, base=base, world=world, on_step=on_step)
        elif world == 1 and not launching.variables:
            work(job, base=base, on_step=on_step)
        else:
            del base
            # Else what filled the cache would be missing on the first card.
            machine.free_dropped()
            launch_followed(job, world, launching.variables, on_step)
        return name, project.receipt("runs", name)


def _say_precision(recipe: Recipe, name: str, began: Provenance) -> None:
    """Says what `auto` is here, and where that is not what a resumed run began in."""
    now = precision_of(recipe.train)
    if began.precision not in ("", now):
        logger.warning(
            "Run %s began in %s. Its train.precision is %s, and this machine goes on in %s.",
            name,
            began.precision,
            recipe.train.precision,
            now,
        )
    elif recipe.train.precision == "auto":
        logger.info("precision %s: train.precision is auto.", now)
    warn_of_slow_half(recipe.train)


def _finished(
    project: Project, recipe: Recipe, provenance: Provenance
) -> tuple[str, Receipt] | None:
    """The newest finished run of this very work."""
    settings, inputs = provenance.settings(recipe), {"shards": provenance.shards}
    for name in reversed(project.runs()):
        try:
            receipt = project.known("runs", name)
        except Damaged as problem:
            # It hinders no other run.
            logger.warning("%s", problem)
            continue
        if receipt and receipt.same_work(settings, inputs):
            project.bring("runs", name)
            project.keep("runs", name)
            return name, receipt
    return None


def _resumed(project: Project, resume: str | bool, shards: str) -> tuple[str, Recipe, Provenance]:
    """The run to continue and what it began with. Raises NotReady where that has changed."""
    runs = project.runs()
    if not runs:
        raise NotReady(f"{project.root.name} has no run to resume.", "Run: unidiff train")
    name = runs[-1] if resume is True else str(resume)
    if name not in runs:
        raise NotReady(
            f"There is no run '{name}'.{nearest(name, runs)}", f"Runs: {', '.join(runs)}."
        )
    project.bring("runs", name)
    folder = project.path("runs", name)
    began = Provenance.read(folder)
    recipe = began.recipe_of(folder)
    if changes := began.changes(Provenance.of(recipe, shards)):
        changed = " and ".join(changes)
        raise NotReady(
            f"{changed[0].upper()}{changed[1:]} changed since run {name} began.",
            "Run: unidiff train",
        )
    if not is_closed(folder):
        rewind(folder)
    return name, recipe, began


def _check(recipe: Recipe, shards: Shards, world: int) -> None:
    """Raises UsageError for options that do not fit together."""
    options = recipe.train
    if options.best_by in ("recall", "image") and not _embeds_images(recipe):
        raise UsageError(
            f"train.best_by is {options.best_by}, and no objective trains retrieval.",
            "Take another: --set train.best_by=auto",
        )
    if options.best_by == "image" and "r1_i2i" not in _measured(recipe, shards):
        raise UsageError(
            "train.best_by is image, and no product of the validation split has two images.",
            "Take another: --set train.best_by=auto",
        )
    for key in ("batch_size", "denoise_batch"):
        if (size := getattr(options, key)) % world:
            raise UsageError(
                f"train.{key} {size} does not divide over {world} processes.",
                f"Take a multiple of {world}, or set train.processes.",
            )
    _check_augment(recipe)
    _check_prior(list(recipe.active().values()), options.denoise_batch or options.batch_size)


def _check_augment(recipe: Recipe) -> None:
    """Raises UsageError for a change of images that no term of the loss would see."""
    options, needs = recipe.train.augment, needs_of(recipe.active().values())
    for key in ("colours", "crops"):
        if getattr(options, key) and not needs.image_embeds:
            raise UsageError(
                f"train.augment.{key} changes what CLIP sees, and no objective reads its images.",
                f"Turn it off: --set train.augment.{key}=0",
            )


def _check_prior(objectives: list[Objective], seen: int) -> None:
    """Raises UsageError where general images are asked for, and too few or none are brought.

    `seen` is how many samples of a step the denoiser sees.
    """
    needs = needs_of(objectives)
    general = general_images(objectives)
    if needs.prior and general is None:
        raise UsageError(
            "An objective compares general images, and none brings them.",
            "Add them, for it alone: --set objectives.prior.weight=0",
        )
    if needs.prior_embeds and general and (rows := seen // general.every) < 2:
        raise UsageError(
            f"A step holds {rows} general images, and they are compared with each other.",
            f"Take at least two: --set objectives.prior.every={max(1, seen // 2)}",
        )


def _embeds_images(recipe: Recipe) -> bool:
    """Whether a validation embeds images, so that it measures retrieval."""
    objectives = list(recipe.active().values())
    return needs_of(objectives).clip_pixels or trained_encoder(objectives) is not None


def _measured(recipe: Recipe, shards: Shards) -> dict[str, int]:
    """The R@1 that a validation measures, with the number of queries of each."""
    return directions(rows_of(shards, "val")) if _embeds_images(recipe) else {}


def _say_rule(recipe: Recipe, shards: Shards) -> None:
    """Says which weights will be exported."""
    if len(rows_of(shards, "val")) < 2:
        logger.info("Without two validation images the last weights are exported.")
    else:
        logger.info(rule_words(recipe, _measured(recipe, shards)))


def _say_cut(recipe: Recipe, base: BaseModel, shards: Shards) -> None:
    """Warns of captions and preview prompts of which the base reads only a part."""
    rows = rows_of(shards, "train")
    if recipe.train.long_captions == "split":
        rows = divide_captions(rows, base.window)
    tokens = count_tokens(base.window, column_of(rows, "captions"))
    for doubt in tokens.doubts():
        logger.warning("%s %s", doubt.fact, doubt.action)
    warn_of_cut(base.window, recipe.train.preview_prompts, "preview prompt")
