"""Prepare: a catalogue of images and text becomes shards, split by group, every row counted."""

from __future__ import annotations

import errno
import logging
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from math import ceil
from pathlib import Path
from typing import Any

from unidiff_cli import machine
from unidiff_cli.config.schema import Prepare, Recipe
from unidiff_cli.data import duplicates, readers, shards, splits, summary
from unidiff_cli.data.caption_length import count_tokens
from unidiff_cli.data.decode import (
    Decoded,
    StoredSample,
    TemporaryStore,
    decode_catalogue,
    executor_of,
    write_quarantine,
)
from unidiff_cli.data.doubts import Doubt, settle
from unidiff_cli.data.downloads import Downloads
from unidiff_cli.data.locations import shown
from unidiff_cli.data.readers import Reader
from unidiff_cli.data.sample import IMAGE_SUFFIXES, Cause, Extent, Rejected
from unidiff_cli.data.selection import select
from unidiff_cli.data.shard_writer import write_split
from unidiff_cli.data.shards import Row
from unidiff_cli.data.token_window import TokenWindow
from unidiff_cli.data.web_client import Client
from unidiff_cli.errors import EnvironmentProblem, UsageError, WorkError
from unidiff_cli.progress import Progress, labelled
from unidiff_cli.project.files import digest, make_folder
from unidiff_cli.project.project import Project
from unidiff_cli.project.receipt import Receipt, record_of
from unidiff_cli.system import disk_problem, naming

logger = logging.getLogger("unidiff")

QUARANTINE = "quarantine.jsonl"
PAGE = "report.html"
# Where a check leaves its page, and a try that failed its rejected rows.
CHECKED = ("cache", "prepare")
# Where the images of web addresses lie.
DOWNLOADED = ("cache", "downloads")
# What is said of what was not read, and how many are named.
ACTIONS = {
    Cause.LINK: "Copy what they name into the catalogue, or allow them: --follow-links",
    Cause.UNREADABLE: "Nobody knows how many images they hold; make them readable.",
}
NAMED = 5
# A catalogue with a smaller share of captions was misread.
CAPTIONED = 0.9
# What the shards' index, the page and the receipt take beside the images.
SPARE_BYTES = 64 << 20
DISK_ERRORS = frozenset(
    (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EFBIG, errno.EIO)
)


def plan(recipe: Recipe, catalogue: str | os.PathLike[str]) -> tuple[list[str], list[Doubt]]:
    """How the catalogue would be read, in lines for a person, and what is doubtful of that.

    All rows are read; no image is opened and nothing is written.
    """
    reader = readers.choose(catalogue, recipe.prepare)
    description = [*reader.origin, *reader.describe()]
    _refuse_nothing(reader, reader.extent())
    return description, reader.doubts()


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
    _refuse_our_shards(project, reader)
    _refuse_nothing(reader, extent)
    warnings = settle(reader.doubts(), yes, strict)

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
        needed = _refuse_full_disk(project, extent)
        with _disk(project, needed), _folder(project, receipt, check) as folder:
            with TemporaryStore(folder) as store:
                executor = executor_of(options)
                everything = decode_catalogue(reader, options, executor, store, extent, progress)
                selection = select(everything, options)
                decoded, pairs = selection.decoded, selection.pairs
                write_quarantine(folder / QUARANTINE, decoded.rejected)
                _refuse_bad(project, options, reader, decoded)
                rows = _rows(decoded.samples, pairs, options)
                tokens = count_tokens(window, _captions(rows)) if window else None
                contents = summary.Contents(
                    rows, decoded, pairs, selection.placeholders, selection.notes, tokens
                )
                lacking = splits.doubts([row.split for row in rows], options.splits)
                doubts = [*_doubts(contents), *selection.doubts, *lacking]
                with _listed_if_refused(project, decoded):
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
    yield _checked(project)


def _checked(project: Project) -> Path:
    """The folder of what is kept of a check and of a try that failed."""
    project.folder(CHECKED[0])
    folder = project.path(*CHECKED)
    make_folder(folder)
    return folder


