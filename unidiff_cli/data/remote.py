"""Files and folders of other places (S3, Google, Azure, the hub, SFTP, …), through fsspec.

What a folder holds is asked once and remembered, with sizes and versions, for as long as the
location that a person named lives. Reading an image is one request then.
"""

from __future__ import annotations

import errno
import io
import posixpath
from dataclasses import dataclass, field, replace
from typing import IO, TYPE_CHECKING, Any

from unidiff_cli.addresses import WEB, scheme_of, without_secrets
from unidiff_cli.data.location import MOST_BYTES, Entry, InMemory, Location, Stat, shown
from unidiff_cli.errors import EnvironmentProblem, UsageError
from unidiff_cli.filesystems import filesystem_of, reached

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

# What says of a file that it is the same still, the surest first: the keys of many filesystems.
VERSIONS = """
    ETag etag e_tag blob_id oid md5Hash content_md5 generation checksum
    mtime LastModified last_modified updated modified modify created
""".split()
# Entries that are remembered at most.
REMEMBERED = 2_000_000
# Bytes of a file that is read together with others.
SMALL = 1 << 20
# Bytes that are read at a time of a file that is not read whole.
PIECE = 1 << 20

# What a folder holds, in order; a file and a folder may have one name.
Contents = list[tuple[str, Stat]]


class Listings:
    """What folders hold, each asked for once."""

    def __init__(self) -> None:
        self._contents: dict[str, Contents] = {}
        # The same by name, files before folders; None where a folder cannot be listed.
        self._by_name: dict[str, dict[str, Stat] | None] = {}
        self._count = 0

    def of(self, folder: RemotePath) -> Contents:
        """What a folder holds. Raises OSError."""
        if folder.path not in self._contents:
            self._remember(folder.path, folder.listed())
        return self._contents[folder.path]

    def stat(self, place: RemotePath) -> Stat | None:
        """What a place is, by the listing of its folder; None where that cannot be listed.

        Raises FileNotFoundError.
        """
        folder = posixpath.dirname(place.path)
        if folder not in self._by_name:
            try:
                self.of(place.parent)
            except FileNotFoundError:
                self._remember(folder, [])
            # Whoever may read a file need not be allowed to list its folder.
            except OSError:
                self._by_name[folder] = None
        names = self._by_name[folder]
        if names is None:
            return None
        if place.name not in names:
            raise FileNotFoundError(errno.ENOENT, "no such file", str(place))
        return names[place.name]

    def _remember(self, folder: str, contents: Contents) -> None:
        if self._count > REMEMBERED:
            self._contents.clear()
            self._by_name.clear()
            self._count = 0
        self._count += len(contents)
        self._contents[folder] = contents
        self._by_name[folder] = dict(reversed(contents))


@dataclass(frozen=True)
class RemotePath(Location):
    """A file or a folder of an fsspec filesystem.

    `path` is the filesystem's own word for it, and `address` what a person reads: without
    credentials. `known` is what a listing said of it.
    """

    filesystem: AbstractFileSystem = field(repr=False)
    path: str
    address: str = field(compare=False)
    known: Stat | None = field(default=None, compare=False, repr=False)
    listings: Listings = field(default_factory=Listings, compare=False, repr=False)

    def __str__(self) -> str:
        return self.address

    def __getstate__(self) -> dict[str, Any]:
        # A worker process reads its image; it needs no listings.
        return self.__dict__ | {"listings": Listings()}

    @property
    def name(self) -> str:
        return posixpath.basename(self.path)

    @property
    def parent(self) -> RemotePath:
        scheme, mark, place = self.address.partition("://")
        address = f"{scheme}{mark}{posixpath.dirname(place)}"
        return replace(self, path=posixpath.dirname(self.path), address=address, known=None)

    def stat(self) -> Stat:
        if self.known:
            return self.known
        # The folder above a bucket is all buckets.
        is_top = posixpath.dirname(self.path) in ("", "/")
        return (None if is_top else self.listings.stat(self)) or self.asked()

    def asked(self) -> Stat:
        """What the filesystem says of this place alone. Raises OSError."""
        with reached(self.address):
            return _stat(self.filesystem.info(self.path), self.path)

    def listed(self) -> Contents:
        """What the filesystem says of what lies in this folder, in order. Raises OSError."""
        with reached(self.address):
            infos = self.filesystem.ls(self.path, detail=True)
        own, contents = self.path.strip("/"), []
        for info in infos:
            path = str(info["name"]).rstrip("/")
            # An object may stand for the folder itself.
            if path.strip("/") != own:
                contents.append((posixpath.basename(path), _stat(info, path)))
        return sorted(contents, key=_order)

    def entries(self) -> list[Entry]:
        return [
            Entry(replace(self.child(name), known=stat), stat.kind == "folder")
            for name, stat in self.listings.of(self)
            if name
        ]

    def open(self) -> IO[bytes]:
        with reached(self.address):
            stream = self.filesystem.open(self.path, "rb")
        return io.BufferedReader(_Stream(stream, self.address), PIECE)

    def read(self, most: int = MOST_BYTES) -> bytes:
        size = self.stat().size
        # Where the size is not known, or nothing, there is no range to ask for.
        if size <= 0:
            return super().read(most)
        if size > most:
            raise OSError(errno.EFBIG, f"larger than {most:,} bytes", str(self))
        with reached(self.address):
            data: bytes = self.filesystem.cat_file(self.path, start=0, end=most + 1)
        # It may have grown since it was listed.
        if len(data) > most:
            raise OSError(errno.EFBIG, f"larger than {most:,} bytes", str(self))
        return data

    def child(self, path: str) -> RemotePath:
        scheme, mark, place = self.address.partition("://")
        # An absolute path would name another bucket.
        path = path.lstrip("/")
        address = f"{scheme}{mark}{_joined(place, path)}"
        return replace(self, path=_joined(self.path, path), address=shown(address), known=None)

    def relative_to(self, folder: Location) -> str:
        if not isinstance(folder, RemotePath) or folder.filesystem != self.filesystem:
            return self.address
        # Both as absolute paths: a bucket's name would be taken for one below here.
        return shown(posixpath.relpath(f"/{self.path}", f"/{folder.path}"))

    def below(self, address: str) -> RemotePath | None:
        """What an address names, if it lies below this folder."""
        if "::" in address or scheme_of(address) not in _protocols(self.filesystem):
            return None
        # As text, since hosts and accounts are no part of many filesystems' paths.
        place = posixpath.normpath(without_secrets(address).partition("://")[2].lstrip("/"))
        folder = self.address.partition("://")[2].strip("/") + "/"
        return self.child(place.removeprefix(folder)) if place.startswith(folder) else None


