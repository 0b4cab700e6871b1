"""The terminal: results on stdout; progress, notes and errors on stderr.

Where stderr is no terminal, progress is plain lines. What is shown may come from anywhere, so all
of it goes through `printable`: no text of a catalogue, a file or a library commands the terminal.
"""

from __future__ import annotations

import io
import json
import logging
import re
import sys
import time
import traceback
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
from unidiff_cli.errors import Problems, Stated
from unidiff_cli.system import naming

# No emoji: a caption may hold ":dress:".
out = Console(soft_wrap=True, highlight=False, emoji=False)
err = Console(stderr=True, soft_wrap=True, highlight=False, emoji=False)
# Characters of a label that the other column stands back for.
WIDEST = 40
# What stands in an error where standard output cannot be written.
STDOUT = "Standard output"
# Seconds between plain progress lines.
INTERVAL = 10.0
# Whether notes are left out (-q).
quiet_notes = False
# What a terminal obeys: control codes (C0, DEL, C1), the marks that turn the direction of text,
# line and paragraph separators; and halves of characters, which no encoding holds.
CONTROLS = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}


def printable(text: str, lines: bool = False) -> str:
    r"""The text with every control code written out, as \u001b, so that JSON stays the same JSON.

    With `lines` line breaks and tabs stay.
    """

    def written(match: re.Match[str]) -> str:
        code = match[0]
        if lines and code in "\n\t":
            return code
        return SHORT.get(code) or f"\\u{ord(code):04x}"

    return CONTROLS.sub(written, text)


def _plain(text: str, lines: bool = False) -> str:
    """Text as rich prints it unchanged."""
    return escape(printable(text, lines))


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
                self.tasks[label] = self.display.add_task(_plain(label), total=None)
            text = _plain(f"{label}  {note}" if note else label)
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
            err.print(_plain(f"{label}: {done:,}{of}{'  ' + note if note else ''}"))

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


def note(*texts: str) -> None:
    """Information on stderr, each text on a line; -q leaves it out."""
    if not quiet_notes:
        for text in texts:
            err.print(_plain(text))


def warn(text: str) -> None:
    """A line on stderr that -q does not leave out."""
    err.print(f"[bold yellow]warning:[/] {_plain(text)}")


def say(*texts: str) -> None:
    """The result on stdout, each text on a line."""
    with naming(STDOUT):
        for text in texts:
            out.print(_plain(text))


def show_json(value: Any) -> None:
    """One JSON document on stdout."""
    _show(json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n")


def show_file(path: Path) -> None:
    """A text file on stdout."""
    _show(path.read_text(encoding="utf-8", errors="backslashreplace"))


def _show(text: str) -> None:
    with naming(STDOUT):
        sys.stdout.write(printable(text, lines=True))
        # A reader that left early raises here, not at exit.
        sys.stdout.flush()


def show_table(columns: list[str], rows: list[list[Any]], title: str = "") -> None:
    """A table on stdout; where that is no terminal, as wide as its cells."""
    table = Table(*map(_plain, columns), title=_plain(title) or None, title_justify="left")
    for row in rows:
        table.add_row(*(_plain(str(cell)) for cell in row))
    # rich takes 80 columns where it sees no terminal, and would cut the paths.
    wide = Console(width=10_000, highlight=False, emoji=False)
    with naming(STDOUT):
        (out if out.is_terminal else wide).print(table)


def show_pairs(pairs: list[tuple[str, str]]) -> None:
    """Labels and what belongs to them on stdout, in two columns."""
    width = max((len(label) for label, _ in pairs if len(label) <= WIDEST), default=0)
    say(*(f"{label:{width}}  {text}" for label, text in pairs))


def show_error(problem: Stated) -> None:
    """An error's fact and action, each on its line, on stderr."""
    facts = problem.problems if isinstance(problem, Problems) else [problem.fact]
    err.print(f"[bold red]error:[/] {_plain(facts[0])}")
    for text in (*facts[1:], problem.action):
        if text:
            err.print(_plain(text))


def show_parse_error(problem: Any) -> None:
    """What the parser of arguments says of a wrong one, on stderr."""
    stream = io.StringIO()
    problem.show(file=stream)
    err.print(_plain(stream.getvalue().removesuffix("\n"), lines=True))


def show_traceback(problem: BaseException) -> None:
    """Where an error happened, on stderr."""
    err.print(_plain("".join(traceback.format_exception(problem)), lines=True), end="")


class _Record(logging.LogRecord):
    """A message of any library's logger: its handlers print what it is given here."""

    def getMessage(self) -> str:
        return printable(super().getMessage(), lines=True)


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
            is_warning = record.levelno >= logging.WARNING
            (warn if is_warning else note)(record.getMessage())

    logging.setLogRecordFactory(_Record)
    logger = logging.getLogger("unidiff")
    logger.handlers, logger.propagate = [Handler()], False
    logger.setLevel(logging.DEBUG if verbose else logging.INFO)
