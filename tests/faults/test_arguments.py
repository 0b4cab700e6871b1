"""Arguments, and images that are arguments: what cannot be is one sentence, exit code 2."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from tests.support.cli import words
from tests.support.commands import unidiff, workplace  # noqa: F401
from unidiff_cli.errors import UsageError
from unidiff_cli.generation.record import KEY, GenerationRecord, read_record, write_image
from unidiff_cli.models.sampler import generate_images

COMMAND = [sys.executable, "-m", "unidiff_cli.cli"]


def run(folder, *arguments: bytes):
    """The command in a process of its own: exit code, standard output, standard error."""
    done = subprocess.run(
        [*map(os.fsencode, COMMAND), *arguments], cwd=folder, capture_output=True, timeout=120
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


# ---------------------------------------------------------------- bytes


@pytest.mark.parametrize(
    "arguments",
    [
        (b"caf\xe9",),
        (b"prepare", b"caf\xe9"),
        (b"generate", b"robe d'\xe9t\xe9"),
        (b"generate", b"--prompts", b"caf\xe9.txt"),
        (b"retrieve", b"\xff\xfe"),
        (b"train", b"--recipe", b"caf\xe9"),
        (b"train", b"--set", b"prepare.caption=\xe9"),
        (b"-C", b"caf\xe9", b"status"),
        (b"evaluate", b"--gate", b"\xe9>=1"),
        (b"sample-catalog", b"\xe9"),
    ],
    ids=lambda arguments: ascii(b" ".join(arguments)),
)
def test_bytes_that_are_no_text_are_refused(tmp_path, arguments):
    code, out, err = run(tmp_path, *arguments)
    assert code == 2 and "bytes that are no UTF-8" in err and "Traceback" not in err
    assert out == "" and not list(tmp_path.iterdir())


def test_a_folder_of_such_a_name_can_be_read(tmp_path):
    (tmp_path / os.fsdecode(b"caf\xe9")).mkdir()
    code, _, err = run(tmp_path, b"prepare", b"caf\xe9")
    assert code == 1 and "holds no images" in err and "Traceback" not in err


# ---------------------------------------------------------------- numbers


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("generate dress --steps 1001", "'--steps': Input should be less than or equal to 1000"),
        ("generate dress --steps 99999999999999999999", "less than or equal to 1000"),
        ("prepare empty --set generate.steps=1001", "less than or equal to 1000"),
        ("generate dress -n 99999999999", "less than or equal to 10000"),
        ("generate dress --best-of 99999999999", "less than or equal to 10000"),
        ("generate dress --guidance 1e999", "finite"),
        ("generate dress --seed 1e3", "seed"),
        ("train --set train.steps=1e400", "train.steps"),
        ("train --set train.steps=99999999999999999999999", "train.steps"),
        ("train --set train.seed=99999999999999999999999", "train.seed"),
        ("evaluate --alphas 0.5,nan", "--alphas"),
        ("evaluate --alphas 1e400", "--alphas"),
        ("ablate --recipes joint --seeds 99999999999999999999", "Give numbers of 0 to"),
        ("ablate --recipes joint --steps 99999999999999999999", "train.steps"),
    ],
)
def test_a_number_out_of_range_is_refused_with_its_range(
    unidiff,  # noqa: F811
    workplace,  # noqa: F811
    line,
    text,
):
    code, out, err = unidiff("-C", "project", *line.split())
    assert (code, out) == (2, ""), err
    assert words(text) in words(err) and "Traceback" not in err


def test_a_schedule_of_fewer_steps_says_how_many_it_has(tmp_path):
    class Base:
        schedule = range(50)

    with pytest.raises(UsageError, match="generate.steps is 51.*Take 1 to 50"):
        next(generate_images(Base(), ["dress"], [0], steps=51, guidance=1.0))


# ---------------------------------------------------------------- generate --from

RECORD = {
    "prompt": "dress",
    "seed": 1,
    "steps": 2,
    "guidance": 2.0,
    "negative": "",
    "export": "001",
    "weights_hash": "x",
    "size": 32,
    "scheduler": "DDIMScheduler",
}
ODD = [
    {"seed": "7"},
    {"seed": 1.5},
    {"seed": 2**63},
    {"seed": -1},
    {"seed": True},
    {"seed": None},
    {"prompt": ["dress"]},
    {"prompt": None},
    {"prompt": {}},
    {"prompt": 3},
    {"prompt": "\ud800"},
    {"negative": None},
    {"negative": ["x"]},
    {"steps": 1001},
    {"steps": "2"},
    {"steps": 2.5},
    {"steps": 0},
    {"guidance": "2"},
    {"guidance": -1},
    {"guidance": float("nan")},
    {"guidance": float("inf")},
    {"export": 3},
    {"export": None},
    {"size": "large"},
    {"score": "high"},
    {"stranger": 1},
]


def png(folder: Path, text: str) -> Path:
    chunks = PngInfo()
    chunks.add_text(KEY, text)
    file = folder / "odd.png"
    Image.new("RGB", (8, 8)).save(file, pnginfo=chunks)
    return file


@pytest.mark.parametrize("values", ODD, ids=ascii)
def test_an_image_of_odd_parameters_is_refused(tmp_path, values):
    with pytest.raises(UsageError, match="does not hold how it was generated"):
        read_record(png(tmp_path, json.dumps(RECORD | values)))


@pytest.mark.parametrize(
    "text", ["", "[]", "null", "3", "{}", '"text"', "[" * 100_000, '{"seed": 1e999}', "\x00"]
)
def test_an_image_of_another_record_is_refused(tmp_path, text):
    with pytest.raises(UsageError, match="does not hold how it was generated"):
        read_record(png(tmp_path, text))


def test_an_image_of_our_own_is_read_back(tmp_path):
    record = GenerationRecord(**RECORD)
    write_image(tmp_path / "own.png", Image.new("RGB", (8, 8)), record)
    assert read_record(tmp_path / "own.png") == record


@pytest.mark.parametrize("values", [{"seed": "7"}, {"prompt": None}, {"steps": 1001}], ids=ascii)
def test_the_command_says_so(unidiff, workplace, values):  # noqa: F811
    file = png(workplace, json.dumps(RECORD | values))
    code, out, err = unidiff("-C", "project", "generate", "--from", file)
    assert (code, out) == (2, "") and "does not hold how it was generated" in err
