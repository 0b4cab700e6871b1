"""Prepare: a catalogue of photos and text becomes shards, split without leaks, every row accounted for."""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import quantiles
from typing import IO, Any

import numpy as np

from .. import groups, pages, readers, shards, workers
from ..errors import EnvironmentProblem, UsageError, WorkError
from ..pictures import Picture
from ..project import Project, Receipt
from ..readers import Bad, Extent, Reader, Sample, shown
from ..recipe import Prepare, Recipe
from ..shards import Row

QUARANTINE = "quarantine.jsonl"
CAPTIONED = 0.9  # a catalogue with fewer captions was misread (field.md B6)
LONG = 50  # words; CLIP reads 77 tokens
CHANGES = ("rotated", "alpha", "resized", "profile", "reencoded")

Progress = Callable[[str, int, int], None]


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
            with _Spool(fresh) as spool:
                taken = _take(reader, options, spool, extent, progress)
                _write_quarantine(fresh / QUARANTINE, taken.bad)
                _refuse_bad(project, options, reader, taken)
                pairs = _near(taken.kept, options)
                rows = _rows(taken.kept, pairs, reader, options)
                receipt.files = _write(fresh, rows, taken.kept, spool, options, progress)
                receipt.counts = _counts(reader, taken, rows, pairs)
                receipt.figures = _figures(reader, taken, rows, understood)
                _report(fresh / "report.html", receipt, taken, rows, pairs, spool, options)

        # Close the room.
        project.room(QUARANTINE).unlink(missing_ok=True)  # of a try that failed; the room has its own
    return receipt


# ---------------------------------------------------------------- what we read and refuse


def _settings(recipe: Recipe, reader: Reader, extent: Extent) -> dict[str, Any]:
    """What decides the result: the recipe's section, the catalogue and its state."""
    section = {k: v for k, v in recipe.section("prepare")["prepare"].items() if k != "workers"}
    source = shown(os.path.relpath(reader.path, reader.root))
    return {"prepare": section, "catalogue": {"path": shown(reader.root), "source": source, "digest": extent.digest}}


def _done(project: Project, settings: dict[str, Any]) -> Receipt | None:
    room = project.room("shards")
    receipt = Receipt.read(room)
    same = receipt is not None and receipt.same_work(settings, {})
    return receipt if same and receipt and all((room / name).is_file() for name in receipt.files) else None


def _refuse_rooms(project: Project, reader: Reader) -> None:
    room = project.room("shards").resolve()
    if reader.path.resolve().is_relative_to(room):
        raise UsageError(f"{reader.path} is inside {room}, which prepare replaces.", "Name another project with -C.")


def _refuse_nothing(reader: Reader, extent: Extent) -> None:
    if extent.rows == 0 and reader.filtered:
        kept = ", ".join(f"{column}={value}" for column, value in reader.options.where.items())
        raise WorkError(f"None of the {reader.filtered:,} rows of {reader.path} has {kept}.", "Check prepare.where.")
    if extent.rows == 0:
        raise WorkError(
            f"{reader.path} holds no pictures.",
            f"Pictures end in {' '.join(sorted(readers.PICTURES))}; a table that names them may lie beside.",
        )


def _refuse_full_disk(project: Project, extent: Extent) -> int:
    """The bytes that are needed at most: every picture twice for a while. Raises EnvironmentProblem."""
    needs = 2 * extent.bytes + (64 << 20)
    free = shutil.disk_usage(project.root).free
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
        if problem.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EFBIG, errno.EIO):
            raise
        raise EnvironmentProblem(
            f"{problem.filename or project.root} could not be written: {problem.strerror}; "
            f"prepare needs up to {needs >> 20:,} MiB.",
            "Free some space and run it again; what was there before is untouched.",
        ) from problem


