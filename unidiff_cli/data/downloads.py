"""Images of web addresses, each downloaded once into a folder and read from there.

A file's name says its address, the sha256 of its contents and its size: a file that was cut short
is none, and one that was changed is found out when it is read. Whatever ends the work, what was
downloaded stays. Each host gets few connections, pauses when it asks for them, and is left alone
once it no longer answers.
"""

from __future__ import annotations

import errno
import hashlib
import os
import queue
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO
from urllib.parse import unquote, urlsplit

from unidiff_cli import signals
from unidiff_cli.addresses import without_secrets
from unidiff_cli.data import plain_files
from unidiff_cli.data.location import MOST_BYTES, Entry, Location, Stat, shown
from unidiff_cli.data.sample import Reason
from unidiff_cli.data.web_client import Client, Session, WebProblem, target_of
from unidiff_cli.progress import Counter
from unidiff_cli.project.files import make_folder, rename

# Connections, and those of one host.
MOST, PER_HOST = 16, 4
# Tries of one address, and seconds before the second; each further pause is twice as long.
TRIES, PAUSE = 3, 1.0
# Addresses in a row that a host does not answer before it is left alone.
PATIENCE = 5
UNFINISHED = ".part"
# Hex digits of the digest of an address.
KEY = 40


@dataclass(frozen=True)
class WebImage(Location):
    """An image of a web address: the file that it was downloaded to; None: it is not there yet."""

    address: str
    file: Path | None = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        return shown(without_secrets(self.address))

    @property
    def name(self) -> str:
        return PurePosixPath(unquote(urlsplit(self.address).path)).name

    @property
    def parent(self) -> Location:
        raise NotADirectoryError(f"{self} lies in no folder")

    def stat(self) -> Stat:
        _, content, size = self._parts()
        return Stat("file", size, content)

    def open(self) -> IO[bytes]:
        self._parts()
        return plain_files.open_plain(str(self.file))

    def read(self, most: int = MOST_BYTES) -> bytes:
        data = super().read(most)
        if hashlib.sha256(data).hexdigest() != self._parts()[1]:
            words = f"its download was changed; delete {self.file} and run prepare again"
            raise OSError(errno.EILSEQ, words, str(self))
        return data

    def entries(self) -> list[Entry]:
        raise NotADirectoryError(f"{self} is no folder")

    def child(self, path: str) -> Location:
        raise NotADirectoryError(f"{self} is no folder")

    def relative_to(self, folder: Location) -> str:
        return str(self)

    def _parts(self) -> tuple[str, str, int]:
        if self.file is None:
            raise FileNotFoundError(errno.ENOENT, "not downloaded", str(self))
        return _parts(self.file.name)


class Downloads:
    """A folder of downloaded images. One process at a time may fetch into it."""

    def __init__(
        self, folder: Path, client: Client, per_host: int = PER_HOST, pause: float = PAUSE
    ) -> None:
        self.folder, self.client = folder, client
        self.per_host, self.pause = per_host, pause
        # By the digests of their addresses.
        self._files = {_parts(file.name)[0]: file for file in _files(folder) if _is_whole(file)}

    def image(self, address: str) -> WebImage:
        """The image of an address, downloaded or not."""
        return WebImage(address, self._files.get(_key(address)))

    def fetch(self, addresses: Iterable[str], on_progress: Counter | None) -> dict[str, Reason]:
        """Downloads what is not there, and returns why addresses gave nothing.

        Raises OSError where the folder cannot be written.
        """
        missing = [a for a in dict.fromkeys(addresses) if _key(a) not in self._files]
        if not missing:
            return {}
        make_folder(self.folder)
        for unfinished in self.folder.glob(f"*{UNFINISHED}"):
            unfinished.unlink(missing_ok=True)
        reasons: dict[str, Reason] = {}
        with _Crew(self, missing) as crew:
            for done in range(1, len(missing) + 1):
                address, result = crew.result()
                if isinstance(result, OSError):
                    raise result
                if isinstance(result, Reason):
                    reasons[address] = result
                else:
                    self._files[_key(address)] = result
                if on_progress:
                    on_progress(done, len(missing))
        return reasons

    def download(self, session: Session, address: str) -> Path:
        """The file of one address. Raises WebProblem, and OSError where it cannot be written."""
        key, unfinished = _key(address), self.folder / f"{_key(address)}{UNFINISHED}"
        try:
            with open(unfinished, "wb") as stream:
                session.get(address, stream)
            with open(unfinished, "rb") as stream:
                content = hashlib.file_digest(stream, "sha256").hexdigest()
            size = unfinished.stat().st_size
            folder = self.folder / key[:2]
            folder.mkdir(exist_ok=True)
            file = folder / f"{key}-{content}-{size}"
            rename(unfinished, file)
            return file
        finally:
            unfinished.unlink(missing_ok=True)


