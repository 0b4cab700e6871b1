"""Prepare: a catalogue of images and text becomes shards, split by group, every row counted."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection
from typing import Any, NamedTuple

from unidiff_cli.config.prepare import Prepare
from unidiff_cli.config.schema import Recipe
from unidiff_cli.data import readers
from unidiff_cli.data.decode import Engine, decode_catalogue, executor_of
from unidiff_cli.data.doubts import Doubt, settle
from unidiff_cli.data.downloads import Downloads
from unidiff_cli.data.index_file import INDEX
from unidiff_cli.data.kept_images import Lost
from unidiff_cli.data.kept_work import kept_images, mark_damaged, release
from unidiff_cli.data.locations import shown
from unidiff_cli.data.parts import Part
from unidiff_cli.data.preparation import PAGE, Preparation, Reading
from unidiff_cli.data.readers import Reader
from unidiff_cli.data.refusals import (
    disk_errors,
    problem_of_lost,
    problem_of_nothing,
    refuse_full_disk,
    refuse_our_shards,
)
from unidiff_cli.data.sample import Extent
from unidiff_cli.data.shard_check import Damage, verify
from unidiff_cli.data.shards import Shards
from unidiff_cli.data.stored_samples import Decoded
from unidiff_cli.data.token_window import TokenWindow
from unidiff_cli.data.web_client import Client
from unidiff_cli.errors import Damaged, WorkError
from unidiff_cli.progress import Progress, labelled
from unidiff_cli.project.project import Project
from unidiff_cli.project.receipt import Receipt
from unidiff_cli.system import disk_problem

__all__ = ["PAGE", "Plan", "plan", "prepare", "prepare_part", "repair"]

logger = logging.getLogger("unidiff")

# Where the images of web addresses lie.
DOWNLOADED = ("cache", "downloads")


class Plan(NamedTuple):
    """How a catalogue would be read, in lines for a person, and what is doubtful of that.

    `problem` is there where no row gives a sample, or more than are allowed surely give none.
    """

    description: list[str]
    doubts: list[Doubt]
    problem: WorkError | None


def plan(recipe: Recipe, catalogue: str | os.PathLike[str]) -> Plan:
    """The plan of a catalogue. All rows are read; no image is opened and nothing is written."""
    reader = readers.choose(catalogue, recipe.prepare)
    description = [*reader.origin, *reader.describe()]
    extent = reader.extent()
    problem = problem_of_nothing(reader, extent) or problem_of_lost(reader, extent)
    return Plan(description, reader.doubts(), problem)


def _read(
    project: Project,
    recipe: Recipe,
    catalogue: str | os.PathLike[str],
    yes: bool,
    strict: bool,
) -> Reading:
    """Reads the rows of a catalogue. Raises UsageError and WorkError where it is refused."""
    reader = readers.choose(catalogue, recipe.prepare)
    description = [*reader.origin, *reader.describe()]
    for line in description:
        logger.info("%s", line)
    extent = reader.extent()
    refuse_our_shards(project, reader)
    doubts = reader.doubts()
    warnings = settle(doubts, yes, strict)
    if problem := problem_of_nothing(reader, extent):
        raise problem
    return Reading(reader, extent, description, doubts, warnings)


def prepare(
    project: Project,
    recipe: Recipe,
    catalogue: str | os.PathLike[str],
    *,
    force: bool = False,
    yes: bool = False,
    strict: bool = False,
    check: bool = False,
    again: Collection[str] | None = None,
    engine: Engine = "local",
    address: str = "",
    window: TokenWindow | None = None,
    on_progress: Progress | None = None,
) -> Receipt:
    """Writes the folder `shards` from a catalogue; returns its receipt, or that of the same work.

    `yes` accepts guesses about how the catalogue is meant, and `strict` refuses warnings too. With
    `check` all is done but the shards: the page lies in `cache/prepare`, and the receipt is stored
    nowhere. `again` are images of the shards, by their sha256, that are damaged: they are made
    again from the same catalogue. `engine` spreads the decoding, "ray" over the cluster at
    `address`. `window` counts the captions' tokens, as the base reads them; shards do not depend on
    it. `on_progress(what, done, total)` is called as it goes; `total` is 0 where nobody knows.

    Raises UsageError (also for what is doubtful), WorkError (no images, or too many bad rows) and
    EnvironmentProblem (disk, cluster); the folder is as before then.
    """
    progress = on_progress or (lambda what, done, total: None)
    reading = _read(project, recipe, catalogue, yes, strict)
    reader, extent, options = reading.reader, reading.extent, recipe.prepare

    # What is done already.
    if options.allow_urls and reader.addresses.web:
        _download(project, reader, progress)
        extent = reader.extent()
    settings = _settings(recipe, reader, extent)
    if again is not None:
        mark_damaged(project, again, settings)
    is_done = not force and not check and again is None
    if is_done and (finished := project.finished("shards", settings=settings, inputs={})):
        release(project)
        return finished

    executor = executor_of(options, engine, address)
    work = Preparation(
        project,
        recipe,
        reading._replace(extent=extent),
        settings,
        executor,
        window,
        progress,
        yes=yes,
        strict=strict,
        check=check,
    )
    with project.lock():
        while True:
            try:
                return work.done(anew=force)
            except Lost as lost:
                logger.warning("%s Its images are decoded again.", lost.fact)
                force = False


def prepare_part(
    project: Project,
    recipe: Recipe,
    catalogue: str | os.PathLike[str],
    part: Part,
    *,
    yes: bool = False,
    strict: bool = False,
    on_progress: Progress | None = None,
) -> Decoded:
    """Decodes a part of the images and keeps them for the `prepare` that comes once all are done.

    Several processes, on several machines that see the project's folder, may do one part each at a
    time. Returns the rows of the part. Raises as `prepare` does, but for bad rows.
    """
    progress = on_progress or (lambda what, done, total: None)
    reading, options = _read(project, recipe, catalogue, yes, strict), recipe.prepare
    project.create()
    needed = refuse_full_disk(project, reading.extent)
    with disk_errors(project, needed), kept_images(project, options) as kept:
        return decode_catalogue(
            reading.reader, options, executor_of(options), kept, reading.extent, progress, part
        )


def repair(project: Project, on_progress: Progress | None = None) -> list[Damage]:
    """Makes again what is damaged of a project's shards, from their catalogue, and nothing else.

    Returns the damage that there was. Raises NotReady without shards, and WorkError where the
    catalogue is not as it was, so that other shards would come of it.
    """
    folder = project.path("shards")
    try:
        shards = Shards.open(folder, read=False)
        damages = verify(shards, on_progress)
    # The index itself.
    except Damaged as problem:
        damages = [Damage(INDEX, "", "", problem.fact)]
    if damages:
        receipt = Receipt.read(folder)
        assert receipt is not None
        recipe = Recipe(prepare=Prepare(**receipt.settings["prepare"]))
        contents = {damage.content for damage in damages} - {""}
        prepare(
            project,
            recipe,
            _catalogue(receipt),
            yes=True,
            again=contents,
            on_progress=on_progress,
        )
    return damages


def _catalogue(receipt: Receipt) -> str:
    """The path or address of the catalogue that shards were made from."""
    place = receipt.settings["catalogue"]
    path, source = place["path"], place["source"]
    return path if source in ("", ".") else f"{path}/{source}"


# ---------------------------------------------------------------- what is read


def _settings(recipe: Recipe, reader: Reader, extent: Extent) -> dict[str, Any]:
    """What decides the result: the recipe's section, the catalogue and its state."""
    section = {k: v for k, v in recipe.section("prepare")["prepare"].items() if k != "workers"}
    catalogue = {
        "path": shown(str(reader.root)),
        "source": reader.location.relative_to(reader.root),
        "digest": extent.digest,
    }
    return {"prepare": section, "catalogue": catalogue}


def _download(project: Project, reader: Reader, progress: Progress) -> None:
    """Brings the images of web addresses into the project's cache."""
    limits = reader.options.limits
    client = Client(limits.image_bytes, limits.url_seconds)
    with project.lock():
        project.folder(DOWNLOADED[0])
        downloads = Downloads(project.path(*DOWNLOADED), client)
        logger.info("images of web addresses, from %s", reader.addresses.hosts())
        try:
            reader.addresses.fetch(downloads, labelled(progress, "downloads"))
        except OSError as problem:
            then = "What was downloaded stays: run it again."
            raise disk_problem(problem, then=then) from problem