def gathered(sources: list[Location]) -> list[Location]:
    """The same locations, with small remote files read at a time and in memory.

    One that cannot be read so is left as it is: reading it says why.
    """
    small = [
        (number, source)
        for number, source in enumerate(sources)
        if isinstance(source, RemotePath) and source.known and 0 < source.known.size <= SMALL
    ]
    if not small or not all(source.filesystem.async_impl for _, source in small):
        return sources
    sizes = [source.stat().size for _, source in small]
    try:
        # One byte more than it had, to see whether it grew.
        results = small[0][1].filesystem.cat_ranges(
            [source.path for _, source in small],
            [0] * len(small),
            [size + 1 for size in sizes],
            on_error="return",
        )
    except Exception:
        return sources
    read = list(sources)
    for (number, source), size, data in zip(small, sizes, results, strict=True):
        if isinstance(data, bytes) and len(data) == size:
            read[number] = InMemory(str(source), data)
    return read


def locate_remote(address: str) -> RemotePath:
    """The location of an address.

    Raises UsageError for an address of a kind that is not read, and EnvironmentProblem where a
    package is missing or the place cannot be reached.
    """
    named, scheme = without_secrets(address), scheme_of(address)
    if scheme in WEB:
        raise UsageError(
            f"{named} is a web address, which is not read.",
            "Download it first. Images that a table names by web addresses: --allow-urls",
        )
    filesystem, path = filesystem_of(address)
    filesystem.invalidate_cache()
    place = RemotePath(filesystem, path, named.rstrip("/"))
    try:
        return replace(place, known=place.asked())
    except FileNotFoundError:
        return place
    except OSError as problem:
        raise EnvironmentProblem(
            f"{named} cannot be read: {problem.strerror}.",
            "Check the address, the network, and the credentials of this machine.",
        ) from problem


class _Stream(io.RawIOBase):
    """A file of fsspec whose errors are OSErrors with the address."""

    def __init__(self, stream: IO[bytes], address: str) -> None:
        self._stream, self._address, self._place = stream, address, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with reached(self._address):
            # fsspec's memory gives one stream to all who open a file.
            if self._stream.tell() != self._place:
                self._stream.seek(self._place)
            data = self._stream.read(len(buffer))
        self._place += len(data)
        buffer[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        with reached(self._address):
            self._place = self._stream.seek(offset, whence)
        return self._place

    def tell(self) -> int:
        return self._place

    def close(self) -> None:
        if not self.closed:
            self._stream.close()
        super().close()


def _stat(info: dict[str, Any], path: str) -> Stat:
    if info.get("type") == "directory":
        return Stat("folder", 0, "", path.strip("/"))
    size = info.get("size")
    version = next((f"{info[key]}" for key in VERSIONS if info.get(key)), "")
    kind: Any = "file" if info.get("type", "file") == "file" else "other"
    return Stat(kind, -1 if size is None else int(size), version, path.strip("/"))


def _order(entry: tuple[str, Stat]) -> tuple[bytes, str]:
    return entry[0].encode("utf-8", "surrogatepass"), entry[1].kind


def _joined(folder: str, path: str) -> str:
    return posixpath.normpath(posixpath.join(folder, path)) if folder else path


def _protocols(filesystem: AbstractFileSystem) -> tuple[str, ...]:
    names = filesystem.protocol
    return (names,) if isinstance(names, str) else tuple(names)
