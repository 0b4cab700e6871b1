"""A project's storage: what is finished of it, on object storage or wherever fsspec reaches.

    ADDRESS/shards/contents.json                        which files the folder holds: the last one
    ADDRESS/shards/train-00000-8c12ab34cd56ef78.tar     each by its name and a part of its sha256

No object is written over but `contents.json`, which is one request: no store has to rename, and
whoever reads sees the folder from before or the new one, whole. What a killed upload left is used
by the next one. A file that is there already is not sent again.
"""

from __future__ import annotations

import json
import logging
import os
import posixpath
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from unidiff_cli import signals
from unidiff_cli.addresses import WEB, scheme_of, without_secrets
from unidiff_cli.errors import Damaged, EnvironmentProblem, UsageError, WorkError
from unidiff_cli.filesystems import filesystem_of, reached
from unidiff_cli.project.files import atomic_file, digest, file_digest, make_folder, write_json
from unidiff_cli.project.receipt import NO_RECEIPT, RECEIPT, FileRecord, damage_of

logger = logging.getLogger("unidiff")

# The project's file that names its storage, and the last object of a stored folder.
FILE, CONTENTS = "storage.json", "contents.json"
# How often a request is tried, and seconds before the second time; each pause is twice as long.
ATTEMPTS, PAUSE = 5, 0.5
# Hexadecimal digits of a file's sha256 in the name of its object.
DIGITS = 16

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Contents:
    """The files of a stored folder, and when it was finished; "" of a run that is not."""

    files: dict[str, FileRecord]
    finished: str = ""

    @classmethod
    def parse(cls, data: bytes) -> Contents:
        """What the bytes of `contents.json` say. Raises one of NO_RECEIPT for others."""
        values = json.loads(data)
        if values.pop("digest") != digest(values):
            raise ValueError("the digest is another")
        for name in values["files"]:
            path = PurePosixPath(name)
            # It comes from another machine, and files are written by it.
            if path.is_absolute() or ".." in path.parts or str(path) != name:
                raise ValueError("a file lies outside")
        files = {name: FileRecord(**record) for name, record in values["files"].items()}
        return cls(files, values["finished"])

    def json(self) -> bytes:
        """The bytes of `contents.json`."""
        values = json.loads(json.dumps(asdict(self)))
        return json.dumps({**values, "digest": digest(values)}, indent=1).encode()


