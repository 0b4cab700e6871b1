"""Prepare: a catalogue of images and text becomes shards, split by group, every row counted."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from unidiff_cli.config.schema import Prepare, Recipe
from unidiff_cli.data import duplicates, readers, shards, splits, summary
from unidiff_cli.data.caption_fields import unfilled_fields
from unidiff_cli.data.caption_length import count_tokens
from unidiff_cli.data.decode import (
    StoredSample,
    TemporaryStore,
    decode_catalogue,
    executor_of,
    write_quarantine,
)
from unidiff_cli.data.doubts import Doubt, settle
from unidiff_cli.data.downloads import Downloads
from unidiff_cli.data.index_file import INDEX
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
from unidiff_cli.data.sample import Cause, Extent
from unidiff_cli.data.selection import select
from unidiff_cli.data.shard_writer import write_split
from unidiff_cli.data.shards import Row
from unidiff_cli.data.token_window import TokenWindow
from unidiff_cli.data.web_client import Client
from unidiff_cli.errors import WorkError
from unidiff_cli.progress import Progress, labelled
from unidiff_cli.project.files import digest
from unidiff_cli.project.project import Project
from unidiff_cli.project.receipt import Receipt, record_of
from unidiff_cli.system import disk_problem

logger = logging.getLogger("unidiff")

PAGE = "report.html"
# Where the images of web addresses lie.
DOWNLOADED = ("cache", "downloads")
# What is said of what was not read, and how many are named.
ACTIONS = {
    Cause.LINK: "Copy what they name into the catalogue, or allow them: --follow-links",
    Cause.UNREADABLE: "Nobody knows how many images they hold; make them readable.",
}
NAMED = 5


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
    window: TokenWindow | None = None,
    on_progress: Progress | None = None,
) -> Receipt:
    """Writes the folder `shards` from a catalogue; returns its receipt, or that of the same work.

    `yes` accepts guesses about how the catalogue is meant, and `strict` refuses warnings too. With
    `check` all is done but the shards: the page lies in `cache/prepare`, and the receipt is stored
    nowhere. `window` counts the captions' tokens, as the base reads them; shards do not depend on
    it. `on_progress(what, done, total)` is called as it goes; `total` is 0 where nobody knows.

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
    is_done = not force and not check
    if is_done and (finished := project.finished("shards", settings=settings, inputs={})):
        return finished

    # The work.
    with project.lock():
        receipt = Receipt("prepare", settings, seed=options.seed)
        needed = refuse_full_disk(project, extent)
        with disk_errors(project, needed), _folder(project, receipt, check) as folder:
            with TemporaryStore(folder) as store:
                executor = executor_of(options)
                everything = decode_catalogue(reader, options, executor, store, extent, progress)
                selection = select(everything, options)
                decoded, pairs = selection.decoded, selection.pairs
                write_quarantine(folder / QUARANTINE, decoded.rejected)
                refuse_bad(project, options, reader, decoded)
                rows = _rows(decoded.samples, pairs, options)
                tokens = count_tokens(window, _captions(rows)) if window else None
                contents = summary.Contents(
                    rows, decoded, pairs, selection.placeholders, selection.notes, tokens
                )
                lacking = splits.doubts([row.split for row in rows], options.splits)
                # What only a whole pass tells, of a catalogue that was not read before.
                later = [doubt for doubt in reader.doubts() if doubt not in doubts]
                doubts = [*later, *_doubts(contents), *selection.doubts, *lacking]
                with listed_if_refused(project, decoded):
                    warnings += settle(doubts, yes, strict)
                if not check:
                    hashes = _write(folder, rows, decoded.samples, store, options, progress)
                    receipt.content = digest(hashes)
                    receipt.files = {
                        name: record_of(folder / name, h) for name, h in hashes.items()
                    }
                receipt.counts = summary.counts(reader, contents)
                receipt.figures = summary.figures(reader, contents, description, warnings)
                summary.write_page(folder / PAGE, receipt, contents, store, options)

        if not check:
            # An earlier try that failed left its list; the folder has its own now.
            project.path(*CHECKED, QUARANTINE).unlink(missing_ok=True)
    return receipt


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


