"""Receipts: what a finished folder holds and what it was made from, its last file."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from unidiff_cli.errors import Damaged
from unidiff_cli.project.files import (
    delete_empty_below,
    delete_unfinished_files,
    digest,
    file_digest,
    files_below,
    sync_below,
    write_json,
)

RECEIPT = "receipt.json"
PACKAGES = ("unidiff-cli", "torch", "diffusers", "transformers", "accelerate", "peft", "pillow")
# Bytes that a command of few seconds hashes before it uses a folder: 5 % of its time.
QUICK = 128 << 20
# What parsing raises of bytes that are no receipt.
NO_RECEIPT = (ValueError, TypeError, AttributeError, KeyError, RecursionError)
# Files whose hash was checked by this process, as they were then.
_checked: set[tuple[str, int, int, int, str]] = set()


def versions() -> dict[str, str]:
    """The versions of the packages that decide results, for receipts and the doctor."""
    numbers = {}
    for name in PACKAGES:
        try:
            numbers[name] = version(name)
        except PackageNotFoundError:
            numbers[name] = "not installed"
    return numbers


@dataclass(frozen=True)
class FileRecord:
    """A file as it was when its folder was closed: bytes, and the sha256 in hex."""

    size: int
    sha256: str


@dataclass
class Receipt:
    """What a finished folder holds and what it was made from.

    `settings` are the recipe sections the stage read; `inputs` maps each folder it read to the hash
    of that folder's receipt; `counts` and `figures` are the stage's own. `content` is a digest of
    what was made, for a stage whose settings and inputs do not decide it. `remake` is the command
    that makes the folder again, where it is not its stage's plain one. `files` are all files of the
    folder by their paths in it, without `changing`, which no stage reads and which may be written
    later. `hash` leaves out these three, time and versions, so the same work on the same input has
    the same hash.
    """

    stage: str
    settings: dict[str, Any]
    inputs: dict[str, str] = field(default_factory=dict)
    seed: int = 0
    counts: dict[str, Any] = field(default_factory=dict)
    figures: dict[str, Any] = field(default_factory=dict)
    content: str = ""
    remake: str = ""
    files: dict[str, FileRecord] = field(default_factory=dict)
    changing: list[str] = field(default_factory=list)
    seconds: float = 0.0
    finished: str = ""
    versions: dict[str, str] = field(default_factory=versions)

    @property
    def hash(self) -> str:
        timeless = ("remake", "files", "changing", "seconds", "finished", "versions")
        return digest({k: v for k, v in vars(self).items() if k not in timeless})

    @classmethod
    def read(cls, folder: Path) -> Receipt | None:
        """The folder's receipt, or None where the folder is missing or unfinished.

        Raises Damaged where the file is there and is not what was written.
        """
        file = folder / RECEIPT
        try:
            return cls.parse(file.read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, *NO_RECEIPT) as problem:
            raise Damaged(
                f"{file} is damaged, so nobody knows what the folder holds.",
                f"Move {folder} elsewhere, and run the command that writes it again.",
            ) from problem

    @classmethod
    def parse(cls, data: bytes) -> Receipt:
        """A receipt from the bytes of its file. Raises one of NO_RECEIPT for others."""
        values = json.loads(data)
        if values.pop("digest") != digest(values):
            raise ValueError("the digest is another")
        files = {name: FileRecord(**record) for name, record in values.pop("files").items()}
        return cls(**values, files=files)

    def same_work(self, settings: dict[str, Any], inputs: dict[str, str]) -> bool:
        """Whether the work that is asked for now is the work this receipt closed."""
        return digest([self.settings, self.inputs]) == digest([settings, inputs])

    def check(
        self, folder: Path, hashed: int | None = 0, apart: str = "", streamed: str = ""
    ) -> None:
        """Raises Damaged for a file of the folder that is missing or not what was written.

        Every size is compared, and hashes of so many bytes, the smallest files first; None
        compares all. This process hashes a file that did not change only once. Files of the
        sub-folder `apart` are left to those who read them, and those that end in `streamed` may be
        missing.
        """
        for file, reason in self.damage(folder, hashed, apart, streamed):
            raise Damaged(f"{file} {reason}.")

    def damage(
        self, folder: Path, hashed: int | None = None, apart: str = "", streamed: str = ""
    ) -> list[tuple[Path, str]]:
        """The files that `check` would name, each with what is wrong with it."""
        wrong, left = [], hashed
        for name, record in sorted(self.files.items(), key=lambda item: item[1].size):
            if apart and name.startswith(f"{apart}/"):
                continue
            if streamed and name.endswith(streamed) and not (folder / name).exists():
                continue
            if left is not None:
                left -= record.size
            reason = damage_of(folder / name, record, left is None or left >= 0)
            if reason:
                wrong.append((folder / name, reason))
        return wrong


def damage_of(file: Path, record: FileRecord, hashed: bool = True) -> str:
    """What is wrong with a file; "" where nothing is.

    This process hashes a file that did not change only once.
    """
    try:
        status = file.stat()
        if status.st_size != record.size:
            return f"has {status.st_size:,} bytes where {record.size:,} were written"
        state = (str(file), status.st_ino, status.st_size, status.st_mtime_ns, record.sha256)
        if hashed and state not in _checked:
            if file_digest(file) != record.sha256:
                return "is not what was written"
            _checked.add(state)
    except FileNotFoundError:
        return "is missing"
    except OSError as problem:
        return f"cannot be read: {problem.strerror}"
    return ""


def record_of(file: Path, sha256: str = "") -> FileRecord:
    """The record of a file as it is, its hash computed where it is not given."""
    return FileRecord(file.stat().st_size, sha256 or file_digest(file))


def is_closed(folder: Path) -> bool:
    """Whether a folder has a receipt, sound or not."""
    return (folder / RECEIPT).is_file()


def listing(folder: Path) -> Collection[str] | None:
    """The files of a closed folder, its receipt the last; None where nothing closed it.

    Raises Damaged.
    """
    receipt = Receipt.read(folder)
    return None if receipt is None else [*receipt.files, *receipt.changing, RECEIPT]


def close(folder: Path, receipt: Receipt, seconds: float) -> None:
    """Brings a folder's files to disk and writes its receipt, its last file.

    Files that `receipt.files` has already are not hashed again. What killed writers left
    is deleted, and empty folders, which nobody could tell from another's.
    """
    delete_unfinished_files(folder)
    delete_empty_below(folder)
    sync_below(folder)
    known, receipt.files = receipt.files, {}
    for file in files_below(folder):
        name = file.relative_to(folder).as_posix()
        if name not in (RECEIPT, *receipt.changing):
            receipt.files[name] = known.get(name) or record_of(file)
    receipt.seconds = round(seconds, 2)
    receipt.finished = datetime.now(UTC).isoformat(timespec="seconds")
    # As it reads back: a digest sorts keys, and JSON makes text of those that are numbers.
    values = json.loads(json.dumps(asdict(receipt), default=str))
    write_json(folder / RECEIPT, {**values, "digest": digest(values)})