class Storage:
    """A place for what is finished of a project. Processes may share one."""

    def __init__(self, address: str) -> None:
        """Nothing is asked of the place. Raises UsageError and EnvironmentProblem."""
        self.address = address.rstrip("/")
        self._filesystem, path = filesystem_of(address)
        self._path = path.rstrip("/")

    @classmethod
    def of(cls, root: Path) -> Storage | None:
        """The storage that a project's file names, if there is one; it says so. Raises as above.

        It warns where the file is another user's: what is finished here goes to that place.
        """
        try:
            address = json.loads((root / FILE).read_text(encoding="utf-8"))["address"]
            is_own = (root / FILE).stat().st_uid == os.geteuid()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, *NO_RECEIPT):
            address = None
        if not isinstance(address, str):
            raise UsageError(
                f"{root / FILE} names no storage.", "Name it again: unidiff storage ADDRESS"
            )
        storage = cls(checked(address))
        say = logger.info if is_own else logger.warning
        say("%s%s: storage %s", root / FILE, "" if is_own else " of another user", storage.address)
        return storage

    def address_of(self, *names: str) -> str:
        """The address of something in it."""
        return posixpath.join(self.address, *names)

    # ------------------------------------------------------------ what is there

    def contents(self, name: str) -> Contents | None:
        """What is stored of a folder such as `exports/001-fashion`; None where nothing is whole.

        Raises Damaged where the object that says it is none of ours, and EnvironmentProblem.
        """
        data = self._bytes(f"{name}/{CONTENTS}")
        if data is None:
            return None
        try:
            return Contents.parse(data)
        except NO_RECEIPT as problem:
            raise Damaged(
                f"{self.address_of(name, CONTENTS)} is not what unidiff writes.",
                "Nothing was changed. Delete it, or name another storage.",
            ) from problem

    def folders(self, parent: str) -> list[str]:
        """The names of the folders that lie in one such as `runs`."""

        def listed() -> list[dict[str, Any]]:
            self._filesystem.invalidate_cache()
            found: list[dict[str, Any]] = self._filesystem.ls(self._object(parent), detail=True)
            return found

        try:
            entries = self._tried(self.address_of(parent), listed)
        except FileNotFoundError:
            return []
        paths = [e["name"].rstrip("/") for e in entries if e.get("type") == "directory"]
        names = [posixpath.basename(path) for path in paths]
        return sorted(name for name in names if name and not name.startswith("."))

    def text(self, name: str) -> str:
        """A small text such as `exports/current`; "" where it is not there."""
        return (self._bytes(name) or b"").decode("utf-8", errors="replace").strip()

    def _bytes(self, name: str) -> bytes | None:
        path = self._object(name)
        try:
            data: bytes = self._tried(
                self.address_of(name), lambda: self._filesystem.cat_file(path)
            )
        except FileNotFoundError:
            return None
        return data

    # ------------------------------------------------------------ there

    def keep(
        self,
        name: str,
        folder: Path,
        contents: Contents,
        same: str = "",
        tidy: bool = False,
        older: bool = False,
        again: bool = False,
    ) -> None:
        """Stores a folder's files, and what it holds last; nothing where that says it is there.

        A folder that was finished later is replaced with `older` alone, and one with another file
        `same` never. With `tidy` objects that only the one before held are deleted; `again` looks
        for every object. Raises WorkError and EnvironmentProblem.
        """
        before = self.contents(name)
        if before == contents and not again:
            return
        if before and same and before.files.get(same) != contents.files.get(same):
            raise WorkError(
                f"{self.address_of(name)} is another run than {folder}.",
                "Nothing was replaced. Name another storage for this project.",
            )
        if before and before.finished > contents.finished and not older:
            raise WorkError(
                f"{self.address_of(name)} was finished later than {folder}, at {before.finished}.",
                f"Nothing was replaced. To take it, move {folder} elsewhere; to keep both, name "
                "another storage.",
            )
        known = before.files if before else {}
        sent = 0
        for file, record in contents.files.items():
            signals.check()
            is_known = known.get(file) == record and not again
            if not is_known and self._send(name, file, record, folder / file):
                sent += record.size
        if before != contents:
            self.write(f"{name}/{CONTENTS}", contents.json())
        logger.info("%s is stored (%s MB sent).", self.address_of(name), f"{sent / 1e6:,.1f}")
        if tidy:
            for file, record in known.items():
                if contents.files.get(file) != record:
                    self._delete(_object_name(name, file, record))

    def write(self, name: str, data: bytes) -> None:
        """Writes a small object whole."""
        path = self._object(name)
        self._make_folder(path)
        self._tried(self.address_of(name), lambda: self._filesystem.pipe_file(path, data))

    def _send(self, name: str, file: str, record: FileRecord, source: Path) -> bool:
        """Brings a file there; False where it lies there already."""
        named = _object_name(name, file, record)
        path, address = self._object(named), self.address_of(named)
        if self._size(path, address) == record.size:
            return False
        self._make_folder(path)
        self._tried(address, lambda: self._filesystem.put_file(str(source), path))
        if (size := self._size(path, address)) != record.size:
            raise EnvironmentProblem(
                f"{address} has {size or 0:,} bytes, and {record.size:,} were sent.",
                "Run it again: what is there is not sent twice.",
            )
        return True

    def _size(self, path: str, address: str) -> int | None:
        def asked() -> int:
            self._filesystem.invalidate_cache(posixpath.dirname(path))
            return int(self._filesystem.info(path)["size"] or 0)

        try:
            return self._tried(address, asked)
        except FileNotFoundError:
            return None

    def _delete(self, named: str) -> None:
        path = self._object(named)
        try:
            self._tried(self.address_of(named), lambda: self._filesystem.rm_file(path))
        except FileNotFoundError:
            pass

    def _make_folder(self, path: str) -> None:
        # Object stores have no folders, and theirs are the asynchronous filesystems.
        if not self._filesystem.async_impl:
            self._filesystem.makedirs(posixpath.dirname(path), exist_ok=True)

    # ------------------------------------------------------------ here

    def fetch(self, name: str, folder: Path, contents: Contents, without: str = "") -> None:
        """Writes a stored folder's files into a folder, its receipt last, each checked.

        Files that end in `without` stay there. A file that is here already is not fetched again.
        Raises Damaged where an object is not what was stored, and EnvironmentProblem.
        """
        wanted = [f for f in contents.files if not (without and f.endswith(without))]
        for file in sorted(wanted, key=lambda file: file == RECEIPT):
            signals.check()
            record, place = contents.files[file], folder / file
            if damage_of(place, record):
                make_folder(place.parent)
                self._get(_object_name(name, file, record), record, place)

    def _get(self, named: str, record: FileRecord, place: Path) -> None:
        path, address = self._object(named), self.address_of(named)
        with atomic_file(place) as beside:
            try:
                self._tried(address, lambda: self._filesystem.get_file(path, str(beside)))
            except FileNotFoundError as problem:
                raise Damaged(f"{address} is missing.", MAKE_AGAIN) from problem
            if beside.stat().st_size != record.size or file_digest(beside) != record.sha256:
                raise Damaged(f"{address} is not what was stored.", MAKE_AGAIN)

    def read(self, name: str, file: str, record: FileRecord, start: int, size: int) -> bytes:
        """A piece of a stored file by one request, shorter where the file ends.

        Raises Damaged where it is missing, and EnvironmentProblem.
        """
        named = _object_name(name, file, record)
        path, end = self._object(named), min(start + size, record.size)

        def piece() -> bytes:
            data = b""
            try:
                data = self._filesystem.cat_file(path, start=start, end=end)
                if len(data) < end - start:
                    raise OSError("the answer was cut short")
            except FileNotFoundError:
                raise
            except Exception:
                # An object that is too short is not asked for again: it is damaged.
                if self._filesystem.info(path)["size"] == record.size:
                    raise
            return data

        if end <= start:
            return b""
        try:
            return self._tried(self.address_of(named), piece)
        except FileNotFoundError as problem:
            raise Damaged(f"{self.address_of(named)} is missing.", MAKE_AGAIN) from problem

    def file_address(self, name: str, file: str, record: FileRecord) -> str:
        """The address of the object that holds a file."""
        return self.address_of(_object_name(name, file, record))

    # ------------------------------------------------------------ requests

    def _object(self, name: str) -> str:
        return f"{self._path}/{name}"

    def _tried(self, address: str, request: Callable[[], Answer]) -> Answer:
        """What a request gives, tried some times. Raises FileNotFoundError, EnvironmentProblem."""
        reason = ""
        for attempt in range(ATTEMPTS):
            if attempt:
                time.sleep(PAUSE * 2 ** (attempt - 1))
            try:
                with reached(address):
                    return request()
            except FileNotFoundError:
                raise
            except OSError as problem:
                reason = problem.strerror or str(problem)
        raise EnvironmentProblem(
            f"{address} cannot be reached: {reason} ({ATTEMPTS} attempts).",
            "Check the address, the network, and the credentials of this machine; then run it "
            "again.",
        )


MAKE_AGAIN = "Delete it; where the folder is whole, send it again: unidiff storage"


def _object_name(name: str, file: str, record: FileRecord) -> str:
    """shards/train-00000-8c12ab34cd56ef78.tar for a file of a folder."""
    path = PurePosixPath(name, file)
    return str(path.with_name(f"{path.stem}-{record.sha256[:DIGITS]}{path.suffix}"))


def checked(address: str) -> str:
    """An address as the project's file keeps it. Raises UsageError for one that cannot be kept."""
    if without_secrets(address) != address:
        raise UsageError(
            f"{without_secrets(address)} holds credentials.",
            "Give them where the place's own tools find them, as in the environment.",
        )
    if scheme_of(address) in WEB:
        raise UsageError(f"{address} is a web address, which cannot be written.")
    if not address.strip():
        raise UsageError("The address is empty.", "Example: unidiff storage s3://bucket/project")
    return address if scheme_of(address) else str(Path(address).expanduser().absolute())


def write_address(root: Path, address: str) -> None:
    """Names the storage of a project."""
    write_json(root / FILE, {"address": address})
