"""The project directory: its rooms, the receipt that closes each, and the lock that keeps writers apart.

A stage reads some rooms and writes exactly one. It writes beside (`.shards.new`) and renames, the
receipt being the last file written: a room without a receipt is unfinished, a room whose receipt names
other inputs than are there now is stale.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from unidiff_cli.errors import EnvironmentProblem, NotReady, UsageError, WorkError, nearest
from unidiff_cli.project.receipt import Receipt, close

FILE = "unidiff.yaml"
DEFAULT = "unidiff-project"
# The folders of a project: the one list of their names.
FOLDERS = (
    "shards",
    "runs",
    "exports",
    "index",
    "report",
    "comparison",
    "folds",
    "ablation",
    "outputs",
    "cache",
)
ROOMS = (
    *FOLDERS,
    ".*.new",
    ".*.old",
    ".lock*",
)  # derived, so not for git
STARTER = """\
# This file is yours; unidiff only ever changes the `recipe` line, and only when you pass --recipe.
schema_version: 2     # of this file
recipe: fashion       # a shipped recipe (unidiff recipes list) or a path to your own
# Anything a recipe says can be said again here and wins, for example:
# base: nano
# train: {steps: 500}
"""


class Project:
    """One project directory. `Project(path)` names it; nothing is created until a stage writes."""

    def __init__(self, root: str | os.PathLike[str] = DEFAULT) -> None:
        self.root = Path(root).expanduser().absolute()

    @classmethod
    def find(
        cls, named: str | os.PathLike[str] | None = None, start: Path | None = None
    ) -> Project:
        """The named directory, else the nearest parent that holds `unidiff.yaml`, else `./unidiff-project`."""
        if named:
            return cls(named)
        here = (start or Path.cwd()).absolute()
        for folder in (here, *here.parents):
            if (folder / FILE).is_file():
                return cls(folder)
        return cls(here / DEFAULT)

    def __fspath__(self) -> str:
        return str(self.root)

    def __repr__(self) -> str:
        return f"Project({str(self.root)!r})"

    @property
    def file(self) -> Path:
        return self.root / FILE

    def path(self, *names: str) -> Path:
        """The path of a room, such as room("shards") or room("exports", "001-fashion")."""
        return self.root.joinpath(*names)

    def create(self) -> None:
        """Makes the directory and its `unidiff.yaml` where they are not there yet."""
        starters = {
            self.file: STARTER,
            self.root / ".gitignore": "".join(f"/{room}\n" for room in ROOMS),
        }
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            for file, text in starters.items():
                if not file.exists():
                    file.write_text(text, encoding="utf-8")
        except OSError as problem:
            raise self._unwritable(problem) from problem

    def _unwritable(self, problem: OSError) -> EnvironmentProblem:
        return EnvironmentProblem(
            f"The project directory {self.root} cannot be written: {problem.strerror}.",
            "Name another with -C or UNIDIFF_PROJECT.",
        )

    def receipt(self, *names: str, command: str = "") -> Receipt:
        """The receipt of a finished room. Raises NotReady, naming the command that makes it."""
        receipt = Receipt.read(self.path(*names))
        if receipt is None:
            where = "/".join(names)
            what = (
                "is unfinished: it has no receipt" if self.path(*names).exists() else "is not there"
            )
            raise NotReady(
                f"{self.root.name}/{where} {what}.", f"Run: {command}" if command else ""
            )
        return receipt

    def runs(self) -> list[str]:
        """The names of all training runs, oldest first."""
        return _folders(self.path("runs"))

    def exports(self) -> list[str]:
        """The names of all finished exports, oldest first."""
        return [n for n in _folders(self.path("exports")) if Receipt.read(self.path("exports", n))]

    def next_run(self, recipe: str) -> str:
        """A new run's name: a running number and the recipe."""
        numbers = (name.split("-")[0] for name in self.runs())
        last = max((int(n) for n in numbers if n.isdecimal()), default=0)
        return f"{last + 1:03d}-{recipe}"

    def export(self, name: str | None = None) -> Path:
        """The folder of an export, the current one by default. Raises UsageError or NotReady."""
        if name is None:
            pointer = self.path("exports", "current")
            name = pointer.read_text(encoding="utf-8").strip() if pointer.is_file() else ""
            if not name:
                raise NotReady(f"{self.root.name} has no export yet.", "Run: unidiff train")
        if name not in self.exports():
            known = ", ".join(self.exports()) or "none"
            raise UsageError(
                f"There is no finished export '{name}' in {self.root.name}.{nearest(name, self.exports())}",
                f"Finished exports: {known}.",
            )
        return self.path("exports", name)

    @contextmanager
    def lock(self, existing: bool = False) -> Iterator[None]:
        """Keeps a second writer out. Raises WorkError naming the process that holds the project.

        The directory is made where it is not there; a stage that needs one that is says `existing` and gets NotReady.
        """
        from filelock import FileLock, Timeout

        if existing and not self.root.is_dir():
            raise NotReady(f"There is no project at {self.root}.", "Run: unidiff prepare CATALOG")
        self.create()
        holder = self.root / ".lock.pid"
        lock = FileLock(self.root / ".lock", timeout=0)
        try:
            lock.acquire()
        except Timeout:
            pid = holder.read_text().strip() if holder.exists() else "unknown"
            raise WorkError(
                f"Another unidiff (process {pid}) is writing to {self.root}.",
                "Wait for it, or name another project with -C.",
            ) from None
        except OSError as problem:
            raise self._unwritable(problem) from problem
        try:
            holder.write_text(str(os.getpid()))
            self._finish_renames()
            yield
        finally:
            holder.unlink(missing_ok=True)
            lock.release()

    def _finish_renames(self) -> None:
        """Completes the swap of a room whose writer was killed in the middle of `writing`."""
        for fresh in self._left(".new"):
            room = fresh.with_name(fresh.name[1 : -len(".new")])
            if Receipt.read(fresh) and not room.exists():
                os.replace(fresh, room)
        for old in self._left(".old"):
            room = old.with_name(old.name[1 : -len(".old")])
            if room.exists():
                shutil.rmtree(old, ignore_errors=True)
            else:  # what was to replace it is not whole
                os.replace(old, room)

    def _left(self, ending: str) -> list[Path]:
        return [p for at in (".*", "exports/.*") for p in self.root.glob(at + ending) if p.is_dir()]

    @contextmanager
    def writing(self, *names: str, receipt: Receipt) -> Iterator[Path]:
        """A fresh folder to fill; at the end the receipt goes in and it takes the room's place.

        A failure or a kill leaves the old room as it was. The caller fills `receipt` while it works.
        """
        room = self.path(*names)
        fresh, old = room.with_name(f".{room.name}.new"), room.with_name(f".{room.name}.old")
        for leftover in (fresh, old):
            shutil.rmtree(leftover, ignore_errors=True)
        fresh.mkdir(parents=True)
        started = time.monotonic()
        try:
            yield fresh
            close(fresh, receipt, time.monotonic() - started)
            if room.exists():
                os.replace(room, old)
            os.replace(fresh, room)
        finally:
            if (
                old.exists() and not room.exists()
            ):  # a signal or an error came between the two renames
                os.replace(old, room)
            for leftover in (fresh, old):
                shutil.rmtree(leftover, ignore_errors=True)


def _folders(parent: Path) -> list[str]:
    if not parent.is_dir():
        return []
    return sorted(p.name for p in parent.iterdir() if p.is_dir() and not p.name.startswith("."))
