"""The project directory: its folders, where it is, and the lock that keeps a second writer out.

A stage reads some folders and writes exactly one, whole, its receipt last. A folder without a
receipt is unfinished; a folder whose receipt names other inputs than are there now is stale.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from unidiff_cli import signals
from unidiff_cli.errors import EnvironmentProblem, NotReady, UsageError, WorkError, nearest
from unidiff_cli.project.files import atomic_folder, recover, write_text
from unidiff_cli.project.lock import Taken, locked
from unidiff_cli.project.receipt import Receipt, close

FILE = "unidiff.yaml"
DEFAULT = "unidiff-project"


@dataclass(frozen=True)
class Folder:
    """One folder of a project: the command that writes it, and whether every project gets one."""

    command: str
    always: bool = False
    # Whether a receipt closes it.
    receipt: bool = True
    # The command that finishes an unfinished one, where that is another.
    resume: str = ""


# The folders of a project by name, in the order of the work. Every other list is made from it.
FOLDERS = {
    "shards": Folder("unidiff prepare CATALOG", always=True),
    "runs": Folder("unidiff train", always=True, resume="unidiff train --resume"),
    "exports": Folder("unidiff export", always=True),
    "index": Folder("unidiff index", always=True),
    "report": Folder("unidiff evaluate", always=True),
    "comparison": Folder("unidiff compare"),
    "folds": Folder("unidiff evaluate --folds 5"),
    "ablation": Folder("unidiff ablate"),
    "outputs": Folder("unidiff generate", receipt=False),
    "cache": Folder("any command", receipt=False),
}
# All of it is derived, so none of it is for git.
IGNORED = (*FOLDERS, ".*.new", ".*.old", ".lock*")
STARTER = """\
# This file is yours. unidiff changes only the `recipe` line, and only when you pass --recipe.
schema_version: 2     # of this file
recipe: fashion       # a shipped recipe (unidiff recipes list) or the path of your own
# Any key of a recipe may stand here too, and wins. For example:
# base: nano
# train: {steps: 500}
"""


def is_project(path: Path) -> bool:
    """Whether a folder is a project directory."""
    return (path / FILE).is_file()


class Project:
    """One project directory. `Project(path)` names it; nothing is created until a stage writes."""

    def __init__(self, root: str | os.PathLike[str] = DEFAULT) -> None:
        self.root = Path(root).expanduser().absolute()

    @classmethod
    def find(
        cls, named: str | os.PathLike[str] | None = None, start: Path | None = None
    ) -> Project:
        """The named directory, else the nearest parent with `unidiff.yaml`, else a new one here."""
        if named:
            return cls(named)
        start = (start or Path.cwd()).absolute()
        for folder in (start, *start.parents):
            if is_project(folder):
                return cls(folder)
        return cls(start / DEFAULT)

    def __fspath__(self) -> str:
        return str(self.root)

    def __repr__(self) -> str:
        return f"Project({str(self.root)!r})"

    @property
    def file(self) -> Path:
        return self.root / FILE

    def path(self, *names: str) -> Path:
        """The path of a folder, such as path("shards") or path("exports", "001-fashion")."""
        return self.root.joinpath(*names)

    def create(self) -> None:
        """Makes the directory and its `unidiff.yaml` where they are not there yet."""
        starters = {
            self.file: STARTER,
            self.root / ".gitignore": "".join(f"/{name}\n" for name in IGNORED),
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

    def receipt(self, *names: str) -> Receipt:
        """The receipt of a finished folder. Raises NotReady, naming the command that writes it."""
        if receipt := Receipt.read(self.path(*names)):
            return receipt
        folder, place = FOLDERS[names[0]], f"{self.root.name}/{'/'.join(names)}"
        if self.path(*names).exists():
            raise NotReady(
                f"{place} is unfinished: it has no receipt.",
                f"Run: {folder.resume or folder.command}",
            )
        raise NotReady(f"{place} is not there.", f"Run: {folder.command}")

    def runs(self) -> list[str]:
        """The names of all training runs, oldest first."""
        return _visible_folders(self.path("runs"))

    def exports(self) -> list[str]:
        """The names of all finished exports, oldest first."""
        return [
            n
            for n in _visible_folders(self.path("exports"))
            if Receipt.read(self.path("exports", n))
        ]

    def next_run(self, recipe: str) -> str:
        """A new run's name: a running number and the recipe."""
        numbers = (name.split("-")[0] for name in self.runs())
        last = max((int(n) for n in numbers if n.isdecimal()), default=0)
        return f"{last + 1:03d}-{recipe}"

    def current_export(self) -> str:
        """The name of the current export; empty where there is none."""
        pointer = self.path("exports", "current")
        return pointer.read_text(encoding="utf-8").strip() if pointer.is_file() else ""

    def make_current(self, name: str) -> None:
        """Makes an export the one that every command reads by default."""
        write_text(self.path("exports", "current"), f"{name}\n")

    def export(self, name: str | None = None) -> Path:
        """The folder of an export, the current one by default. Raises UsageError or NotReady."""
        if name is None and not (name := self.current_export()):
            raise NotReady(f"{self.root.name} has no export yet.", "Run: unidiff train")
        if name not in self.exports():
            known = ", ".join(self.exports()) or "none"
            raise UsageError(
                f"There is no finished export '{name}' in {self.root.name}."
                f"{nearest(name, self.exports())}",
                f"Finished exports: {known}.",
            )
        return self.path("exports", name)

    @contextmanager
    def lock(self, existing: bool = False) -> Iterator[None]:
        """Keeps a second writer out. Raises WorkError naming the process that holds the project.

        Creates the directory where there is none; with `existing` that raises NotReady instead.
        """
        if existing and not self.root.is_dir():
            raise NotReady(f"There is no project at {self.root}.", "Run: unidiff prepare CATALOG")
        self.create()
        with ExitStack() as stack:
            try:
                stack.enter_context(locked(self.root / ".lock"))
            except Taken as holder:
                raise WorkError(
                    f"Another unidiff (process {holder}) is writing to {self.root}.",
                    "Wait for it, or name another project with -C.",
                ) from None
            except OSError as problem:
                raise self._unwritable(problem) from problem
            signals.check()
            # An export in another format stands one folder deeper.
            for parent in (self.root, self.path("exports"), *self.path("exports").glob("*/")):
                recover(parent, whole=lambda fresh: Receipt.read(fresh) is not None)
            yield

    @contextmanager
    def writing(self, *names: str, receipt: Receipt) -> Iterator[Path]:
        """A fresh folder to fill; at the end its receipt goes in and it takes the place of the old.

        A failure or a kill leaves the old folder as it was. The caller fills `receipt` meanwhile.
        """
        started = time.monotonic()
        with atomic_folder(self.path(*names)) as fresh:
            yield fresh
            signals.check()
            close(fresh, receipt, time.monotonic() - started)


def _visible_folders(parent: Path) -> list[str]:
    if not parent.is_dir():
        return []
    return sorted(p.name for p in parent.iterdir() if p.is_dir() and not p.name.startswith("."))
