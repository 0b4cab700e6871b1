"""The project directory: its folders, where it is, and the lock that keeps a second writer out.

A stage reads some folders and writes exactly one, whole, its receipt last. A folder without a
receipt is unfinished; a folder whose receipt names other inputs than are there now is stale; one
that holds other bytes than its receipt lists is damaged.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from unidiff_cli import signals
from unidiff_cli.errors import (
    Damaged,
    EnvironmentProblem,
    NotReady,
    UsageError,
    WorkError,
    nearest,
)
from unidiff_cli.project import stored
from unidiff_cli.project.files import (
    atomic_folder,
    make_folder,
    recover,
    recover_folder,
    refuse_foreign,
    write_text,
)
from unidiff_cli.project.folders import FOLDERS, MARK
from unidiff_cli.project.lock import Taken, locked
from unidiff_cli.project.numbered import by_number, next_number
from unidiff_cli.project.receipt import QUICK, Receipt, close, is_closed, listing
from unidiff_cli.project.storage import Storage
from unidiff_cli.system import FULL, disk_problem, naming

logger = logging.getLogger("unidiff")

FILE = "unidiff.yaml"
LOCK = ".unidiff.lock"
DEFAULT = "unidiff-project"


# All of it is derived, so none of it is for git.
IGNORED = (*FOLDERS, ".*.new", ".*.old", ".*.unfinished", LOCK)
STARTER = """\
# This file is yours. unidiff changes the `recipe` and `base` lines, for --recipe and --base.
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
        self.root = Path(os.path.expanduser(root)).absolute()

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

    @cached_property
    def storage(self) -> Storage | None:
        """Where what is finished is kept beside this directory, if `storage.json` names a place.

        Raises UsageError and EnvironmentProblem.
        """
        return Storage.of(self.root)

    def bring(self, *names: str) -> None:
        """Fetches a folder from the storage where it is not finished here.

        The tars of shards stay there: they are read where they lie. Raises WorkError where it holds
        what is not ours, Damaged and EnvironmentProblem.
        """
        if self.storage and (contents := stored.lacking(self.storage, self.root, names)):
            if FOLDERS[names[0]].several:
                self.folder(names[0])
            stored.bring(self.storage, self.root, names, contents, self.streamed(*names))

    def fetch(self, *names: str) -> None:
        """Fetches a stored folder whole, the tars of shards too.

        Raises NotReady where none is stored, WorkError where another is here, else as `bring`.
        """
        contents = self.storage.contents("/".join(names)) if self.storage else None
        if self.storage is None or contents is None or names[0] not in FOLDERS:
            raise NotReady(
                f"No folder '{'/'.join(names)}' is stored.", "See what is: unidiff storage"
            )
        if (own := stored.contents_of(self.path(*names))) and own != contents:
            raise WorkError(
                f"{self.path(*names)} is another than the one that is stored.",
                "Nothing was changed. To take that one, move this one elsewhere.",
            )
        if FOLDERS[names[0]].several:
            self.folder(names[0])
        stored.bring(self.storage, self.root, names, contents)

    def keep(self, *names: str, older: bool = False) -> None:
        """Stores a finished folder, or a run as it is now, where the project has a storage.

        With `older` it may replace one that was finished later. Raises WorkError and
        EnvironmentProblem.
        """
        if self.storage:
            stored.keep(self.storage, self.root, names, older=older)

    def create(self) -> None:
        """Makes the directory and its `unidiff.yaml` where they are not there yet."""
        starters = {
            self.file: STARTER,
            self.root / ".gitignore": "".join(f"/{name}\n" for name in IGNORED),
        }
        try:
            make_folder(self.root)
            for file, text in starters.items():
                if not file.exists():
                    write_text(file, text)
        except OSError as problem:
            raise self._unwritable(problem) from problem

    def _unwritable(self, problem: OSError) -> EnvironmentProblem:
        what = f"The project directory {self.root}"
        if problem.errno in FULL:
            return disk_problem(problem, what)
        return EnvironmentProblem(
            f"{what} cannot be written: {problem.strerror}.",
            "Name another with -C or UNIDIFF_PROJECT.",
        )

    def receipt(self, *names: str, hashed: int | None = 0) -> Receipt:
        """The receipt of a finished folder whose files have their sizes.

        So many bytes of it are hashed, None for all. Raises NotReady where there is none, and
        Damaged where a file is not what was written, naming the command that writes it.
        """
        path, folder = self.path(*names), FOLDERS[names[0]]
        self.bring(*names)
        place = f"{self.root.name}/{'/'.join(names)}"
        if receipt := self._read(*names):
            try:
                receipt.check(path, hashed, folder.apart, self.streamed(*names))
            except Damaged as damage:
                remake = receipt.remake or f"{folder.command}{folder.redo}"
                raise Damaged(damage.fact, f"Make it again: {remake}") from damage
            return receipt
        if path.exists():
            raise NotReady(
                f"{place} is unfinished: it has no receipt.",
                f"Run: {folder.resume or folder.command}",
            )
        raise NotReady(f"{place} is not there.", f"Run: {folder.command}")

    def _read(self, *names: str) -> Receipt | None:
        """A folder's receipt, if it has one. Raises Damaged naming the command that writes it."""
        path = self.path(*names)
        try:
            return Receipt.read(path)
        except Damaged as damage:
            command = FOLDERS[names[0]].command
            raise Damaged(damage.fact, f"Move {path} elsewhere, and run: {command}") from damage

    def streamed(self, *names: str) -> str:
        """What the files end in that a folder may lack, since they lie at the storage."""
        return FOLDERS[names[0]].streamed if self.storage else ""

    def known(self, *names: str) -> Receipt | None:
        """The receipt of a folder, which may be at the storage alone; None where there is none.

        Raises Damaged.
        """
        if is_closed(self.path(*names)) or not self.storage:
            return self._read(*names)
        return stored.receipt_of(self.storage, names)

    def finished(
        self, *names: str, settings: dict[str, Any], inputs: dict[str, str]
    ) -> Receipt | None:
        """The receipt of a folder where this very work is done and whole; None for all others.

        A damaged folder is named: its stage does the work again.
        """
        self.bring(*names)
        receipt = self._read(*names)
        if receipt is None or not receipt.same_work(settings, inputs):
            return None
        try:
            receipt.check(self.path(*names), QUICK, streamed=self.streamed(*names))
        except Damaged as damage:
            logger.warning("%s It is made again.", damage.fact)
            return None
        # What brought it there may have been stopped.
        self.keep(*names)
        return receipt

    def runs(self) -> list[str]:
        """The names of all training runs, oldest first; also of those at the storage alone."""
        return self._with_stored("runs", _visible_folders(self.path("runs")))

    def _with_stored(self, parent: str, here: list[str]) -> list[str]:
        storage = self.storage
        if storage is None:
            return here
        others = [name for name in storage.folders(parent) if name not in here]
        there = [name for name in others if storage.contents(f"{parent}/{name}")]
        return sorted({*here, *there}, key=by_number)

    def exports(self) -> list[str]:
        """The names of all finished exports, oldest first; also of those at the storage alone."""
        names = _visible_folders(self.path("exports"))
        here = [name for name in names if is_closed(self.path("exports", name))]
        return self._with_stored("exports", here)

    def next_run(self, recipe: str) -> str:
        """A new run's name: a running number and the recipe."""
        return f"{next_number(self.runs()):03d}-{recipe}"

    def current_export(self) -> str:
        """The name of the current export; empty where there is none."""
        pointer = self.path("exports", "current")
        if not pointer.is_file():
            return self.storage.text("exports/current") if self.storage else ""
        return pointer.read_text(encoding="utf-8", errors="replace").strip()

    def make_current(self, name: str) -> None:
        """Makes an export the one that every command reads by default."""
        write_text(self.path("exports", "current"), f"{name}\n")
        if self.storage and self.storage.text("exports/current") != name:
            self.storage.write("exports/current", f"{name}\n".encode())

    def export(self, name: str | None = None, hashed: int | None = QUICK) -> Path:
        """The folder of an export, the current one by default, `hashed` bytes of it checked.

        Raises UsageError, NotReady or Damaged.
        """
        if name is None and not (name := self.current_export()):
            raise NotReady(f"{self.root.name} has no export yet.", "Run: unidiff train")
        if name not in self.exports():
            known = ", ".join(self.exports()) or "none"
            raise UsageError(
                f"There is no finished export '{name}' in {self.root.name}."
                f"{nearest(name, self.exports())}",
                f"Finished exports: {known}.",
            )
        self.receipt("exports", name, hashed=hashed)
        pointer = self.path("exports", "current")
        if self.storage and not pointer.is_file() and name == self.current_export():
            # Else a service that looks whether it changed would ask the storage each time.
            write_text(pointer, f"{name}\n")
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
                stack.enter_context(locked(self.root / LOCK))
            except Taken as holder:
                raise WorkError(
                    f"Another unidiff (process {holder}) is writing to {self.root}.",
                    "Wait for it, or name another project with -C.",
                ) from None
            except OSError as problem:
                raise self._unwritable(problem) from problem
            signals.check()
            self._recover()
            with naming(self.root):
                yield

    def _recover(self) -> None:
        """Finishes what a killed writer of folders left."""
        # An export in another format stands one folder deeper.
        for parent in (self.root, self.path("exports"), *self.path("exports").glob("*/")):
            recover(parent, listing)
        for name in FOLDERS:
            # A linked folder is written where the link leads to.
            if self.path(name).is_symlink():
                recover_folder(self.path(name), listing)

    def folder(self, name: str) -> Path:
        """The path of a folder that no receipt closes, such as `cache`, made where it is missing.

        Raises WorkError where it holds files and unidiff did not make it.
        """
        path = self.path(name)
        if not (path / MARK).is_file():
            if path.exists() and (not path.is_dir() or any(path.iterdir())):
                raise WorkError(
                    f"{path} was not made by unidiff, which keeps its {name} in a folder of this "
                    "name.",
                    "Nothing was changed. Name another project with -C, or move it elsewhere.",
                )
            make_folder(path)
            (path / MARK).touch()
        return path

    def refuse_foreign(self, *names: str) -> None:
        """Raises WorkError where a folder that is to be written holds what is not ours."""
        refuse_foreign(self.path(*names), listing)

    @contextmanager
    def writing(
        self,
        *names: str,
        receipt: Receipt,
        started: float | None = None,
        previous: str | None = None,
        at_once: bool = False,
    ) -> Iterator[Path]:
        """A fresh folder to fill; at the end its receipt goes in and it takes the place of the old.

        The old one becomes the folder `previous`, where that is given and neither is a link.
        `at_once` a reader misses neither.
        A failure or a kill leaves the old folder as it was. The caller fills `receipt` meanwhile;
        its seconds are those since `started` (of time.monotonic), by default since now.
        Raises WorkError, before anything is written, where the folder holds what is not ours.
        """
        started = time.monotonic() if started is None else started
        path, before = self.path(*names), self.path(previous) if previous else None
        # A link may lead to another disk, where a folder cannot be renamed to.
        if before and (path.is_symlink() or before.is_symlink()):
            before = None
        with atomic_folder(path, listing, before, at_once) as fresh:
            yield fresh
            signals.check()
            close(fresh, receipt, time.monotonic() - started)
        self.keep(*names)


def _visible_folders(parent: Path) -> list[str]:
    if not parent.is_dir():
        return []
    names = [p.name for p in parent.iterdir() if p.is_dir() and not p.name.startswith(".")]
    return sorted(names, key=by_number)
