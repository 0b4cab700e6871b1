"""What prepare refuses: a sentence each, and the earlier shards stay as they were."""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from math import ceil
from pathlib import Path

from unidiff_cli import machine
from unidiff_cli.config.prepare import Prepare
from unidiff_cli.data.decode import write_quarantine
from unidiff_cli.data.readers import Reader
from unidiff_cli.data.sample import IMAGE_SUFFIXES, Cause, Extent
from unidiff_cli.data.stored_samples import Decoded
from unidiff_cli.errors import EnvironmentProblem, UsageError, WorkError
from unidiff_cli.project.files import make_folder
from unidiff_cli.project.project import Project
from unidiff_cli.system import disk_problem, naming

QUARANTINE = "quarantine.jsonl"
# Where a check leaves its page, and a try that failed its rejected rows.
CHECKED = ("cache", "prepare")
# A catalogue with a smaller share of captions was misread.
CAPTIONED = 0.9
# What the shards' index, the page and the receipt take beside the images.
SPARE_BYTES = 64 << 20
DISK_ERRORS = frozenset(
    (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EFBIG, errno.EIO)
)


def checked_folder(project: Project) -> Path:
    """The folder of what is kept of a check and of a try that failed."""
    project.folder(CHECKED[0])
    folder = project.path(*CHECKED)
    make_folder(folder)
    return folder


# ---------------------------------------------------------------- before the work


def refuse_our_shards(project: Project, reader: Reader) -> None:
    folder = project.path("shards").resolve()
    if reader.location.is_below(folder):
        raise UsageError(
            f"{reader.location} is inside {folder}, which prepare replaces.",
            "Name another project with -C.",
        )


def problem_of_nothing(reader: Reader, extent: Extent) -> WorkError | None:
    """What is wrong where no row is there, or `prepare.where` keeps none."""
    if extent.rows != 0:
        return None
    if reader.filtered:
        where = ", ".join(f"{column}={value}" for column, value in reader.options.where.items())
        return WorkError(
            f"None of the {reader.filtered:,} rows of {reader.location} has {where}.",
            "Check prepare.where.",
        )
    return WorkError(
        f"{reader.location} holds no images.",
        f"Images end in {' '.join(sorted(IMAGE_SUFFIXES))}; "
        "a table that names them may lie beside.",
    )


def refuse_full_disk(project: Project, extent: Extent) -> int:
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
def disk_errors(project: Project, needed: int) -> Iterator[None]:
    """Makes a sentence of a full or read-only disk."""
    try:
        with naming(project.path("shards")):
            yield
    except OSError as problem:
        if problem.errno not in DISK_ERRORS:
            raise
        then = f"Prepare needs up to {needed >> 20:,} MiB; what was there before is untouched."
        raise disk_problem(problem, then=then) from problem


# ---------------------------------------------------------------- after the images are decoded


def refuse_bad(project: Project, options: Prepare, reader: Reader, decoded: Decoded) -> None:
    """Raises WorkError where too little is left; the list of bad rows stays in the project then."""
    rows = len(decoded.rejected) + len(decoded.samples)
    if not rows:
        raise WorkError(f"{reader.location} holds no images.")
    bad = Counter(
        (item.reason.cause, item.reason.counted_as)
        for item in decoded.rejected
        if not item.reason.is_rule
    )
    refusal = _too_bad(bad, rows, options.max_bad)
    if refusal is None and not decoded.samples:
        reasons = Counter(item.reason.counted_as for item in decoded.rejected)
        reason, count = reasons.most_common(1)[0]
        fact = f"None of {rows:,} rows gives an image; {count:,}: {reason}."
        refusal = fact, "Mend them, or change the rule that leaves them out"
    if refusal:
        rejected = checked_folder(project) / QUARANTINE
        write_quarantine(rejected, decoded.rejected)
        raise WorkError(refusal[0], f"{refusal[1]}. The list: {rejected}")


def problem_of_lost(reader: Reader, extent: Extent) -> WorkError | None:
    """What is wrong where too many rows surely give no sample: no image is opened for that."""
    refusal = _too_bad(reader.lost, extent.rows or 0, reader.options.max_bad)
    return WorkError(refusal[0], f"{refusal[1]}.") if refusal else None


def _too_bad(
    bad: Counter[tuple[Cause | None, str]], rows: int, max_bad: float
) -> tuple[str, str] | None:
    """Why so many bad rows are refused and what to do; None where they are allowed.

    `bad` counts rows by the cause and the words of their reasons.
    """
    total = bad.total()
    without_caption = sum(n for (cause, _), n in bad.items() if cause is Cause.NO_CAPTION)
    if without_caption > max(1 - CAPTIONED, max_bad) * rows:
        return (
            f"Only {rows - without_caption:,} of {rows:,} images have a caption.",
            "Give each one, name the column or table that has them, "
            f"or leave those rows out: --max-bad {ceil(100 * total / rows)}%",
        )
    if total <= max_bad * rows:
        return None
    words: Counter[str] = Counter()
    for (_, reason), count in bad.items():
        words[reason] += count
    reason, count = words.most_common(1)[0]
    return (
        f"{total:,} of {rows:,} rows are bad ({total / rows:.1%}, allowed {max_bad:.1%}); "
        f"{count:,}: {reason}.",
        "Mend them, or allow more: --max-bad",
    )


@contextmanager
def listed_if_refused(project: Project, decoded: Decoded) -> Iterator[None]:
    """Keeps the list of rows that are left out, where somebody has to decide about them."""
    try:
        yield
    except UsageError:
        write_quarantine(checked_folder(project) / QUARANTINE, decoded.rejected)
        raise