def _doubts(contents: summary.Contents) -> list[Doubt]:
    """What is doubtful once the images are decoded and the captions counted."""
    decoded, tokens = contents.decoded, contents.tokens
    doubts = tokens.doubts() if tokens else []
    for cause, action in ACTIONS.items():
        # Nobody knows what such links and folders hold.
        paths = [item.path or item.row for item in decoded.rejected if item.reason.cause is cause]
        if paths:
            named = ", ".join(paths[:NAMED]) + (", …" if len(paths) > NAMED else "")
            doubts.append(Doubt(f"{len(paths):,} not read, {cause.value}: {named}.", action))
    fields = unfilled_fields([row.captions for row in contents.rows])
    return [*doubts, *fields, *_torn(contents)]


def _torn(contents: summary.Contents) -> Iterator[Doubt]:
    """Products, and groups of equal images, that the catalogue itself puts into several splits."""
    pairs = list(zip(contents.rows, contents.decoded.samples, strict=True))
    products = _in_several((s.sample.product, row.split) for row, s in pairs)
    of_products = {row.group for row, s in pairs if s.sample.product in products}
    groups = _in_several((row.group, row.split) for row, _ in pairs)
    groups = {name: None for name in groups if name not in of_products}
    so = "Test knows what train has seen then; the splits are those that the catalogue names."
    if products:
        yield Doubt(
            f"{_counted(len(products), 'product')} rows in several splits, such as "
            f"{shown(next(iter(products)))}. {so}",
            "To split by product: --set prepare.columns.split=''",
            stops=True,
        )
    if groups:
        yield Doubt(
            f"{_counted(len(groups), 'group')} equal images in several splits, such as that of "
            f"{shown(next(iter(groups)))}. {so}",
            "To keep each in one split: --set prepare.columns.split=''",
        )


def _in_several(pairs: Iterable[tuple[str | None, str]]) -> dict[str, None]:
    """The names that lie in several splits, in order."""
    first: dict[str, str] = {}
    return dict.fromkeys(
        name for name, split in pairs if name and first.setdefault(name, split) != split
    )


def _counted(count: int, thing: str) -> str:
    return f"1 {thing} has" if count == 1 else f"{count:,} {thing}s have"


# ---------------------------------------------------------------- groups, splits, shards


def _rows(stored: list[StoredSample], pairs: list[tuple[int, int]], options: Prepare) -> list[Row]:
    """A row for every sample, its offset in a shard still open."""
    samples = [item.sample for item in stored]
    products, contents = [s.product for s in samples], [item.image.content for item in stored]
    if options.dedupe == "keep":
        contents = duplicates.numbered(contents)
    groups = duplicates.group_names(products, contents, pairs)
    split = splits.assign_splits(groups, [s.split for s in samples], options.splits, options.seed)
    uses = Counter(s.id for s in samples)
    return [
        Row(
            key=(key := f"{n:09d}"),
            # An id that is used twice names nothing.
            id=item.sample.id if item.sample.id and uses[item.sample.id] == 1 else key,
            split=split[n],
            group=groups[n],
            captions=item.sample.captions,
            attributes=item.sample.attributes,
            row=item.sample.row,
            path=item.path,
            width=item.image.width,
            height=item.image.height,
            content=item.image.content,
            phash=item.image.phash.hex(),
        )
        for n, item in enumerate(stored)
    ]


def _write(
    folder: Path,
    rows: list[Row],
    stored: list[StoredSample],
    store: TemporaryStore,
    options: Prepare,
    progress: Progress,
) -> dict[str, str]:
    """Writes the shards and the index; returns the sha256 of each file by its name."""
    files: dict[str, str] = {}
    indexed: list[Row] = []

    def images(split: str) -> Iterator[tuple[Row, bytes]]:
        for row, item in zip(rows, stored, strict=True):
            if row.split == split:
                yield row, store.get(item)

    for split in splits.NAMES:
        written, hashes = write_split(folder, split, images(split), options.shard_size)
        indexed += written
        files |= hashes
        progress("shards", len(indexed), len(rows))
    indexed.sort(key=lambda row: row.key)
    return files | {INDEX: shards.write_index(folder, indexed)}
