"""The project directory: its rooms, the receipt that closes each, and the lock that keeps writers apart.

A stage reads some rooms and writes exactly one. It writes beside (`.shards.new`) and renames, the
receipt being the last file written: a room without a receipt is unfinished, a room whose receipt names
other inputs than are there now is stale.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from .errors import EnvironmentProblem, NotReady, UsageError, WorkError, nearest

FILE = "unidiff.yaml"
DEFAULT = "unidiff-project"
RECEIPT = "receipt.json"
ROOMS = (
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
    ".*.new",
    ".*.old",
    ".lock*",
)  # derived, so not for git
STARTER = """\
# This file is yours; unidiff only ever changes the `recipe` line, and only when you pass --recipe.
schema_version: 1     # of this file
recipe: fashion       # a shipped recipe (unidiff recipes list) or a path to your own
# Anything a recipe says can be said again here and wins, for example:
# base: nano
# train: {steps: 500}
"""
PACKAGES = ("unidiff-cli", "torch", "diffusers", "transformers", "accelerate", "pillow")


def digest(value: Any) -> str:
    """A short sha256 of anything JSON can hold, equal for equal values."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def file_digest(path: Path) -> str:
    """The sha256 of a file, hex."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def versions() -> dict[str, str]:
    """The versions of what decides our results, for receipts and the doctor."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def write_json(path: Path, value: Any) -> None:
    """Writes a JSON file so that a reader sees the old one or the new one, whole and on disk."""
    beside = path.with_name(f".{path.name}.new")
    with open(beside, "w", encoding="utf-8") as stream:
        json.dump(value, stream, indent=2, ensure_ascii=False, default=str)
        stream.write("\n")
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(beside, path)


@dataclass
class Receipt:
    """What a finished room holds and what it was made from.

    `settings` are the recipe sections the stage read; `inputs` maps each room it read to that room's
    receipt hash; `counts` and `figures` are the stage's own. `hash` leaves out time and versions, so
    the same work on the same input has the same hash.
    """

    stage: str
    settings: dict[str, Any]
    inputs: dict[str, str] = field(default_factory=dict)
    seed: int = 0
    counts: dict[str, Any] = field(default_factory=dict)
    figures: dict[str, Any] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    finished: str = ""
    versions: dict[str, str] = field(default_factory=versions)

    @property
    def hash(self) -> str:
        timeless = ("seconds", "finished", "versions")
        return digest({k: v for k, v in vars(self).items() if k not in timeless})

    @classmethod
    def read(cls, room: Path) -> Receipt | None:
        """The room's receipt, or None where the room is missing or unfinished."""
        try:
            return cls(**json.loads((room / RECEIPT).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def same_work(self, settings: dict[str, Any], inputs: dict[str, str]) -> bool:
        """Whether the work that is asked for now is the work this receipt closed."""
        return digest([self.settings, self.inputs]) == digest([settings, inputs])


class Project:
    """One project directory. `Project(path)` names it; nothing is created until a stage writes."""

    def __init__(self, root: str | os.PathLike[str] = DEFAULT) -> None:
        self.root = Path(root).expanduser().absolute()

    @classmethod
    def find(cls, named: str | os.PathLike[str] | None = None, start: Path | None = None) -> Project:
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

    def room(self, *names: str) -> Path:
        """The path of a room, such as room("shards") or room("exports", "001-fashion")."""
        return self.root.joinpath(*names)

    def create(self) -> None:
        """Makes the directory and its `unidiff.yaml` where they are not there yet."""
        starters = {self.file: STARTER, self.root / ".gitignore": "".join(f"/{room}\n" for room in ROOMS)}
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
        receipt = Receipt.read(self.room(*names))
        if receipt is None:
            where = "/".join(names)
            what = "is unfinished: it has no receipt" if self.room(*names).exists() else "is not there"
            raise NotReady(f"{self.root.name}/{where} {what}.", f"Run: {command}" if command else "")
        return receipt

    def runs(self) -> list[str]:
        """The names of all training runs, oldest first."""
        return _folders(self.room("runs"))

    def exports(self) -> list[str]:
        """The names of all finished exports, oldest first."""
        return [n for n in _folders(self.room("exports")) if Receipt.read(self.room("exports", n))]

    def next_run(self, recipe: str) -> str:
        """A new run's name: a running number and the recipe."""
        numbers = (name.split("-")[0] for name in self.runs())
        last = max((int(n) for n in numbers if n.isdecimal()), default=0)
        return f"{last + 1:03d}-{recipe}"

    def export(self, name: str | None = None) -> Path:
        """The folder of an export, the current one by default. Raises UsageError or NotReady."""
        if name is None:
            pointer = self.room("exports", "current")
            name = pointer.read_text(encoding="utf-8").strip() if pointer.is_file() else ""
            if not name:
                raise NotReady(f"{self.root.name} has no export yet.", "Run: unidiff train")
        if name not in self.exports():
            known = ", ".join(self.exports()) or "none"
            raise UsageError(
                f"There is no finished export '{name}' in {self.root.name}.{nearest(name, self.exports())}",
                f"Finished exports: {known}.",
            )
        return self.room("exports", name)

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
        room = self.room(*names)
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
            if old.exists() and not room.exists():  # a signal or an error came between the two renames
                os.replace(old, room)
            for leftover in (fresh, old):
                shutil.rmtree(leftover, ignore_errors=True)


def close(room: Path, receipt: Receipt, seconds: float) -> None:
    """Writes a room's receipt, its last file."""
    receipt.seconds = round(seconds, 2)
    receipt.finished = datetime.now(UTC).isoformat(timespec="seconds")
    write_json(room / RECEIPT, vars(receipt))


def _folders(parent: Path) -> list[str]:
    if not parent.is_dir():
        return []
    return sorted(p.name for p in parent.iterdir() if p.is_dir() and not p.name.startswith("."))
