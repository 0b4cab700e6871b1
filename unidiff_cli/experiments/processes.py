"""run_cells: the cells of an ablation one after the other, or several at a time in processes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from unidiff_cli import machine, processes, signals
from unidiff_cli.errors import Interrupted, Stated, WorkError
from unidiff_cli.evaluation.measure import with_prefix
from unidiff_cli.experiments import cells
from unidiff_cli.experiments.cells import Cell
from unidiff_cli.processes import Child
from unidiff_cli.progress import Progress

CELL_FILE, OUTPUT = "cell.json", "output.log"
# Seconds between two looks at the processes.
INTERVAL = 0.1


def run_cells(
    waiting: Sequence[Cell], jobs: int, on_done: Callable[[], None], on_progress: Progress | None
) -> None:
    """Runs the cells, `jobs` at a time, and calls `on_done` after each.

    Raises Interrupted after a signal, and what a cell raised; either stops all other cells.
    """
    if jobs > 1:
        CellProcesses(waiting, jobs, on_done).run()
        return
    for cell in waiting:
        cells.run_cell(cell, with_prefix(cell.name, on_progress))
        on_done()


class CellProcesses:
    """Cells in processes, each with its share of the cores."""

    def __init__(self, waiting: Sequence[Cell], jobs: int, on_done: Callable[[], None]) -> None:
        self.waiting, self.jobs, self.on_done = list(waiting), jobs, on_done
        self.running: dict[Cell, Child] = {}
        self.done, self.stopping = 0, False
        self.failure: Stated | None = None

    def run(self) -> None:
        """Runs all. Raises Interrupted after a signal, else the failure of a cell."""
        with signals.held() as signalled:
            try:
                while self.running or self.waiting:
                    if signalled() or self.failure:
                        self._stop()
                    self._start()
                    self._collect()
                    time.sleep(INTERVAL)
            finally:
                # After an error of our own no process outlives this one.
                processes.end(self.running.values())
            if signum := signalled():
                fact = f"Stopped with {self.done} cells done now."
                raise Interrupted(signum, fact, "Continue with the same command.")
        if self.failure:
            raise self.failure

    def _start(self) -> None:
        """Starts as many cells as there are free places."""
        while self.waiting and len(self.running) < self.jobs:
            cell = self.waiting.pop(0)
            cell.folder.mkdir(parents=True, exist_ok=True)
            (cell.folder / CELL_FILE).write_text(cell.model_dump_json(), encoding="utf-8")
            threads, output = machine.cores() // self.jobs, cell.folder / OUTPUT
            self.running[cell] = processes.start(
                __name__, [str(cell.folder)], cell.folder, output, threads
            )

    def _stop(self) -> None:
        """Asks every process once to stop, which saves a checkpoint first, and starts no other."""
        self.waiting.clear()
        if not self.stopping:
            for process in self.running.values():
                process.terminate()
        self.stopping = True

    def _collect(self) -> None:
        """Takes in the processes that ended."""
        for cell, process in list(self.running.items()):
            if process.poll() is None:
                continue
            del self.running[cell]
            if process.returncode == 0:
                self.done += 1
                self.on_done()
            elif not self.stopping and not self.failure:
                self.failure = processes.left(cell.folder) or WorkError(
                    f"The cell {cell.name} ended with {process.returncode}.",
                    f"Its output: {cell.folder / OUTPUT}",
                )


def main(folder: str) -> None:
    """What a cell's process runs."""
    cells.run_cell(Cell.model_validate_json(Path(folder, CELL_FILE).read_bytes()))