def _refuse_bad(project: Project, options: Prepare, reader: Reader, taken: _Taken) -> None:
    """Raises WorkError where too little is left; the list of bad rows is kept in the project then."""
    bad, seen = len(taken.bad), len(taken.bad) + len(taken.kept)
    reasons = Counter(_kind(b.reason) for b in taken.bad)
    bare = sum(count for reason, count in reasons.items() if reason.startswith("no caption"))
    if not seen:
        raise WorkError(f"{reader.path} holds no pictures.")
    if bare > (1 - CAPTIONED) * seen:
        fact = f"Only {seen - bare:,} of {seen:,} pictures have a caption."
        action = "Add .txt files beside them, or map a column: --set prepare.columns.caption=COLUMN"
    elif bad > options.max_bad * seen or not taken.kept:
        reason, count = reasons.most_common(1)[0]
        fact = f"{bad:,} of {seen:,} rows are bad ({bad / seen:.1%}, allowed {options.max_bad:.1%}); {count:,}: {reason}."
        action = "Mend them, or allow more: --max-bad"
    else:
        return
    _write_quarantine(project.room(QUARANTINE), taken.bad)
    raise WorkError(fact, f"{action}. The list: {project.room(QUARANTINE)}")


def _kind(reason: str) -> str:
    """A reason without what differs from row to row."""
    return reason.split(":")[0] if reason.startswith(("no caption", "damaged", "not JSON")) else reason


# ---------------------------------------------------------------- pictures


@dataclass(frozen=True)
class Kept:
    """A sample whose picture is in the spool."""

    sample: Sample
    picture: Picture  # without its bytes
    place: int  # in the spool
    size: int


@dataclass
class _Taken:
    kept: list[Kept]
    bad: list[Bad]


class _Spool:
    """Ready pictures on disk between the two passes, so that memory does not grow with the catalogue."""

    def __init__(self, folder: Path) -> None:
        self._stream: IO[bytes] = tempfile.TemporaryFile(dir=folder)

    def __enter__(self) -> _Spool:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def put(self, data: bytes) -> int:
        place = self._stream.seek(0, os.SEEK_END)
        self._stream.write(data)
        return place

    def get(self, kept: Kept) -> bytes:
        self._stream.seek(kept.place)
        return self._stream.read(kept.size)


def _take(reader: Reader, options: Prepare, spool: _Spool, extent: Extent, progress: Progress) -> _Taken:
    """Decodes every picture once; the good ones go to the spool, the others to the quarantine list."""
    kept: list[Kept] = []
    bad: dict[int, Bad] = {}  # by row number, so that the list does not depend on who was fast
    waiting: deque[tuple[int, Sample]] = deque()

    def sources() -> Iterator[Path | bytes]:
        for number, item in enumerate(reader):
            if isinstance(item, Bad):
                bad[number] = item
            else:
                source = item.image
                waiting.append((number, item if isinstance(source, Path) else replace(item, image=b"")))
                yield source

    results = workers.each(sources(), options.max_side, options.max_pixels, options.workers)
    for done, picture in enumerate(results, 1):
        number, sample = waiting.popleft()
        if isinstance(picture, str):
            bad[number] = Bad(sample.row, picture, _path(sample, reader))
        else:
            place = spool.put(picture.data)
            kept.append(Kept(sample, replace(picture, data=b""), place, len(picture.data)))
        if done % 50 == 0:
            progress("pictures", done, max(extent.rows or 0, done) if extent.rows else 0)
    progress("pictures", len(kept) + len(bad), len(kept) + len(bad))
    return _Taken(kept, [bad[number] for number in sorted(bad)])


def _path(sample: Sample, reader: Reader) -> str:
    return shown(os.path.relpath(sample.image, reader.root)) if isinstance(sample.image, Path) else ""


def _write_quarantine(path: Path, bad: Iterable[Bad]) -> None:
    with open(path, "w", encoding="utf-8") as stream:
        for item in bad:
            stream.write(json.dumps({"row": item.row, "path": item.path, "reason": item.reason}) + "\n")


# ---------------------------------------------------------------- groups, splits, shards


def _near(kept: list[Kept], options: Prepare) -> list[tuple[int, int]]:
    """Pairs of pictures that are one photo, saved or scaled again."""
    if not options.near_duplicates:
        return []
    first = {k.picture.content: n for n, k in reversed(list(enumerate(kept)))}  # equal ones are joined anyway
    chosen = sorted(first.values())
    some = [kept[n].picture for n in chosen]
    hashes = np.frombuffer(b"".join(p.phash for p in some), np.uint8).reshape(len(some), -1)
    colours = np.frombuffer(b"".join(p.colour for p in some), np.uint8).reshape(len(some), -1)
    pairs = groups.near(hashes, colours, np.array([p.flat for p in some], bool), options.near_duplicates)
    return sorted((chosen[a], chosen[b]) for a, b in pairs)


