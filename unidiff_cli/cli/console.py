"""The terminal: results on stdout; notes and errors on stderr.

What is shown may come from anywhere, so all of it goes through `printable`: no text of a catalogue,
a file or a library commands the terminal.
"""

from __future__ import annotations

import csv
import io
import json
import logging
import re
import sys
import traceback
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from unidiff_cli.cli.utf8 import is_utf8
from unidiff_cli.cli.widths import column_of_paths, cut, shortened
from unidiff_cli.errors import Problems, Stated
from unidiff_cli.system import naming

# No markup and no emoji: a caption may hold "[bold]", ":dress:" or a backslash at its end.
PLAIN: Any = {"markup": False, "highlight": False, "emoji": False}
out = Console(soft_wrap=True, **PLAIN)
err = Console(stderr=True, soft_wrap=True, **PLAIN)
# Columns of a label; the rest of it goes on another line.
WIDEST = 40
# Columns of a table's cell on a terminal; more is a caption that went astray.
MOST = 240
# As wide as any cell.
BOUNDLESS = 1_000_000
# What stands in an error where standard output cannot be written.
STDOUT = "Standard output"
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


def note(*texts: str) -> None:
    """Information on stderr, each text on a line; -q leaves it out."""
    if not quiet_notes:
        for text in texts:
            err.print(printable(text))


def warn(text: str) -> None:
    """A line on stderr that -q does not leave out."""
    err.print(_marked("warning", "yellow", text))


def show_warning(text: str) -> None:
    """A warning that belongs to the result, on stdout."""
    with naming(STDOUT):
        out.print(_marked("warning", "yellow", text))


def _marked(kind: str, colour: str, text: str) -> Text:
    """A line that begins with what it is, in a colour."""
    return Text.assemble((f"{kind}:", f"bold {colour}"), f" {printable(text)}")


def say(*texts: str) -> None:
    """The result on stdout, each text on a line."""
    with naming(STDOUT):
        for text in texts:
            out.print(printable(text))


def say_where(what: str, path: Path) -> None:
    """Where something lies, on stdout; on a terminal a long path has a line of its own."""
    line = f"{what}: {path}"
    fits = not out.is_terminal or cell_len(line) <= out.width
    say(*([line] if fits else [f"{what}:", f"{path}"]))


def show_json(value: Any) -> None:
    """One JSON document on stdout; in ASCII where stdout cannot hold every character."""
    ascii_only = not is_utf8(sys.stdout.encoding)
    _show(json.dumps(value, indent=2, ensure_ascii=ascii_only, default=str) + "\n")


def show_csv(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """A table on stdout as CSV, its first line the names of the columns."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    _show(text.getvalue())


def show_file(path: Path) -> None:
    """A text file on stdout."""
    _show(path.read_text(encoding="utf-8", errors="backslashreplace"))


def _show(text: str) -> None:
    with naming(STDOUT):
        sys.stdout.write(printable(text, lines=True))
        # A reader that left early raises here, not at exit.
        sys.stdout.flush()


def show_table(
    columns: Sequence[str], rows: Iterable[Sequence[Any]], title: str = "", path: str = ""
) -> None:
    """A table on stdout: as wide as a terminal, or as its cells where there is none.

    On a terminal long cells take several lines, and of the paths in the column `path` the middle
    may be left out. A file's name is always whole.
    """
    cells = [[printable(str(cell)) for cell in row] for row in rows]
    table = Table(title=printable(title) or None, title_justify="left")
    for name in columns:
        table.add_column(printable(name), overflow="fold")
    if out.is_terminal:
        cells = [[cut(cell, MOST) for cell in row] for row in cells]
        if path:
            place = columns.index(path)
            width = column_of_paths(cells, place, out.width)
            table.columns[place].width = width
            for row in cells:
                row[place] = shortened(row[place], width)
    for row in cells:
        table.add_row(*row)
    # rich takes 80 columns where it sees no terminal, and would break the cells.
    wide = Console(width=BOUNDLESS, **PLAIN)
    with naming(STDOUT):
        (out if out.is_terminal else wide).print(table, soft_wrap=False)


def show_pairs(pairs: Iterable[tuple[str, str]]) -> None:
    """Labels and what belongs to them on stdout, in two columns.

    A label that begins with blanks belongs to the one above. On a terminal both columns are
    wrapped; elsewhere each pair is a line.
    """
    pairs = [(printable(label), printable(text)) for label, text in pairs]
    if not out.is_terminal:
        width = max((len(label) for label, _ in pairs if len(label) <= WIDEST), default=0)
        say(*(f"{label:{width}}  {text}" for label, text in pairs))
        return
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(max_width=WIDEST, overflow="fold")
    grid.add_column(overflow="fold")
    for label, text in pairs:
        words = label.lstrip()
        indented = Padding(words, (0, 0, 0, len(label) - len(words)))
        grid.add_row(indented, text)
    with naming(STDOUT):
        out.print(grid, soft_wrap=False)


def show_error(problem: Stated) -> None:
    """An error's facts and its action, each on its line, on stderr."""
    facts = problem.problems if isinstance(problem, Problems) else [problem.fact]
    for fact in facts:
        err.print(_marked("error", "red", fact))
    if problem.action:
        err.print(printable(problem.action))


def show_parse_error(problem: Any) -> None:
    """What the parser of arguments says of a wrong one, on stderr."""
    stream = io.StringIO()
    problem.show(file=stream)
    err.print(printable(stream.getvalue().removesuffix("\n"), lines=True))


def show_traceback(problem: BaseException) -> None:
    """Where an error happened, on stderr."""
    err.print(printable("".join(traceback.format_exception(problem)), lines=True), end="")


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
