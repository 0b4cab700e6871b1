"""A thousand damages of shards: each is noticed, and costs the samples that it hits and no other.

The same files go through plain webdataset, to see what it would give to a training.
"""

import random
from collections import Counter

import pytest

from tests.support.catalogue import write_photos
from tests.support.damage import DAMAGE, damage
from tests.support.preparing import run
from unidiff_cli.data.shard_check import verify
from unidiff_cli.data.shards import Shards
from unidiff_cli.data.streaming import read_span
from unidiff_cli.errors import Damaged
from unidiff_cli.project.project import Project


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Shards of 20 samples of 120."""
    place = tmp_path_factory.mktemp("shards")
    run(place, write_photos(place / "shop", 120), shard_size=20)
    return Project(place / "project").path("shards")


def members(row):
    return ((row.image_offset, row.image_size), (row.json_offset, row.json_size))


def ending(row):
    return row.path.rpartition(".")[2]


def read(call, *arguments):
    try:
        return call(*arguments)
    except Damaged:
        return None


def by_webdataset(file, original):
    """What plain webdataset makes of a damaged tar: `silent` where it gives less than the
    `original` samples, or other bytes, without a word."""
    import webdataset

    try:
        given = {
            sample["__key__"]: {k: v for k, v in sample.items() if not k.startswith("__")}
            for sample in webdataset.WebDataset(str(file), shardshuffle=False)
        }
    # Whatever it raises is noticed.
    except Exception:
        return "raises"
    return "the same" if given == original else "silent"


def check(folder, file, before, original):
    """That the samples of a damaged shard which are hit are named and refused, the others given."""
    now, shards = file.read_bytes(), Shards.open(folder)
    rows = shards.rows().where("shard", file.name)
    hit = {
        row.key
        for row in rows
        if any(now[at : at + size] != before[at : at + size] for at, size in members(row))
    }
    # One that no sample is hit by is named too.
    assert {damage.sample for damage in verify(shards)} == (hit or {""})
    for row in rows:
        image, text = read(shards.image_bytes, row), read(shards.json_bytes, row)
        whole = original[row.key]
        assert (image is None or text is None) == (row.key in hit)
        assert image in (None, whole[ending(row)]) and text in (None, whole["json"])
    streamed = read(read_span, shards, rows)
    if streamed is not None:
        assert not hit and streamed == [original[row.key][ending(row)] for row in rows]


@pytest.mark.parametrize("count", [40, pytest.param(1000, marks=pytest.mark.slow)])
def test_every_damage_is_noticed_and_every_whole_sample_is_given(folder, count):
    noise, plain, shards = random.Random(count), Counter(), Shards.open(folder)
    files = sorted(folder.glob("*.tar"))
    original = {
        file: {
            row.key: {ending(row): shards.image_bytes(row), "json": shards.json_bytes(row)}
            for row in shards.rows().where("shard", file.name)
        }
        for file in files
    }
    assert {by_webdataset(file, samples) for file, samples in original.items()} == {"the same"}
    for number in range(count):
        file, kind = noise.choice(files), DAMAGE[number % len(DAMAGE)]
        before = file.read_bytes()
        now = damage(before, kind, noise.randrange(len(before)), noise.randrange(1, 9999))
        if now == before:
            # A hole in zeros.
            continue
        file.write_bytes(now)
        try:
            check(folder, file, before, original[file])
            plain[by_webdataset(file, original[file])] += 1
        finally:
            file.write_bytes(before)
    print(dict(plain))
    assert verify(Shards.open(folder)) == []
    # What our checks are for: so much would be trained on in silence.
    assert plain["silent"] > count / 10
