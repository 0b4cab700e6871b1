"""Files and folders written so that a kill, a power loss or a full disk leaves old or new, whole.

The only module that renames and syncs. New content is written beside its place
(`.NAME.MACHINE.PID.new` for a file, `.NAME.new` for a folder), brought to disk, and renamed. A
folder cannot be replaced by one rename, so the old one is put aside first (`.NAME.old`); `recover`
finishes the swap after a kill.

A folder is replaced only where it is new, empty, or holds what its closing file lists and nothing
else. What somebody else put there is never deleted.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import stat
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

from unidiff_cli import processes
from unidiff_cli.errors import WorkError
from unidiff_cli.system import naming

NEW, OLD = ".new", ".old"
# Ends the name of a file that stands beside a folder while that is filled: it says that all in
# there is ours to delete.
UNFINISHED = ".unfinished"
# The names of temporary files.
TEMPORARY = f".*.*{NEW}"
# What the files of a folder are that something closed, by their paths relative to it; None where
# nothing did.
Listing = Callable[[Path], Collection[str] | None]

_umask = os.umask(0)
os.umask(_umask)


def digest(value: Any) -> str:
    """A short sha256 of anything JSON can hold, equal for equal values."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def file_digest(path: Path) -> str:
    """The sha256 of a file, hex."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def files_below(folder: Path) -> list[Path]:
    """All files below a folder, in the order of their paths; a link is a file, never followed."""
    below = []
    for entry in os.scandir(folder):
        is_folder = entry.is_dir(follow_symlinks=False)
        below += files_below(Path(entry.path)) if is_folder else [Path(entry.path)]
    return sorted(below)


# ---------------------------------------------------------------- files


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """A temporary path to write; at the end that file takes the place of `path`.

    After an error `path` is as it was and the temporary file is gone. Several processes may write
    the same file at a time: each has a temporary file, and the last one wins whole.
    """
    beside = path.with_name(f".{path.name}.{_machine()}.{os.getpid()}{NEW}")
    try:
        with naming(path):
            yield beside
            _open_to_readers(beside)
            sync(beside)
            os.replace(beside, path)
            sync(path.parent)
    finally:
        beside.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Replaces a UTF-8 text file whole; line endings stay as they are in `text`."""
    with atomic_file(path) as beside:
        beside.write_text(text, encoding="utf-8", newline="")


def write_json(path: Path, value: Any) -> None:
    """Replaces a JSON file whole; what JSON does not know is written as its string."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n")


def make_folder(path: Path) -> None:
    """Makes a folder and those above it where they are missing; a power loss keeps them."""
    if path.is_dir():
        return
    make_folder(path.parent)
    path.mkdir(exist_ok=True)
    sync(path.parent)


def sync(path: Path) -> None:
    """Brings a file's contents, or the names in a folder, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_below(folder: Path) -> None:
    """Brings all files and folders below a folder to the disk, the folder itself last."""
    for entry in os.scandir(folder):
        if entry.is_dir(follow_symlinks=False):
            sync_below(Path(entry.path))
        elif entry.is_file(follow_symlinks=False):
            _open_to_readers(Path(entry.path))
            sync(Path(entry.path))
    sync(folder)


def _open_to_readers(file: Path) -> None:
    """The rights that the user's umask gives a new file.

    safetensors writes 0600, and a server that runs as another user could not read it.
    """
    mode = stat.S_IMODE(file.stat().st_mode)
    if (wanted := mode | 0o666 & ~_umask) != mode:
        file.chmod(wanted)


def link(file: Path, name: Path) -> None:
    """Gives a file a second name, which is new, or copies it where the disk cannot."""
    try:
        os.link(file, name)
    except FileExistsError:
        raise
    # Another disk, or one without links.
    except OSError:
        shutil.copyfile(file, name)


# ---------------------------------------------------------------- folders