def _rows(kept: list[Kept], pairs: list[tuple[int, int]], reader: Reader, options: Prepare) -> list[Row]:
    """A row for every sample, its place in a shard still open."""
    samples = [k.sample for k in kept]
    group = groups.join([s.product for s in samples], [k.picture.content for k in kept], pairs)
    split = groups.split(group, [s.split for s in samples], options.splits, options.seed)
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
            path=_path(s, reader),
            width=kept[n].picture.width,
            height=kept[n].picture.height,
            content=kept[n].picture.content,
            phash=kept[n].picture.phash.hex(),
        )
        for n, s in enumerate(samples)
    ]


def _write(
    fresh: Path, rows: list[Row], kept: list[Kept], spool: _Spool, options: Prepare, progress: Progress
) -> dict[str, str]:
    """Writes the shards and the index; gives their names and sha256."""
    files: dict[str, str] = {}
    placed: list[Row] = []

    def samples(split: str) -> Iterator[tuple[Row, bytes]]:
        for n, row in enumerate(rows):
            if row.split == split:
                yield row, spool.get(kept[n])

    for split in groups.NAMES:
        written, names = shards.write(fresh, split, samples(split), options.shard_size)
        placed += written
        files |= names
        progress("shards", len(placed), len(rows))
    return files | {shards.INDEX: shards.write_index(fresh, placed)}


# ---------------------------------------------------------------- the receipt and the report


def _counts(reader: Reader, taken: _Taken, rows: list[Row], pairs: list[tuple[int, int]]) -> dict[str, int]:
    splits = Counter(row.split for row in rows)
    torn = Counter(group for group, _ in {(row.group, row.split) for row in rows})
    changes = Counter(change for k in taken.kept for change in k.picture.changes)
    return {
        "rows": len(rows) + len(taken.bad) + reader.filtered,
        "filtered": reader.filtered,
        "bad": len(taken.bad),
        "samples": len(rows),
        **{split: splits[split] for split in groups.NAMES},
        "groups": len({row.group for row in rows}),
        "groups_in_several_splits": sum(count > 1 for count in torn.values()),
        "duplicates": len(rows) - len({row.content for row in rows}),
        "near_duplicates": len(pairs),
        "captions_distinct": len({caption for row in rows for caption in row.captions}),
        **{change: changes[change] for change in CHANGES},
    }


def _figures(reader: Reader, taken: _Taken, rows: list[Row], understood: str) -> dict[str, Any]:
    words = [len(caption.split()) for row in rows for caption in row.captions]
    cuts = quantiles(words, n=20, method="inclusive") if len(words) > 1 else words * 19
    largest = Counter(row.group for row in rows).most_common(1)[0]
    return {
        "understood": understood.splitlines(),
        "notes": dict(reader.notes.most_common()),
        "caption_words": {"median": cuts[9], "p95": cuts[18], "most": max(words)},
        "captions_over_50_words": round(sum(w > LONG for w in words) / len(words), 4),
        "largest_group": {"name": largest[0], "samples": largest[1]},
        "bad_reasons": dict(Counter(_kind(b.reason) for b in taken.bad).most_common(12)),
    }


def _report(
    path: Path,
    receipt: Receipt,
    taken: _Taken,
    rows: list[Row],
    pairs: list[tuple[int, int]],
    spool: _Spool,
    options: Prepare,
) -> None:
    """The page a person looks at before training: what was understood, kept, changed, joined and refused."""
    chosen = sorted({n * len(rows) // 24 for n in range(24)})
    groups_in = Counter(split for _, split in {(row.group, row.split) for row in rows})

    def shows(n: int) -> dict[str, str]:
        picture = pages.thumbnail(spool.get(taken.kept[n]))
        return {"picture": picture, "caption": rows[n].captions[0], "row": rows[n].row, "split": rows[n].split}

    html = pages.render(
        "prepare.html.j2",
        receipt=receipt,
        options=options,
        splits=[(name, receipt.counts[name], groups_in[name]) for name in groups.NAMES],
        words=pages.bars(len(caption.split()) for row in rows for caption in row.captions),
        samples=[shows(n) for n in chosen],
        pairs=[(shows(a), shows(b)) for a, b in pairs[:6]],
        bad=taken.bad[:200],
    )
    path.write_text(html, encoding="utf-8", errors="backslashreplace")
