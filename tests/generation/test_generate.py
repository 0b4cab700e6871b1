"""The stage: folders of images that say how to generate them again."""

import json
import logging

import numpy as np
import pytest
from PIL import Image

from tests.support.projects import copy_project
from unidiff_cli import generate
from unidiff_cli.config.schema import Generate
from unidiff_cli.data.captions import read_prompts
from unidiff_cli.errors import UsageError
from unidiff_cli.generation.generate import regenerate
from unidiff_cli.generation.record import read_record
from unidiff_cli.models.encoders import load_encoder
from unidiff_cli.project.receipt import Receipt


@pytest.fixture
def project(finished, tmp_path):
    return copy_project(finished, tmp_path)


def pixels(file):
    return np.asarray(Image.open(file)).astype(int)


def test_image_i_has_the_seed_plus_i(project):
    [four] = generate(project, ["red dress"], count=4, seed=3)
    [one] = generate(project, ["red dress"], count=1, seed=5)
    assert abs(pixels(four / "2.png") - pixels(one / "0.png")).max() <= 1
    assert abs(pixels(four / "2.png") - pixels(four / "1.png")).max() > 1


def test_a_long_prompt_says_which_words_are_not_read(project, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("unidiff"), "propagate", True)
    generate(project, ["red " * 22 + "dress", "red dress"], Generate(steps=1), count=1)
    (line,) = [record.message for record in caplog.records if record.name == "unidiff"]
    assert line.startswith("The prompt has") and line.endswith("are not read: dress")


def test_each_prompt_gets_a_folder_with_its_images_and_a_sheet(project):
    folders = generate(project, ["red dress", "blue hat"], count=1)
    assert [folder.name for folder in folders] == ["0001-red-dress", "0002-blue-hat"]
    for folder in folders:
        assert sorted(file.name for file in folder.iterdir()) == [
            "0.png",
            "prompt.json",
            "sheet.png",
        ]


def test_a_png_and_prompt_json_hold_what_the_image_depends_on(project):
    options = Generate(steps=2, guidance=3.5)
    [folder] = generate(project, ["blue hat"], options, count=2, seed=9, negative="red")
    record = read_record(folder / "1.png")
    assert (record.prompt, record.seed, record.negative) == ("blue hat", 10, "red")
    assert (record.steps, record.guidance) == (2, 3.5)
    assert record.weights_hash == Receipt.read(project.export()).figures["weights_hash"]
    listed = json.loads((folder / "prompt.json").read_text())
    assert listed["prompt"] == "blue hat" and listed["images"][1] == record.plain()


def test_a_png_is_generated_again_bit_for_bit(project):
    options = Generate(steps=2, guidance=3.5)
    [folder] = generate(project, ["blue hat"], options, count=2, seed=9, negative="red")
    again, same_weights = regenerate(project, folder / "1.png")
    assert same_weights
    assert np.array_equal(pixels(again / "0.png"), pixels(folder / "1.png"))


def test_best_of_keeps_the_nearest_to_the_prompt_by_the_exports_own_clip(project):
    [folder] = generate(project, ["red dress"], count=2, best_of=5, seed=0)
    [candidates] = generate(project, ["red dress"], count=5, seed=0)
    encoder = load_encoder(project, project.export())
    text = encoder.embed_captions(["red dress"])[0]
    images = [Image.open(candidates / f"{seed}.png") for seed in range(5)]
    cosines = encoder.embed_images(images) @ text
    seeds = [read_record(folder / f"{i}.png").seed for i in range(2)]
    assert seeds == sorted(range(5), key=lambda seed: -cosines[seed])[:2]


def test_a_best_of_below_the_count_is_refused(finished):
    with pytest.raises(UsageError, match="--best-of 1 is fewer"):
        generate(finished, ["x"], count=2, best_of=1)


def test_an_empty_prompt_is_refused(finished):
    with pytest.raises(UsageError, match="1 of 2 prompts are empty"):
        generate(finished, ["x", " "])


def test_prompts_come_from_a_file(tmp_path):
    (tmp_path / "p.txt").write_text("# mine\nred dress\n\nblue hat\n")
    assert read_prompts(tmp_path / "p.txt") == ["red dress", "blue hat"]


@pytest.mark.parametrize("data", [b"a\n\nrobe d'\xe9t\xe9\n", b"a\nb\n\xff", b"\xff\xfea\0"])
def test_prompts_that_are_no_utf_8_are_refused_with_their_line(tmp_path, data):
    (tmp_path / "p.txt").write_bytes(data)
    line = data[: data.index(0xE9 if 0xE9 in data else 0xFF)].count(b"\n") + 1
    with pytest.raises(UsageError, match=f"p.txt cannot be read as text: line {line} is not UTF-8"):
        read_prompts(tmp_path / "p.txt")


def test_an_image_that_is_not_there_or_not_ours_is_refused(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "foreign.png")
    with pytest.raises(UsageError, match="does not hold how it was generated"):
        read_record(tmp_path / "foreign.png")
    with pytest.raises(UsageError, match="There is no image"):
        read_record(tmp_path / "gone.png")