@contextmanager
def atomic_folder(
    path: Path, listing: Listing, previous: Path | None = None, at_once: bool = False
) -> Iterator[Path]:
    """A fresh folder to fill; at the end it takes the place of `path` with all its files on disk.

    The old one becomes `previous`, if that is given, in place of what was there. `at_once`, where
    the system can, no reader misses both. The caller writes the closing file, which `listing`
    reads, last. After an error `path` is as it was. After a kill `recover` puts the old or the new
    one there. A link stays a link: the folder that it names is replaced. What somebody puts into
    the old folder meanwhile stays there. One process at a time may write a folder. Raises WorkError
    where `path` or `previous` holds what is not ours.
    """
    path = _followed(path)
    fresh, old = _beside(path, NEW), _beside(path, OLD)
    _put_back(old, path, listing)
    for folder in (old, path, *([previous] if previous else [])):
        refuse_foreign(folder, listing)
    _delete_unfinished(path, listing)
    make_folder(path.parent)
    _beside(path, UNFINISHED).touch()
    fresh.mkdir()
    try:
        with naming(path):
            yield fresh
            sync_below(fresh)
        _take_place(fresh, path, old, at_once)
        if previous and old.exists() and listing(old) is not None:
            delete_folder(previous, listing)
            rename(old, previous)
    finally:
        _put_back(old, path, listing)
        _delete_unfinished(path, listing)


def _take_place(fresh: Path, path: Path, old: Path, at_once: bool) -> None:
    """Puts a folder where another is, which becomes `old`; `at_once` no reader misses both."""
    if at_once and path.exists():
        # What is beside is then the old folder, into which somebody may have put a file.
        _beside(path, UNFINISHED).unlink(missing_ok=True)
        if _exchange(fresh, path):
            rename(fresh, old)
            return
    if path.exists():
        os.replace(path, old)
    os.replace(fresh, path)
    sync(path.parent)


def swap_folders(first: Path, second: Path) -> None:
    """Lets two folders change places, at once where the system can."""
    if not _exchange(first, second):
        old = _beside(first, OLD)
        os.replace(first, old)
        os.replace(second, first)
        os.replace(old, second)
    sync(first.parent)


def _exchange(first: Path, second: Path) -> bool:
    """Lets two folders change places in one step; False where the system has none for it."""
    import ctypes

    try:
        renameat2 = ctypes.CDLL(None).renameat2
    except (OSError, AttributeError):
        return False
    # AT_FDCWD and RENAME_EXCHANGE of Linux, see rename(2).
    here, flag = -100, 2
    return renameat2(here, os.fsencode(first), here, os.fsencode(second), flag) == 0


def refuse_foreign(path: Path, listing: Listing) -> None:
    """Raises WorkError where a folder holds anything that its closing file does not list."""
    path = _followed(path)
    if not path.is_dir():
        if path.exists():
            raise WorkError(f"{path} is a file, not a folder of unidiff.", _move(path))
        return
    listed = listing(path)
    files = frozenset(listed or ())
    above = frozenset(str(folder) for file in files for folder in PurePosixPath(file).parents)
    inside = next(_foreign(path, path, files | above), None)
    if inside is None:
        return
    if listed is None:
        raise WorkError(f"{path} was not finished by unidiff, and holds {inside}.", _move(path))
    raise WorkError(f"{path} holds {inside}, which unidiff did not write.", _move(path / inside))


def _move(path: Path) -> str:
    return f"Nothing was changed. Move {path} elsewhere, and run it again."


def recover(parent: Path, listing: Listing) -> None:
    """Finishes the swap of every folder in `parent` whose writer was killed between the renames.

    The new one takes the place where it is closed, else the old one comes back. Of files that lie
    directly in `parent` the temporary ones are deleted. Several processes may call it at a time,
    while none writes.
    """
    for ending in (NEW, OLD, UNFINISHED):
        for beside in parent.glob(f".*{ending}"):
            if beside.is_dir() or ending == UNFINISHED:
                recover_folder(beside.with_name(beside.name[1 : -len(ending)]), listing)
    for file in parent.glob(TEMPORARY):
        # The project's own file is written without its lock. Of other machines nobody knows who
        # lives.
        is_here = file.name.split(".")[-3] == _machine()
        if is_here and (writer := _writer(file)) and not processes.lives(writer):
            file.unlink(missing_ok=True)


