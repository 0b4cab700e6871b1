"""What a person sees: results on stdout; progress, notes and errors on stderr, plain lines where that is no terminal."""

from __future__ import annotations

import io
import json
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from unidiff_cli.errors import UnidiffError

# no emoji: a caption may hold ":dress:" and means it
out = Console(soft_wrap=True, highlight=False, emoji=False)
err = Console(stderr=True, soft_wrap=True, highlight=False, emoji=False)
EVERY = 10.0  # seconds between plain progress lines
hushed = False  # -q: no notes


class Bars:
    """Progress of any number of labelled jobs: bars on a terminal, a line every ten seconds elsewhere."""

    def __init__(self, quiet: bool = False) -> None:
        self.quiet, self.live = quiet, err.is_terminal and not quiet
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        self.progress = Progress(*columns, console=err, transient=False, disable=not self.live)
        self.tasks: dict[str, TaskID] = {}
        self.printed: dict[str, float] = {}
        self.ended: set[tuple[str, int]] = set()

    def __call__(self, label: str, done: int, total: int, note: str = "") -> None:
        """Shows that `done` of `total` are done; a total of 0 means that nobody knows it."""
        if self.live:
            if label not in self.tasks:
                self.tasks[label] = self.progress.add_task(label, total=None)
            text = f"{label}  {note}" if note else label
            self.progress.update(
                self.tasks[label], completed=done, total=total or None, description=text
            )
        elif not self.quiet:
            now, ends = time.monotonic(), bool(total) and done >= total
            late = now - self.printed.setdefault(label, now) >= EVERY
            if late or (ends and (label, total) not in self.ended):
                self.printed[label] = now
                if ends:
                    self.ended.add((label, total))
                of = f" of {total:,}" if total else ""
                err.print(escape(f"{label}: {done:,}{of}{'  ' + note if note else ''}"))

    def step(self, total: int) -> Any:
        """An `on_step` that shows a run's loss and speed."""

        def show(line: dict[str, Any]) -> None:
            self(
                "training",
                line["step"],
                total,
                f"loss {line['loss']:.4f}  {line['samples_per_second']:.1f} samples/s",
            )

        return show


@contextmanager
def bars(quiet: bool = False) -> Iterator[Bars]:
    """Bars that are on the screen while the work runs."""
    shown = Bars(quiet)
    with shown.progress:
        yield shown


def note(text: str) -> None:
    """A line of information on stderr; -q leaves it out."""
    if not hushed:
        err.print(escape(text))


def say(text: str = "") -> None:
    """A line of the result on stdout."""
    out.print(escape(text))


def show_json(value: Any) -> None:
    """One JSON document on stdout."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n")
    sys.stdout.flush()  # a reader that left is met here, not at exit


def show_file(path: Path) -> None:
    """A text file as it is, on stdout."""
    sys.stdout.write(path.read_text(encoding="utf-8"))
    sys.stdout.flush()


def show_table(columns: list[str], rows: list[list[Any]], title: str = "") -> None:
    """A table on stdout; on no terminal it is as wide as its cells."""
    table = Table(*columns, title=title or None, title_justify="left")
    for row in rows:
        table.add_row(*(escape(str(cell)) for cell in row))
    # rich takes 80 columns where it sees no terminal, and would cut the paths of a file or a pipe
    (out if out.is_terminal else Console(width=10_000, highlight=False, emoji=False)).print(table)


def show_error(problem: UnidiffError) -> None:
    """A fact and an action, each on its line."""
    err.print(f"[bold red]error:[/] {escape(problem.fact)}")
    if problem.action:
        err.print(escape(problem.action))


def start(quiet: bool = False, verbose: bool = False) -> None:
    """Sets what is shown: the library's notes go to stderr, and none of it with `quiet`."""
    global hushed
    hushed = quiet
    for stream in (sys.stdout, sys.stderr):  # a file name that is no UTF-8 must not end the work
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            note(record.getMessage())

    logger = logging.getLogger("unidiff")
    logger.handlers, logger.propagate = [Handler()], False
    logger.setLevel(logging.DEBUG if verbose else logging.INFO)
