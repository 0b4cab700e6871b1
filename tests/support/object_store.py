"""An object store of fsspec in a folder: it counts its requests, fails, and cannot rename."""

import shutil
from contextlib import contextmanager
from pathlib import Path

import fsspec
from fsspec import AbstractFileSystem

from unidiff_cli.project.storage import write_address


class ObjectStore(AbstractFileSystem):
    """objects:///folder/… ; of this process `asked` are the requests, and `failures` to come."""

    protocol = "objects"
    asked: list[tuple[str, str]] = []  # noqa: RUF012
    failures: list[Exception] = []  # noqa: RUF012

    def _request(self, kind, path):
        self.asked.append((kind, Path(path).name))
        if self.failures:
            raise self.failures.pop(0)
        return Path(self._strip_protocol(path))

    def cat_file(self, path, start=None, end=None, **_):
        data = self._request("get", path).read_bytes()
        return data[start:end]

    def get_file(self, rpath, lpath, **_):
        shutil.copyfile(self._request("get", rpath), lpath)

    def pipe_file(self, path, value, mode="overwrite", **_):
        place = self._request("put", path)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(value)

    def put_file(self, lpath, rpath, **_):
        self.pipe_file(rpath, Path(lpath).read_bytes())

    def info(self, path, **_):
        place = self._request("head", path)
        if not place.is_file():
            raise FileNotFoundError(path)
        return {"name": str(place), "size": place.stat().st_size, "type": "file"}

    def ls(self, path, detail=True, **_):
        place = self._request("list", path)
        if not place.is_dir():
            raise FileNotFoundError(path)
        kinds = [(each, "directory" if each.is_dir() else "file") for each in place.iterdir()]
        return [{"name": str(each), "size": 0, "type": kind} for each, kind in kinds]

    def rm_file(self, path):
        self._request("delete", path).unlink()

    def makedirs(self, path, exist_ok=False):
        """There are no folders to make."""

    def mv(self, *_, **__):
        raise AssertionError("an object store cannot rename")

    cp_file = mv


@contextmanager
def counted():
    """The requests that are made meanwhile, each as (kind, name)."""
    ObjectStore.asked.clear()
    yield ObjectStore.asked


def objects(bucket: Path) -> set[str]:
    """The objects of a bucket."""
    return {str(each.relative_to(bucket)) for each in bucket.rglob("*") if each.is_file()}


def stored_at(project, bucket: Path, scheme: str = "objects"):
    """The project, with its storage in a folder that plays an object store."""
    project.root.mkdir(parents=True, exist_ok=True)
    write_address(project.root, f"{scheme}://{bucket}")
    return project


fsspec.register_implementation("objects", ObjectStore, clobber=True)