def recover_folder(path: Path, listing: Listing) -> None:
    """Finishes the swap of one folder, or of the one that a link names."""
    path = _followed(path)
    fresh = _beside(path, NEW)
    if not path.exists() and fresh.exists() and listing(fresh) is not None:
        rename(fresh, path)
    _put_back(_beside(path, OLD), path, listing)
    if not fresh.exists():
        _beside(path, UNFINISHED).unlink(missing_ok=True)


def delete_folder(path: Path, listing: Listing) -> None:
    """Deletes the files of a folder that its closing file lists, and the folders they leave empty.

    Anything else in it stays.
    """
    closing = listing(path)
    for name in closing or ():
        (path / name).unlink(missing_ok=True)
    _delete_empty(path)


def _delete_empty(folder: Path) -> None:
    """Deletes a folder and those below it, as far as there is no file in them."""
    delete_empty_below(folder)
    with suppress(OSError):
        folder.rmdir()


def delete_unfinished_files(folder: Path) -> None:
    """Deletes the temporary files of a folder whose writers were killed."""
    for file in folder.rglob(TEMPORARY):
        if _writer(file):
            file.unlink()


@cache
def _machine() -> str:
    """Eight digits of this machine: containers on a shared disk have equal process numbers."""
    return digest(socket.gethostname())[:8]


def _writer(file: Path) -> int:
    """The process that wrote a temporary file; 0 where it is none."""
    number = file.name.split(".")[-2]
    return int(number) if number.isdecimal() and file.is_file() else 0


def delete_empty_below(folder: Path) -> None:
    """Deletes the folders below a folder, as far as there is no file in them."""
    with suppress(FileNotFoundError):
        for entry in os.scandir(folder):
            if entry.is_dir(follow_symlinks=False):
                _delete_empty(Path(entry.path))


def _delete_unfinished(path: Path, listing: Listing) -> None:
    """Deletes the folder that was to take the place of `path` and never did."""
    fresh, mark = _beside(path, NEW), _beside(path, UNFINISHED)
    if mark.exists():
        shutil.rmtree(fresh, ignore_errors=True)
    elif fresh.exists():
        delete_folder(fresh, listing)
        refuse_foreign(fresh, listing)
    mark.unlink(missing_ok=True)


def _foreign(folder: Path, root: Path, ours: Collection[str]) -> Iterator[str]:
    """What lies below a folder and is not among `ours`, files and folders; links never are."""
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        name = Path(entry.path).relative_to(root).as_posix()
        is_folder = entry.is_dir(follow_symlinks=False)
        if name not in ours or not (is_folder or entry.is_file(follow_symlinks=False)):
            yield f"{name}/" if is_folder else name
        elif is_folder:
            yield from _foreign(Path(entry.path), root, ours)


def _followed(path: Path) -> Path:
    """The folder that a link names, else the path itself."""
    return path.resolve() if path.is_symlink() else path


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(f".{path.name}{ending}")


def _put_back(old: Path, path: Path, listing: Listing) -> None:
    """Renames `old` to `path` where nothing is, else deletes it.

    What somebody put into it meanwhile goes where it was put, in the new folder.
    """
    if not old.exists():
        return
    if not path.exists():
        rename(old, path)
        return
    delete_folder(old, listing)
    if old.exists():
        for file in files_below(old):
            place = path / file.relative_to(old)
            if not place.exists():
                place.parent.mkdir(parents=True, exist_ok=True)
                rename(file, place)
        _delete_empty(old)


def rename(source: Path, target: Path) -> None:
    """Renames a file or folder, and brings its name to the disk; nothing where it is gone."""
    # Another process may have recovered it first.
    with suppress(FileNotFoundError):
        os.replace(source, target)
        sync(target.parent)
