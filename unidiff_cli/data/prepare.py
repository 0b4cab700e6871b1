"""Prepare: a catalogue of images and text becomes shards, split by group, every row counted."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from unidiff_cli.config.schema import Prepare, Recipe
from unidiff_cli.data import readers, shard_folder, splits, summary
from unidiff_cli.data.caption_length import count_tokens
from unidiff_cli.data.content_doubts import content_doubts
from unidiff_cli.data.decode import (
    decode_catalogue,
    executor_of,
    write_quarantine,
)
from unidiff_cli.data.doubts import Doubt, settle
from unidiff_cli.data.downloads import Downloads
from unidiff_cli.data.kept_images import KeptImages, Lost
from unidiff_cli.data.kept_work import kept_work, mark_damaged, release
from unidiff_cli.data.locations import shown
from unidiff_cli.data.readers import Reader
from unidiff_cli.data.refusals import (
    CHECKED,
    QUARANTINE,
    checked_folder,
    disk_errors,
    listed_if_refused,
    problem_of_lost,
    problem_of_nothing,
    refuse_bad,
    refuse_full_disk,
    refuse_our_shards,
)
from unidiff_cli.data.sample import Extent
from unidiff_cli.data.selection import select
from unidiff_cli.data.shard_check import Damage, verify
from unidiff_cli.data.shards import INDEX, Row, Shards
from unidiff_cli.data.token_window import TokenWindow
from unidiff_cli.data.web_client import Client
from unidiff_cli.errors import Damaged, WorkError
from unidiff_cli.progress import Progress, labelled
from unidiff_cli.project.files import digest
from unidiff_cli.project.project import Project
from unidiff_cli.project.receipt import Receipt, record_of
from unidiff_cli.system import disk_problem

logger = logging.getLogger("unidiff")

PAGE = "report.html"
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
    window: TokenWindow | None = None,
    on_progress: Progress | None = None,
) -> Receipt:
    """Writes the folder `shards` from a catalogue; returns its receipt, or that of the same work.

    `yes` accepts guesses about how the catalogue is meant, and `strict` refuses warnings too. With
    `check` all is done but the shards: the page lies in `cache/prepare`, and the receipt is stored
    nowhere. `again` are images of the shards, by their sha256, that are damaged: they are made
    again from the same catalogue. `window` counts the captions' tokens, as the base reads them;
    shards do not depend on it. `on_progress(what, done, total)` is called as it goes; `total` is
    0 where nobody knows.

    Raises UsageError (also for what is doubtful), WorkError (no images, or too many bad rows) and
    EnvironmentProblem (disk); the folder is as before then.
    """
    # What is read.
    options, progress = recipe.prepare, on_progress or (lambda what, done, total: None)
    reader = readers.choose(catalogue, options)
    description = [*reader.origin, *reader.describe()]
    for line in description:
        logger.info("%s", line)
    extent = reader.extent()

    # What is refused.
    refuse_our_shards(project, reader)
    doubts = reader.doubts()
    warnings = settle(doubts, yes, strict)
    if problem := problem_of_nothing(reader, extent):
        raise problem

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

    work = _Work(
        project, recipe, reader, extent, settings, description, doubts, warnings, window, progress
    )
    work.yes, work.strict, work.check = yes, strict, check
    with project.lock():
        while True:
            try:
                return work.done(anew=force)
            except Lost as lost:
                logger.warning("%s Its images are decoded again.", lost.fact)
                force = False


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


@dataclass
class _Work:
    """Preparing a catalogue that may be prepared, of which nothing is done yet.

    `doubts` and `warnings` are those of its rows.
    """

    project: Project
    recipe: Recipe
    reader: Reader
    extent: Extent
    settings: dict[str, Any]
    description: list[str]
    doubts: list[Doubt]
    warnings: list[str]
    window: TokenWindow | None
    progress: Progress
    yes: bool = False
    strict: bool = False
    check: bool = False

    def done(self, anew: bool) -> Receipt:
        """The receipt, once all is done; `anew` uses nothing that earlier runs left.

        Raises Lost where something that they left is damaged; then it is forgotten.
        """
        project, options = self.project, self.recipe.prepare
        receipt = Receipt("prepare", self.settings, seed=options.seed)
        needed = refuse_full_disk(project, self.extent)
        with disk_errors(project, needed), _folder(project, receipt, self.check) as folder:
            kept, units = kept_work(project, options, anew)
            with kept:
                contents, warnings = self._contents(folder, kept)
                if not self.check:
                    hashes = shard_folder.fill(
                        folder,
                        contents.rows,
                        contents.decoded.samples,
                        units,
                        kept,
                        options.shard_size,
                        self.progress,
                    )
                    receipt.content = digest(hashes)
                    receipt.files = {
                        name: record_of(folder / name, h) for name, h in hashes.items()
                    }
                receipt.counts = summary.counts(self.reader, contents)
                receipt.figures = summary.figures(
                    self.reader, contents, self.description, [*self.warnings, *warnings]
                )
                summary.write_page(folder / PAGE, receipt, contents, kept, options)

        if not self.check:
            # An earlier try that failed left its list; the folder has its own now.
            project.path(*CHECKED, QUARANTINE).unlink(missing_ok=True)
            kept.release()
            units.release()
        return receipt

    def _contents(self, folder: Path, kept: KeptImages) -> tuple[summary.Contents, list[str]]:
        """What goes into the shards, and what is to be warned of; the rejected rows are written.

        Raises WorkError where too little is left, and UsageError for what is doubtful.
        """
        project, reader, options = self.project, self.reader, self.recipe.prepare
        everything = decode_catalogue(
            reader, options, executor_of(options), kept, self.extent, self.progress
        )
        selection = select(everything, options)
        decoded, pairs = selection.decoded, selection.pairs
        write_quarantine(folder / QUARANTINE, decoded.rejected)
        refuse_bad(project, options, reader, decoded)
        rows = shard_folder.rows_of(decoded.samples, pairs, options)
        tokens = count_tokens(self.window, _captions(rows)) if self.window else None
        contents = summary.Contents(
            rows, decoded, pairs, selection.placeholders, selection.notes, tokens
        )
        lacking = splits.doubts([row.split for row in rows], options.splits)
        # What only a whole pass tells, of a catalogue that was not read before.
        later = [doubt for doubt in reader.doubts() if doubt not in self.doubts]
        doubts = [*later, *content_doubts(contents), *selection.doubts, *lacking]
        with listed_if_refused(project, decoded):
            return contents, settle(doubts, self.yes, self.strict)


@contextmanager
def _folder(project: Project, receipt: Receipt, check: bool) -> Iterator[Path]:
    """The folder to fill: the next `shards`, or for a check that of its page."""
    if not check:
        with project.writing("shards", receipt=receipt) as folder:
            yield folder
        return
    yield checked_folder(project)


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


def _captions(rows: list[Row]) -> Iterator[str]:
    for row in rows:
        yield from row.captions
