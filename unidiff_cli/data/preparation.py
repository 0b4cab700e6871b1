"""Preparing a catalogue that may be prepared: decode, select, group, split, write."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from unidiff_cli.config.schema import Recipe
from unidiff_cli.data import shard_folder, splits, summary
from unidiff_cli.data.caption_length import count_tokens
from unidiff_cli.data.content_doubts import content_doubts
from unidiff_cli.data.decode import (
    decode_catalogue,
    write_quarantine,
)
from unidiff_cli.data.doubts import Doubt, settle
from unidiff_cli.data.executors import Executor
from unidiff_cli.data.kept_images import KeptImages
from unidiff_cli.data.kept_work import kept_work
from unidiff_cli.data.readers import Reader
from unidiff_cli.data.refusals import (
    CHECKED,
    QUARANTINE,
    checked_folder,
    disk_errors,
    listed_if_refused,
    refuse_bad,
    refuse_full_disk,
)
from unidiff_cli.data.sample import Extent
from unidiff_cli.data.selection import select
from unidiff_cli.data.token_window import TokenWindow
from unidiff_cli.progress import Progress
from unidiff_cli.project.files import digest
from unidiff_cli.project.project import Project
from unidiff_cli.project.receipt import Receipt, record_of

PAGE = "report.html"


class Reading(NamedTuple):
    """How a catalogue is read that may be prepared; what is doubtful and to be warned of so far."""

    reader: Reader
    extent: Extent
    description: list[str]
    doubts: list[Doubt]
    warnings: list[str]


@dataclass
class Preparation:
    """Preparing a catalogue that may be prepared, of which nothing is done yet."""

    project: Project
    recipe: Recipe
    reading: Reading
    settings: dict[str, Any]
    executor: Executor
    window: TokenWindow | None
    progress: Progress
    yes: bool
    strict: bool
    check: bool

    def done(self, anew: bool) -> Receipt:
        """The receipt, once all is done; `anew` uses nothing that earlier runs left.

        Raises Lost where something that they left is damaged; then it is forgotten.
        """
        project, options = self.project, self.recipe.prepare
        receipt = Receipt("prepare", self.settings, seed=options.seed)
        reading = self.reading
        needed = refuse_full_disk(project, reading.extent)
        with disk_errors(project, needed), _folder(project, receipt, self.check) as folder:
            kept, units = kept_work(project, options, anew)
            with kept:
                contents, warnings = self._contents(folder, kept)
                if not self.check:
                    hashes = shard_folder.fill(
                        folder,
                        contents.rows,
                        units,
                        kept,
                        options.shard_size,
                        self.progress,
                    )
                    receipt.content = digest(hashes)
                    receipt.files = {
                        name: record_of(folder / name, h) for name, h in hashes.items()
                    }
                receipt.counts = summary.counts(reading.reader, contents)
                receipt.figures = summary.figures(
                    reading.reader,
                    contents,
                    reading.description,
                    [*reading.warnings, *warnings],
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
        project, reader, options = self.project, self.reading.reader, self.recipe.prepare
        everything = decode_catalogue(
            reader, options, self.executor, kept, self.reading.extent, self.progress
        )
        selection = select(everything, options)
        decoded, pairs = selection.decoded, selection.pairs
        write_quarantine(folder / QUARANTINE, decoded.rejected)
        refuse_bad(project, options, reader, decoded)
        rows = shard_folder.rows_of(decoded.samples, pairs, options)
        tokens = count_tokens(self.window, decoded.samples.captions()) if self.window else None
        contents = summary.Contents(
            rows, decoded, pairs, selection.placeholders, selection.notes, tokens
        )
        lacking = splits.doubts(rows.splits, options.splits)
        # What only a whole pass tells, of a catalogue that was not read before.
        later = [doubt for doubt in reader.doubts() if doubt not in self.reading.doubts]
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
