"""Numbers in names are numbers: a name that outgrows its width is still the newest."""

import json
import random

import pytest
import torch
from PIL import Image

from tests.support.commands import unidiff, workplace  # noqa: F401
from tests.support.folders import finish
from tests.support.images import generated_record
from unidiff_cli import Project
from unidiff_cli.generation import generate as generation
from unidiff_cli.generation.generator import GeneratedImage
from unidiff_cli.project import checkpoints
from unidiff_cli.project.numbered import by_number, next_number
from unidiff_cli.project.status import folders


@pytest.mark.parametrize(
    "names",
    [
        ["step-000500", "step-999500", "step-1000000", "step-1000500"],
        ["001-fashion", "999-joint", "1000-fashion", "1001-a"],
        ["001-fashion", "001-fashion-a0.25", "001-fashion-a0.5", "002-x"],
        ["0.png", "1.png", "2.png", "10.png", "100.png"],
        ["fold-2", "fold-10"],
        ["7", "007", "12"],
        ["a", "a1", "a2b", "a10b", "b"],
    ],
)
def test_names_are_in_the_order_of_their_numbers(names):
    shuffled = names.copy()
    random.Random(0).shuffle(shuffled)
    order = sorted(shuffled, key=by_number)
    assert order == sorted(names, key=lambda name: order.index(name))
    if names != ["7", "007", "12"]:
        assert order == names


@pytest.mark.parametrize(
    ("names", "following"),
    [([], 1), (["999-a"], 1000), (["1000-a", "999-b"], 1001), (["²²²²-a", "x", "009x"], 1)],
)
def test_the_next_number_is_one_more_than_the_largest(names, following):
    assert next_number(names) == following


def test_the_newest_checkpoint_is_the_one_of_the_largest_step(tmp_path):
    for step in (999_000, 999_500, 1_000_000, 10_000_000):
        name = f"step-{step:06d}"
        checkpoints.save(tmp_path, name, {"weights": {"a": torch.ones(1)}}, {"step": step})
    states = [state["step"] for _, state in checkpoints.latest(tmp_path)]
    assert states == [10_000_000, 1_000_000, 999_500, 999_000]
    checkpoints.prune(tmp_path, 2)
    kept = [path.name for path in checkpoints.committed(tmp_path)]
    assert kept == ["step-1000000", "step-10000000"]


def test_the_newest_run_is_the_one_of_the_largest_number(tmp_path):
    project = Project(tmp_path)
    for name in ("998-a", "999-b", "1000-c"):
        for step in ("step-999500", "step-1000000"):
            checkpoint = project.path("runs", name, "checkpoints", step)
            checkpoint.mkdir(parents=True)
            (checkpoint / checkpoints.STATE).touch()
    assert project.runs()[-1] == "1000-c" and project.next_run("d") == "1001-d"
    assert {row.contents for row in folders(project) if row.folder.startswith("runs/")} == {
        "last checkpoint step-1000000"
    }


def test_exports_are_listed_oldest_first(tmp_path):
    project = Project(tmp_path)
    for name in ("1000-a", "999-a", "999-a-a0.5"):
        finish(project, "exports", name)
    assert project.exports() == ["999-a", "999-a-a0.5", "1000-a"]


def test_outputs_are_numbered_on_past_their_width(tmp_path):
    project = Project(tmp_path)
    project.create()
    for name in ("9999-a", "²²²²-a", "note"):
        (project.folder("outputs") / name).mkdir()
    images = [GeneratedImage(Image.new("RGB", (8, 8)), generated_record(0))]
    written = [generation._write(project, prompt, images).name for prompt in ("red", "blue", "a b")]
    assert written == ["10000-red", "10001-blue", "10002-a-b"]


def test_images_are_listed_in_the_order_of_their_seeds(
    unidiff,  # noqa: F811
    workplace,  # noqa: F811
    monkeypatch,
):
    folder = workplace / "project" / "outputs" / "0001-dress"
    folder.mkdir(parents=True)
    for i in range(12):
        (folder / f"{i}.png").touch()
    again = (folder, True)
    monkeypatch.setattr(generation, "regenerate", lambda *_, **__: again)
    code, out, _ = unidiff("-C", "project", "generate", "--from", "foreign.png", "--json")
    names = [image.rpartition("/")[2] for image in json.loads(out)[0]["images"]]
    assert code == 0 and names == [f"{i}.png" for i in range(12)]
