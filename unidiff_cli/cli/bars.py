"""Progress of long work on stderr: bars on a terminal, plain lines where there is none."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from unidiff_cli import signals
from unidiff_cli.cli.console import err, printable
from unidiff_cli.progress import time_left

# Seconds between plain progress lines.
INTERVAL = 10.0


class Display(Progress):
    """Bars, and beneath them what is to be said of the newest one: beside it nothing would fit."""

    note = ""

    def get_renderables(self) -> Iterable[RenderableType]:
        """The bars, then the note on lines of its own."""
        yield from super().get_renderables()
        if self.note:
            # The console itself breaks no lines.
            yield Text(self.note, no_wrap=False, overflow="fold")


class Bars:
    """Progress of labelled work: bars on a terminal, elsewhere a line every ten seconds."""

    def __init__(self, quiet: bool = False) -> None:
        self.quiet, self.live = quiet, err.is_terminal and not quiet
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        self.display = Display(*columns, console=err, transient=False, disable=not self.live)
        self.tasks: dict[str, TaskID] = {}
        self.printed: dict[str, float] = {}
        self.ended: set[tuple[str, int]] = set()

    def __call__(self, label: str, done: int, total: int, note: str = "") -> None:
        """Shows that `done` of `total` are done; a total of 0 is an unknown one."""
        signals.check()
        if self.live:
            if label not in self.tasks:
                self.tasks[label] = self.display.add_task(printable(label), total=None)
            self.display.note = printable(note)
            self.display.update(self.tasks[label], completed=done, total=total or None)
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
            err.print(printable(f"{label}: {done:,}{of}{'  ' + note if note else ''}"))

    def step(self, total: int, terms: Iterable[str] = ()) -> Callable[[dict[str, Any]], None]:
        """An `on_step` that shows a run of `total` steps: the loss and its `terms`, the speed, the
        memory in use, and where no bar shows it the time that is left."""
        terms, began = list(terms), dict[str, float]()

        def show(line: dict[str, Any]) -> None:
            now, step = time.monotonic(), line["step"]
            first = began.setdefault("step", step)
            seconds = now - began.setdefault("time", now)
            parts = [f"{name} {line[name]:.3f}" for name in terms if name in line]
            note = f"loss {line['loss']:.4f}" + (f" ({', '.join(parts)})" if parts else "")
            note += f"  {line['samples_per_second']:.1f} samples/s"
            if "memory_mb" in line:
                note += f"  {line['memory_mb'] / 1024:.1f} GB"
            if not self.live and first < step < total:
                note += f"  {time_left(seconds / (step - first) * (total - step))} left"
            self("training", step, total, note)

        return show


@contextmanager
def shown(quiet: bool = False) -> Iterator[Bars]:
    """Progress bars that stand on the screen while the work runs."""
    progress = Bars(quiet)
    with progress.display:
        yield progress
