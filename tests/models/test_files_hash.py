"""The hash of a base's files: whatever decides what the base makes changes it."""

import shutil

import pytest

from unidiff_cli.models import sources

PARTS = (
    "scheduler/scheduler_config.json",
    "tokenizer/tokenizer_config.json",
    "clip/preprocessor_config.json",
)


@pytest.fixture
def base(tmp_path, tiny_base):
    return shutil.copytree(tiny_base, tmp_path / "base")


def test_a_copy_has_the_same_hash(base, tiny_base):
    assert sources.files_hash(str(base)) == sources.files_hash(str(tiny_base))


def test_a_base_by_its_two_parts_has_the_same_hash(base):
    parts = {"diffusion": str(base), "clip": str(base / "clip")}
    assert sources.files_hash(parts) == sources.files_hash(str(base))


def test_the_choice_of_a_text_tower_changes_it(base):
    parts = {"diffusion": str(base), "clip": str(base / "clip")}
    hashes = {sources.files_hash(parts | {"text": tower}) for tower in ("clip", "diffusion")}
    assert len(hashes | {sources.files_hash(parts)}) == 3


@pytest.mark.parametrize("part", PARTS)
def test_every_file_changes_it(base, part):
    before = sources.files_hash(str(base))
    (base / part).write_text((base / part).read_text() + " ")
    assert sources.files_hash(str(base)) != before