class _Host:
    """The addresses of one host that are still to be asked for, and how it answers."""

    def __init__(self, name: str) -> None:
        self.name, self.addresses = name, deque[str]()
        # Addresses in a row that it did not answer.
        self.silent = 0
        # Set while it wants to be left alone.
        self.pause = threading.Lock()

    def next(self) -> str | None:
        try:
            return self.addresses.popleft()
        except IndexError:
            return None


class _Crew:
    """Threads that download, a few for each host."""

    def __init__(self, downloads: Downloads, addresses: list[str]) -> None:
        self._downloads = downloads
        self._results: queue.Queue[tuple[str, Path | Reason | OSError]] = queue.Queue()
        self._hosts: queue.SimpleQueue[_Host] = queue.SimpleQueue()
        self._stop = threading.Event()
        self._sessions: set[Session] = set()
        hosts: dict[str, _Host] = {}
        for address in addresses:
            name = _host(address)
            hosts.setdefault(name, _Host(name)).addresses.append(address)
        # The first connection of every host comes before the second of any.
        turns = 0
        for turn in range(downloads.per_host):
            for host in hosts.values():
                if len(host.addresses) > turn:
                    self._hosts.put(host)
                    turns += 1
        self._threads = [
            threading.Thread(target=self._work, daemon=True) for _ in range(min(MOST, turns))
        ]

    def __enter__(self) -> _Crew:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for session in list(self._sessions):
            session.cut()
        for thread in self._threads:
            # One that looks up a name cannot be hurried.
            thread.join(timeout=2)

    def result(self) -> tuple[str, Path | Reason | OSError]:
        """What became of one address, whichever is next."""
        while True:
            signals.check()
            try:
                return self._results.get(timeout=0.2)
            except queue.Empty:
                continue

    def _work(self) -> None:
        while not self._stop.is_set():
            try:
                host = self._hosts.get_nowait()
            except queue.Empty:
                return
            with self._session() as session:
                while not self._stop.is_set() and (address := host.next()) is not None:
                    self._results.put((address, self._fetched(session, host, address)))

    @contextmanager
    def _session(self) -> Iterator[Session]:
        session = Session(self._downloads.client)
        self._sessions.add(session)
        try:
            yield session
        finally:
            session.close()
            self._sessions.discard(session)

    def _fetched(self, session: Session, host: _Host, address: str) -> Path | Reason | OSError:
        pause = self._downloads.pause
        for tries in range(1, TRIES + 1):
            if host.silent >= PATIENCE:
                return Reason(
                    f"not asked for: {host.name} did not answer {PATIENCE} times in a row"
                )
            # Where another thread waits for this host, so does this one.
            with host.pause:
                pass
            try:
                file = self._downloads.download(session, address)
                host.silent = 0
                return file
            except WebProblem as problem:
                if problem.wait is None or tries == TRIES or self._stop.is_set():
                    host.silent = host.silent + 1 if problem.unreachable else 0
                    return Reason(f"its download failed: {problem}")
                wait = max(problem.wait, pause * 2 ** (tries - 1))
                with host.pause:
                    self._stop.wait(wait)
            except OSError as problem:
                return problem
            # A thread that dies without a word would leave the work waiting for ever.
            except Exception as problem:
                return Reason(f"its download failed: {type(problem).__name__}: {problem}"[:200])
        raise AssertionError("every try returns or is followed by another")


def _host(address: str) -> str:
    try:
        return target_of(address).shown_host
    # It will be refused when it is asked for.
    except WebProblem:
        return ""


def _key(address: str) -> str:
    return hashlib.sha256(address.encode("utf-8", "surrogatepass")).hexdigest()[:KEY]


def _parts(name: str) -> tuple[str, str, int]:
    """The digest of the address, that of the contents, and the size, of a file's name."""
    key, content, size = name.split("-")
    return key, content, int(size)


def _files(folder: Path) -> Iterator[Path]:
    try:
        folders = [entry.path for entry in os.scandir(folder) if entry.is_dir()]
    except FileNotFoundError:
        return
    for path in folders:
        yield from (Path(entry.path) for entry in os.scandir(path))


def _is_whole(file: Path) -> bool:
    try:
        return file.stat().st_size == _parts(file.name)[2]
    except (OSError, ValueError):
        return False
