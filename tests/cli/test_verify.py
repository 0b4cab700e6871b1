"""`unidiff verify`: what it reads, and what it says of damage."""

import json

import pytest

from tests.support.damage import damage
from tests.support.projects import copy_project


@pytest.fixture
def project(finished, tmp_path):
    return copy_project(finished, tmp_path)


def spoil(file):
    file.write_bytes(damage(file.read_bytes(), "flip", file.stat().st_size // 2, 1))


def test_a_whole_project_is_whole(unidiff, project):
    code, out, err = unidiff("-C", project.root, "verify")
    assert code == 0
    for folder in ("shards", "runs/001-fashion", "exports/001-fashion", "index"):
        assert folder in out
    assert "damaged" not in out


def test_damage_is_named_with_the_command_that_mends_it(unidiff, project):
    file = project.path("index", "clip", "embeddings.safetensors")
    spoil(file)
    code, out, err = unidiff("-C", project.root, "verify")
    assert code == 1
    assert str(file) in err and "unidiff index --force" in err


def test_one_folder_alone_and_as_json(unidiff, project):
    spoil(next(project.path("shards").glob("*.tar")))
    assert unidiff("-C", project.root, "verify", "index")[0] == 0
    code, out, err = unidiff("-C", project.root, "verify", "shards", "--json")
    [folder] = json.loads(out)["folders"]
    assert code == 1 and folder["folder"] == "shards" and len(folder["damage"]) == 1


def test_the_command_that_makes_an_export_again_is_its_own(unidiff, project):
    from unidiff_cli import export

    name, _ = export(project, alpha=0.5)
    spoil(project.path("exports", name, "clip", "model.safetensors"))
    code, out, err = unidiff("-C", project.root, "verify", "exports")
    again = "unidiff export 001-fashion --alpha-clip 0.5 --alpha-denoiser 0.5 --format diffusers"
    assert f"{again} --force" in err


def test_a_damaged_array_of_the_cache_is_named(unidiff, project):
    [array, *_] = sorted(project.path("cache").rglob("*.npy"))
    spoil(array)
    code, _, err = unidiff("-C", project.root, "verify", "cache")
    assert code == 1 and str(array) in err


def test_an_unknown_folder_is_a_usage_error(unidiff, project):
    code, out, err = unidiff("-C", project.root, "verify", "shard")
    assert code == 2 and "Did you mean 'shards'?" in err
