"""File systems so small that they can be filled."""

import os
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path

import pytest

# What a tmpfs gives to files.
PAGE = 4096


class Disk:
    """A real file system, and how much may be written to it."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def leave(self, pages: int) -> None:
        """From now on so many more pages can be written."""
        status = os.statvfs(self.place)
        used = status.f_blocks - status.f_bfree
        size = (used + pages) * PAGE
        subprocess.run(["mount", "-o", f"remount,size={size}", str(self.place)], check=True)


@contextmanager
def mounted(place: Path, size: str):
    """A disk of a size, where one may be mounted; else the test is skipped."""
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)]
    if (
        os.geteuid()
        or not shutil.which("mount")
        or subprocess.run(mount, capture_output=True).returncode
    ):
        pytest.skip("no tmpfs can be mounted here")
    try:
        yield Disk(place)
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 2 MB."""
    with mounted(tmp_path / "disk", "2m") as disk:
        yield disk.place
