"""A disk that is full, and one that fails: which, where, and nothing half made."""

import errno
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from tests.support.commands import unidiff, workplace  # noqa: F401
from tests.support.disks import small_disk  # noqa: F401
from tests.support.images import generated_record
from unidiff_cli import Project, machine
from unidiff_cli.errors import EnvironmentProblem
from unidiff_cli.generation.generate import _write
from unidiff_cli.generation.generator import GeneratedImage
from unidiff_cli.project import checkpoints
from unidiff_cli.project.files import atomic_file, atomic_folder, write_json
from unidiff_cli.retrieval.words import write_words
from unidiff_cli.system import naming, system_error, translated


class SafetensorError(Exception):
    """As the library's: the system's error is in its text only."""


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (errno.ENOSPC, "The disk is full."),
        (errno.EDQUOT, "The disk is full."),
        (errno.EIO, "The disk could not be read or written."),
        (errno.EROFS, "Read-only file system"),
        (errno.EACCES, "Permission denied"),
        (errno.EFBIG, "File too large"),
    ],
)
@pytest.mark.parametrize("wrapped", [None, "os error", "Errno"])
def test_each_error_of_the_disk_says_what_it_is_and_where(tmp_path, number, text, wrapped):
    place = tmp_path / "shards"
    with pytest.raises(OSError) as caught, naming(place):
        if wrapped == "os error":
            raise SafetensorError(f"I/O error: {os.strerror(number)} (os error {number})")
        if wrapped:
            raise OSError(f"[Errno {number}] Error writing bytes")
        raise OSError(number, os.strerror(number))
    problem = translated(caught.value)
    assert problem.exit_code == 3 and text in problem.fact and str(place) in problem.fact
    assert number in (errno.ENOSPC, errno.EDQUOT) or "full" not in problem.fact
    assert number == errno.EIO or "could not be read" not in problem.fact


def test_a_file_that_is_named_already_keeps_its_name(tmp_path):
    with pytest.raises(FileNotFoundError) as caught, naming(tmp_path):
        open(tmp_path / "gone")
    assert caught.value.filename == str(tmp_path / "gone")


def folder_writer(path):
    return atomic_folder(path, lambda folder: None)


@pytest.mark.parametrize("writer", [atomic_file, folder_writer])
def test_what_is_written_whole_names_itself(tmp_path, writer):
    with (
        pytest.raises(OSError) as caught,
        writer(tmp_path / "new"),
        open("/dev/full", "wb") as full,
    ):
        full.write(b"x" * 100_000)
    assert caught.value.errno == errno.ENOSPC and caught.value.filename == str(tmp_path / "new")
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_on_a_disk_that_fails_is_not_said_to_be_too_large(tmp_path, monkeypatch):
    import safetensors.torch

    def fails(tensors, file):
        raise SafetensorError(f"Input/output error (os error {errno.EIO})")

    monkeypatch.setattr(safetensors.torch, "save_file", fails)
    with pytest.raises(EnvironmentProblem) as caught:
        checkpoints.save(tmp_path, "step-000001", {"weights": {"a": torch.ones(1)}}, {})
    assert "could not be read or written" in caught.value.fact
    assert "step-000001" in caught.value.fact and "fit" not in caught.value.fact


def test_a_real_error_of_input_is_one():
    with pytest.raises(OSError) as caught, open("/proc/self/mem", "rb") as memory:
        memory.read(1)
    assert system_error(caught.value).errno == errno.EIO


# ---------------------------------------------------------------- generate


def images(count):
    side = 512
    noise = Image.frombytes("RGB", (side, side), os.urandom(3 * side * side))
    return [GeneratedImage(noise, generated_record(seed)) for seed in range(count)]


def test_a_full_disk_leaves_no_half_of_a_folder(small_disk):  # noqa: F811
    project = Project(small_disk / "project")
    project.create()
    folder = _write(project, "dress", images(1))
    with pytest.raises(OSError) as caught:
        _write(project, "hat", images(8))
    assert caught.value.errno == errno.ENOSPC and str(small_disk) in caught.value.filename
    assert [path for path in folder.parent.iterdir() if path.is_dir()] == [folder]
    assert {file.name for file in folder.iterdir()} == {"0.png", "prompt.json", "sheet.png"}


@pytest.mark.parametrize("raised", [KeyboardInterrupt, OSError(errno.EIO, "x"), RuntimeError])
def test_no_error_leaves_half_of_a_folder(tmp_path, monkeypatch, raised):
    def fails(*_):
        raise raised

    monkeypatch.setattr("unidiff_cli.generation.generate.contact_sheet", fails)
    with pytest.raises(BaseException):  # noqa: B017
        project = Project(tmp_path)
        project.create()
        _write(project, "dress", images(1))
    assert not [path for path in (tmp_path / "outputs").iterdir() if path.is_dir()]


# ---------------------------------------------------------------- commands


def test_a_full_disk_names_the_project(small_disk, unidiff, workplace, catalogue):  # noqa: F811
    filler = small_disk / "filler"
    with pytest.raises(OSError), open(filler, "wb") as stream:
        while True:
            stream.write(bytes(4096))
            stream.flush()
    for command in (
        ("prepare", catalogue, "--set", "prepare.workers=1"),
        ("recipes", "copy", "fashion", small_disk / "fashion.yaml"),
        ("sample-catalog", small_disk / "shop"),
    ):
        code, _, err = unidiff("-C", small_disk / "project", *command)
        assert code == 3 and str(small_disk) in err and "Traceback" not in err, err


def test_a_copy_that_finds_the_disk_full_names_what_it_writes(small_disk, tmp_path):  # noqa: F811
    (tmp_path / "source").write_bytes(bytes(1 << 22))
    (small_disk / "filler").write_bytes(bytes(machine.free_bytes(small_disk)))
    with pytest.raises(OSError, match="No space left") as caught:
        shutil.copyfile(tmp_path / "source", small_disk / "copy")
    fact = translated(caught.value).fact
    assert str(small_disk / "copy") in fact and "source" not in fact


def test_words_on_a_full_disk_are_no_lack_of_a_package(small_disk):  # noqa: F811
    """At every size that is too small: SQLite notices it here and there."""
    rows = [
        SimpleNamespace(captions=(f"dress {'x' * n} {n}",), group="", attributes={})
        for n in range(500)
    ]
    for left in range(0, 1 << 15, 1 << 12):
        filler = small_disk / "filler"
        filler.write_bytes(bytes(machine.free_bytes(small_disk) - left))
        with pytest.raises(sqlite3.OperationalError) as caught:
            write_words(small_disk, rows)
        assert "The disk is full." in translated(caught.value).fact
        for file in small_disk.iterdir():
            file.unlink()


@pytest.mark.parametrize("command", [("status",), ("recipes", "schema"), ("status", "--json")])
def test_a_full_standard_output_is_named(tmp_path, command):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "unidiff_cli.cli", *command],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
        )
    assert done.returncode == 3, done.stderr
    assert "The disk is full. Standard output" in done.stderr and "Traceback" not in done.stderr


def test_a_json_file_on_a_full_disk_is_named(small_disk):  # noqa: F811
    file = Path(small_disk) / "large.json"
    with pytest.raises(OSError) as caught:
        write_json(file, ["x" * 1000] * 100_000)
    assert caught.value.filename == str(file) and not list(Path(small_disk).glob(".large*"))
