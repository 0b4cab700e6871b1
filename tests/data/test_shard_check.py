"""Shards are checked sample by sample, and what is damaged is made again, nothing else."""

import random
from pathlib import Path

import pytest

from tests.support.catalogue import write_photos
from tests.support.damage import DAMAGE, damage
from tests.support.preparing import bytes_of, inodes, is_whole, run
from unidiff_cli.data.index_file import INDEX
from unidiff_cli.data.prepare import repair
from unidiff_cli.data.shard_check import verify
from unidiff_cli.data.shards import Shards
from unidiff_cli.errors import WorkError
from unidiff_cli.project.project import Project

SIZE = 5


@pytest.fixture
def prepared(tmp_path) -> tuple[Project, Path]:
    """A project of 40 images in shards of five, and its catalogue."""
    source = write_photos(tmp_path / "shop", 40)
    run(tmp_path, source, shard_size=SIZE)
    return Project(tmp_path / "project"), source


def test_whole_shards_have_no_damage(prepared):
    project, _ = prepared
    before = inodes(project.path("shards"))
    assert verify(Shards.open(project.path("shards"))) == []
    assert repair(project) == [] and inodes(project.path("shards")) == before


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_named_and_made_again(prepared, kind):
    project, _ = prepared
    folder, noise = project.path("shards"), random.Random(kind)
    before, files = bytes_of(folder), sorted(folder.glob("*.tar"))
    hit = noise.sample(files, 2)
    for file in hit:
        data = file.read_bytes()
        file.write_bytes(damage(data, kind, noise.randrange(len(data)), noise.randrange(1, 99)))
    changed = {file.name for file in hit if file.read_bytes() != before[file.name]}
    kept = {name: inode for name, inode in inodes(folder).items() if name not in changed}
    damages = verify(Shards.open(folder))
    assert {d.shard for d in damages} == changed
    rows = {row.key: row.shard for row in Shards.open(folder).rows()}
    assert all(rows[d.sample] == d.shard for d in damages if d.sample)
    assert repair(project) == damages
    assert bytes_of(folder) == before and is_whole(folder)
    after = inodes(folder)
    assert {name: after[name] for name in kept} == kept


def test_a_missing_shard_and_a_damaged_index_are_made_again(prepared):
    project, _ = prepared
    folder = project.path("shards")
    before = bytes_of(folder)
    (folder / "train-00000.tar").unlink()
    assert {d.shard for d in repair(project)} == {"train-00000.tar"}
    assert bytes_of(folder) == before
    (folder / INDEX).write_bytes(b"PAR1")
    (damage,) = repair(project)
    assert damage.shard == INDEX and bytes_of(folder) == before


def test_another_catalogue_is_not_taken_for_a_repair(prepared, tmp_path):
    project, source = prepared
    folder = project.path("shards")
    tar = folder / "train-00000.tar"
    tar.write_bytes(tar.read_bytes()[:-2000])
    with open(source / "captions.jsonl", "a", encoding="utf-8") as stream:
        stream.write('{"image": "images/3.jpg", "caption": "one more"}\n')
    before = bytes_of(folder)
    with pytest.raises(WorkError, match="catalogue is not as it was") as error:
        repair(project)
    assert "unidiff prepare CATALOGUE" in error.value.action and bytes_of(folder) == before
    # As it says.
    run(tmp_path, source, shard_size=SIZE, yes=True)
    assert is_whole(folder) and verify(Shards.open(folder)) == []