# ---------------------------------------------------------------- what is read and refused


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


def _refuse_our_shards(project: Project, reader: Reader) -> None:
    folder = project.path("shards").resolve()
    if reader.location.is_below(folder):
        raise UsageError(
            f"{reader.location} is inside {folder}, which prepare replaces.",
            "Name another project with -C.",
        )


def _refuse_nothing(reader: Reader, extent: Extent) -> None:
    if extent.rows == 0 and reader.filtered:
        where = ", ".join(f"{column}={value}" for column, value in reader.options.where.items())
        raise WorkError(
            f"None of the {reader.filtered:,} rows of {reader.location} has {where}.",
            "Check prepare.where.",
        )
    if extent.rows == 0:
        raise WorkError(
            f"{reader.location} holds no images.",
            f"Images end in {' '.join(sorted(IMAGE_SUFFIXES))}; "
            "a table that names them may lie beside.",
        )


def _refuse_full_disk(project: Project, extent: Extent) -> int:
    """The bytes that are needed at most: every image twice for a while. EnvironmentProblem."""
    needed = 2 * extent.bytes + SPARE_BYTES
    free = machine.free_bytes(project.root)
    if free < needed:
        raise EnvironmentProblem(
            f"{project.root} has {free >> 20:,} MiB free, "
            f"and prepare needs up to {needed >> 20:,} MiB.",
            "Free some space, or name a project on another disk with -C.",
        )
    return needed


@contextmanager
def _disk(project: Project, needed: int) -> Iterator[None]:
    """Makes a sentence of a full or read-only disk."""
    try:
        with naming(project.path("shards")):
            yield
    except OSError as problem:
        if problem.errno not in DISK_ERRORS:
            raise
        then = f"Prepare needs up to {needed >> 20:,} MiB; what was there before is untouched."
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
    return doubts


def _refuse_bad(project: Project, options: Prepare, reader: Reader, decoded: Decoded) -> None:
    """Raises WorkError where too little is left; the list of bad rows stays in the project then."""
    bad = sum(not item.reason.is_rule for item in decoded.rejected)
    rows = len(decoded.rejected) + len(decoded.samples)
    without_caption = sum(item.reason.cause is Cause.NO_CAPTION for item in decoded.rejected)
    if not rows:
        raise WorkError(f"{reader.location} holds no images.")
    if without_caption > max(1 - CAPTIONED, options.max_bad) * rows:
        fact = f"Only {rows - without_caption:,} of {rows:,} images have a caption."
        action = (
            "Give each one, name the column or table that has them, "
            f"or leave those rows out: --max-bad {ceil(100 * bad / rows)}%"
        )
    elif bad > options.max_bad * rows:
        reason, count = _commonest(item for item in decoded.rejected if not item.reason.is_rule)
        fact = (
            f"{bad:,} of {rows:,} rows are bad ({bad / rows:.1%}, allowed {options.max_bad:.1%}); "
            f"{count:,}: {reason}."
        )
        action = "Mend them, or allow more: --max-bad"
    elif not decoded.samples:
        reason, count = _commonest(decoded.rejected)
        fact = f"None of {rows:,} rows gives an image; {count:,}: {reason}."
        action = "Mend them, or change the rule that leaves them out"
    else:
        return
    rejected = _checked(project) / QUARANTINE
    write_quarantine(rejected, decoded.rejected)
    raise WorkError(fact, f"{action}. The list: {rejected}")


def _commonest(rejected: Iterable[Rejected]) -> tuple[str, int]:
    """The reason of most rejected rows, and of how many."""
    return Counter(item.reason.counted_as for item in rejected).most_common(1)[0]


@contextmanager
def _listed_if_refused(project: Project, decoded: Decoded) -> Iterator[None]:
    """Keeps the list of rows that are left out, where somebody has to decide about them."""
    try:
        yield
    except UsageError:
        write_quarantine(_checked(project) / QUARANTINE, decoded.rejected)
        raise


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
    return files | {shards.INDEX: shards.write_index(folder, indexed)}
