"""Prepare: a catalogue of photos and text becomes shards, split without leaks, every row accounted for."""

from __future__ import annotations

import errno
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from unidiff_cli import machine
from unidiff_cli.config.schema import Prepare, Recipe
from unidiff_cli.data import duplicates, readers, sample, shards, splits, summary
from unidiff_cli.data.decode import (
    Decoded,
    Progress,
    Spool,
    StoredSample,
    decode_catalogue,
    quarantine,
    source_path,
)
from unidiff_cli.data.readers import Reader, shown
from unidiff_cli.data.sample import Extent
from unidiff_cli.data.shards import Row
from unidiff_cli.errors import EnvironmentProblem, UsageError, WorkError
from unidiff_cli.project.project import Project
from unidiff_cli.project.receipt import Receipt

QUARANTINE = "quarantine.jsonl"
CAPTIONED = 0.9  # a catalogue with fewer captions was misread (field.md B6)


def plan(recipe: Recipe, catalogue: str | os.PathLike[str]) -> str:
    """What would be read and how it is understood, in lines for the user; nothing is written."""
    return readers.choose(catalogue, recipe.prepare).describe()


def prepare(
    project: Project,
    recipe: Recipe,
    catalogue: str | os.PathLike[str],
    *,
    force: bool = False,
    on_progress: Progress | None = None,
) -> Receipt:
    """Makes the room `shards` from a catalogue, or gives back its receipt where that work is done already.

    `on_progress(what, done, of)` is called as it goes; `of` is 0 where nobody knows. Raises UsageError, WorkError
    (nothing there, too much of it bad) and EnvironmentProblem (disk); the room stays as it was then.
    """
    # What we read.
    options, progress = recipe.prepare, on_progress or (lambda what, done, of: None)
    reader = readers.choose(catalogue, options)
    understood = reader.describe()
    extent = reader.extent()
    settings = _settings(recipe, reader, extent)

    # What we refuse.
    _refuse_rooms(project, reader)
    _refuse_nothing(reader, extent)
    if not force and (done := _done(project, settings)):
        return done

    # Do.
    with project.lock():
        receipt = Receipt("prepare", settings, seed=options.seed)
        needs = _refuse_full_disk(project, extent)
        with _disk(project, needs), project.writing("shards", receipt=receipt) as fresh:
            with Spool(fresh) as spool:
                taken = decode_catalogue(reader, options, spool, extent, progress)
                quarantine(fresh / QUARANTINE, taken.bad)
                _refuse_bad(project, options, reader, taken)
                pairs = _near(taken.kept, options)
                rows = _rows(taken.kept, pairs, reader, options)
                receipt.files = _write(fresh, rows, taken.kept, spool, options, progress)
                receipt.counts = summary.counts(reader, taken, rows, pairs)
                receipt.figures = summary.figures(reader, taken, rows, understood)
                summary.report(fresh / "report.html", receipt, taken, rows, pairs, spool, options)

        # Close the room.
        project.path(QUARANTINE).unlink(
            missing_ok=True
        )  # of a try that failed; the room has its own
    return receipt


# ---------------------------------------------------------------- what we read and refuse


def _settings(recipe: Recipe, reader: Reader, extent: Extent) -> dict[str, Any]:
    """What decides the result: the recipe's section, the catalogue and its state."""
    section = {k: v for k, v in recipe.section("prepare")["prepare"].items() if k != "workers"}
    source = shown(os.path.relpath(reader.path, reader.root))
    return {
        "prepare": section,
        "catalogue": {"path": shown(reader.root), "source": source, "digest": extent.digest},
    }


def _done(project: Project, settings: dict[str, Any]) -> Receipt | None:
    room = project.path("shards")
    receipt = Receipt.read(room)
    same = receipt is not None and receipt.same_work(settings, {})
    return (
        receipt
        if same and receipt and all((room / name).is_file() for name in receipt.files)
        else None
    )


def _refuse_rooms(project: Project, reader: Reader) -> None:
    room = project.path("shards").resolve()
    if reader.path.resolve().is_relative_to(room):
        raise UsageError(
            f"{reader.path} is inside {room}, which prepare replaces.",
            "Name another project with -C.",
        )


def _refuse_nothing(reader: Reader, extent: Extent) -> None:
    if extent.rows == 0 and reader.filtered:
        kept = ", ".join(f"{column}={value}" for column, value in reader.options.where.items())
        raise WorkError(
            f"None of the {reader.filtered:,} rows of {reader.path} has {kept}.",
            "Check prepare.where.",
        )
    if extent.rows == 0:
        raise WorkError(
            f"{reader.path} holds no images.",
            f"Images end in {' '.join(sorted(sample.IMAGE_SUFFIXES))}; a table that names them may lie beside.",
        )


