"""Files and folders written so that a kill or a full disk leaves the old one or the new one, whole.

The only module that renames. New content is written beside its place (`.NAME.PID.new` for a file,
`.NAME.new` for a folder), brought to disk, and renamed. A folder cannot be replaced by one rename,
so the old one is put aside first (`.NAME.old`); `recover` finishes the swap after a kill.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from unidiff_cli.system import naming

NEW, OLD = ".new", ".old"


def digest(value: Any) -> str:
    """A short sha256 of anything JSON can hold, equal for equal values."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def file_digest(path: Path) -> str:
    """The sha256 of a file, hex."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """A temporary path to write; at the end that file takes the place of `path`.

    After an error `path` is as it was and the temporary file is gone. Several processes may write
    the same file at a time: each has a temporary file, and the last one wins whole.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}{NEW}")
    try:
        with naming(path):
            yield beside
            _sync(beside)
            os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Replaces a UTF-8 text file whole; line endings stay as they are in `text`."""
    with atomic_file(path) as beside:
        beside.write_text(text, encoding="utf-8", newline="")


def write_json(path: Path, value: Any) -> None:
    """Replaces a JSON file whole; what JSON does not know is written as its string."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n")


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """A fresh folder to fill; at the end it takes the place of `path` with all its files on disk.

    After an error `path` is as it was. After a kill `recover` puts the old or the new one there.
    One process at a time may write a folder.
    """
    fresh, old = _beside(path, NEW), _beside(path, OLD)
    _put_back(old, path)
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    try:
        with naming(path):
            yield fresh
        for each in (*fresh.rglob("*"), fresh):
            _sync(each)
        if path.exists():
            os.replace(path, old)
        os.replace(fresh, path)
        _sync(path.parent)
    finally:
        _put_back(old, path)
        shutil.rmtree(fresh, ignore_errors=True)


def recover(parent: Path, whole: Callable[[Path], bool]) -> None:
    """Finishes the swap of every folder in `parent` whose writer was killed between the renames.

    The new one takes the place where it is `whole`, else the old one comes back. Several processes
    may call it at a time, while none writes.
    """
    for fresh in _leftovers(parent, NEW):
        path = _place(fresh, NEW)
        if not path.exists() and whole(fresh):
            _rename(fresh, path)
    for old in _leftovers(parent, OLD):
        _put_back(old, _place(old, OLD))


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(f".{path.name}{ending}")


def _place(beside: Path, ending: str) -> Path:
    return beside.with_name(beside.name[1 : -len(ending)])


def _leftovers(parent: Path, ending: str) -> list[Path]:
    return [path for path in parent.glob(f".*{ending}") if path.is_dir()]


def _put_back(old: Path, path: Path) -> None:
    """Renames `old` to `path` where nothing is, else deletes it."""
    if old.exists() and not path.exists():
        _rename(old, path)
    shutil.rmtree(old, ignore_errors=True)


def _rename(source: Path, target: Path) -> None:
    # Another process may have recovered it first.
    with suppress(FileNotFoundError):
        os.replace(source, target)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
