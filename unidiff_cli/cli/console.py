"""The terminal: results on stdout; progress, notes and errors on stderr.

Where stderr is no terminal, progress is plain lines.
"""

from __future__ import annotations

import io
import json
import logging
import sys
import time
from collections.abc import Callable, Iterator
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

from unidiff_cli import signals
from unidiff_cli.errors import Stated

# No emoji: a caption may hold ":dress:".
out = Console(soft_wrap=True, highlight=False, emoji=False)
err = Console(stderr=True, soft_wrap=True, highlight=False, emoji=False)
# Seconds between plain progress lines.
INTERVAL = 10.0
# Whether notes are left out (-q).
quiet_notes = False


class Bars:
    """Progress of labelled work: bars on a terminal, elsewhere a line every ten seconds."""

    def __init__(self, quiet: bool = False) -> None:
        self.quiet, self.live = quiet, err.is_terminal and not quiet
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        self.display = Progress(*columns, console=err, transient=False, disable=not self.live)
        self.tasks: dict[str, TaskID] = {}
        self.printed: dict[str, float] = {}
        self.ended: set[tuple[str, int]] = set()

    def __call__(self, label: str, done: int, total: int, note: str = "") -> None:
        """Shows that `done` of `total` are done; a total of 0 is an unknown one."""
        signals.check()
        if self.live:
            if label not in self.tasks:
                self.tasks[label] = self.display.add_task(label, total=None)
            text = f"{label}  {note}" if note else label
            self.display.update(
                self.tasks[label], completed=done, total=total or None, description=text
            )
        elif not self.quiet:
            self._print(label, done, total, note)

    def _print(self, label: str, done: int, total: int, note: str) -> None:
        """Prints a line where the last one is long ago or the work is at its end."""
        now, ends = time.monotonic(), bool(total) and done >= total
        late = now - self.printed.setdefault(label, now) >= INTERVAL
        if late or (ends and (label, total) not in self.ended):
            self.printed[label] = now
            if ends:
                self.ended.add((label, total))
            of = f" of {total:,}" if total else ""
            err.print(escape(f"{label}: {done:,}{of}{'  ' + note if note else ''}"))

    def step(self, total: int) -> Callable[[dict[str, Any]], None]:
        """An `on_step` that shows the loss and the speed of a run of `total` steps."""

        def show(line: dict[str, Any]) -> None:
            note = f"loss {line['loss']:.4f}  {line['samples_per_second']:.1f} samples/s"
            self("training", line["step"], total, note)

        return show


@contextmanager
def bars(quiet: bool = False) -> Iterator[Bars]:
    """Progress bars that stand on the screen while the work runs."""
    progress = Bars(quiet)
    with progress.display:
        yield progress


def note(text: str) -> None:
    """A line of information on stderr; -q leaves it out."""
    if not quiet_notes:
        err.print(escape(text))


def say(text: str = "") -> None:
    """A line of the result on stdout."""
    out.print(escape(text))


def show_json(value: Any) -> None:
    """One JSON document on stdout."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n")
    # A reader that left early raises here, not at exit.
    sys.stdout.flush()


def show_file(path: Path) -> None:
    """A text file as it is, on stdout."""
    sys.stdout.write(path.read_text(encoding="utf-8"))
    sys.stdout.flush()


def show_table(columns: list[str], rows: list[list[Any]], title: str = "") -> None:
    """A table on stdout; where that is no terminal, as wide as its cells."""
    table = Table(*columns, title=title or None, title_justify="left")
    for row in rows:
        table.add_row(*(escape(str(cell)) for cell in row))
    # rich takes 80 columns where it sees no terminal, and would cut the paths.
    wide = Console(width=10_000, highlight=False, emoji=False)
    (out if out.is_terminal else wide).print(table)


def show_error(problem: Stated) -> None:
    """An error's fact and action, each on its line, on stderr."""
    err.print(f"[bold red]error:[/] {escape(problem.fact)}")
    if problem.action:
        err.print(escape(problem.action))


def start(quiet: bool = False, verbose: bool = False) -> None:
    """Sends the library's notes to stderr; with `quiet` there are none."""
    global quiet_notes
    quiet_notes = quiet
    # A file name that is no UTF-8 must not end the work.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            note(record.getMessage())

    logger = logging.getLogger("unidiff")
    logger.handlers, logger.propagate = [Handler()], False
    logger.setLevel(logging.DEBUG if verbose else logging.INFO)