def _refuse_full_disk(project: Project, extent: Extent) -> int:
    """The bytes that are needed at most: every image twice for a while. Raises EnvironmentProblem."""
    needs = 2 * extent.bytes + (64 << 20)
    free = machine.free_bytes(project.root)
    if free < needs:
        raise EnvironmentProblem(
            f"{project.root} has {free >> 20:,} MiB free, and prepare needs up to {needs >> 20:,} MiB.",
            "Free some space, or name a project on another disk with -C.",
        )
    return needs


@contextmanager
def _disk(project: Project, needs: int) -> Iterator[None]:
    """A full or read-only disk as a sentence."""
    try:
        yield
    except OSError as problem:
        if problem.errno not in (
            errno.ENOSPC,
            errno.EDQUOT,
            errno.EROFS,
            errno.EACCES,
            errno.EFBIG,
            errno.EIO,
        ):
            raise
        raise EnvironmentProblem(
            f"{problem.filename or project.root} could not be written: {problem.strerror}; "
            f"prepare needs up to {needs >> 20:,} MiB.",
            "Free some space and run it again; what was there before is untouched.",
        ) from problem


def _refuse_bad(project: Project, options: Prepare, reader: Reader, taken: Decoded) -> None:
    """Raises WorkError where too little is left; the list of bad rows is kept in the project then."""
    bad, seen = len(taken.bad), len(taken.bad) + len(taken.kept)
    reasons = Counter(summary.reason(b.reason) for b in taken.bad)
    bare = sum(count for reason, count in reasons.items() if reason.startswith("no caption"))
    if not seen:
        raise WorkError(f"{reader.path} holds no images.")
    if bare > (1 - CAPTIONED) * seen:
        fact = f"Only {seen - bare:,} of {seen:,} images have a caption."
        action = "Add .txt files beside them, or map a column: --set prepare.columns.caption=COLUMN"
    elif bad > options.max_bad * seen or not taken.kept:
        reason, count = reasons.most_common(1)[0]
        fact = f"{bad:,} of {seen:,} rows are bad ({bad / seen:.1%}, allowed {options.max_bad:.1%}); {count:,}: {reason}."
        action = "Mend them, or allow more: --max-bad"
    else:
        return
    quarantine(project.path(QUARANTINE), taken.bad)
    raise WorkError(fact, f"{action}. The list: {project.path(QUARANTINE)}")


# ---------------------------------------------------------------- groups, splits, shards


def _near(kept: list[StoredSample], options: Prepare) -> list[tuple[int, int]]:
    """Pairs of images that are one photo, saved or scaled again."""
    if not options.near_duplicates:
        return []
    first = {
        k.image.content: n for n, k in reversed(list(enumerate(kept)))
    }  # equal ones are joined anyway
    chosen = sorted(first.values())
    some = [kept[n].image for n in chosen]
    hashes = np.frombuffer(b"".join(p.phash for p in some), np.uint8).reshape(len(some), -1)
    colours = np.frombuffer(b"".join(p.colour for p in some), np.uint8).reshape(len(some), -1)
    pairs = duplicates.near(
        hashes, colours, np.array([p.flat for p in some], bool), options.near_duplicates
    )
    return sorted((chosen[a], chosen[b]) for a, b in pairs)


def _rows(
    kept: list[StoredSample], pairs: list[tuple[int, int]], reader: Reader, options: Prepare
) -> list[Row]:
    """A row for every sample, its place in a shard still open."""
    samples = [k.sample for k in kept]
    group = duplicates.join([s.product for s in samples], [k.image.content for k in kept], pairs)
    split = splits.split(group, [s.split for s in samples], options.splits, options.seed)
    uses = Counter(s.id for s in samples)
    return [
        Row(
            key=(key := f"{n:09d}"),
            id=s.id if s.id and uses[s.id] == 1 else key,  # an id that is used twice names nothing
            split=split[n],
            group=group[n],
            captions=s.captions,
            attributes=s.attributes,
            row=s.row,
            path=source_path(s, reader),
            width=kept[n].image.width,
            height=kept[n].image.height,
            content=kept[n].image.content,
            phash=kept[n].image.phash.hex(),
        )
        for n, s in enumerate(samples)
    ]


def _write(
    fresh: Path,
    rows: list[Row],
    kept: list[StoredSample],
    spool: Spool,
    options: Prepare,
    progress: Progress,
) -> dict[str, str]:
    """Writes the shards and the index; gives their names and sha256."""
    files: dict[str, str] = {}
    placed: list[Row] = []

    def samples(split: str) -> Iterator[tuple[Row, bytes]]:
        for n, row in enumerate(rows):
            if row.split == split:
                yield row, spool.get(kept[n])

    for split in splits.SPLIT_NAMES:
        written, names = shards.write(fresh, split, samples(split), options.shard_size)
        placed += written
        files |= names
        progress("shards", len(placed), len(rows))
    return files | {shards.INDEX: shards.write_index(fresh, placed)}
