"""Prepare again: only what is new or changed is done, and any history gives equal bytes."""

import hashlib
import json
import os
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.catalogue import bounds, encoded, photo, write_photos
from tests.support.preparing import bytes_of, inodes, is_whole, run
from unidiff_cli.config.prepare import Prepare
from unidiff_cli.config.schema import Recipe
from unidiff_cli.data import decode, kept_images, shard_units
from unidiff_cli.data.duplicates import numbered
from unidiff_cli.data.images import prepare_image
from unidiff_cli.data.kept_images import KeptImages
from unidiff_cli.data.location import InMemory
from unidiff_cli.data.placement import sample_keys, shard_count, shard_numbers
from unidiff_cli.data.prepare import prepare
from unidiff_cli.data.shards import Shards
from unidiff_cli.project.project import Project

PACKS = ("cache", "images")


@pytest.fixture
def decoded(monkeypatch) -> Counter:
    """How often the image of each name was decoded."""
    counts: Counter = Counter()
    before = decode.prepare_image

    def counted(source, **options):
        counts[source.name] += 1
        return before(source, **options)

    monkeypatch.setattr(decode, "prepare_image", counted)
    return counts


def change_row(source: Path, number: int, **cells) -> None:
    """Changes the cells of a row of `write_photos`' table; without any it is removed."""
    table = source / "captions.jsonl"
    lines = table.read_text().splitlines()
    if cells:
        lines[number] = json.dumps(json.loads(lines[number]) | cells)
    else:
        del lines[number]
    table.write_text("\n".join(lines) + "\n")


# ---------------------------------------------------------------- where a sample lies


def keys_of(noise: random.Random, count: int) -> np.ndarray:
    """Keys of so many images."""
    return sample_keys(np.array([noise.randbytes(16) for _ in range(count)], "S16"))


def names(keys: np.ndarray) -> list[str]:
    return [key.tobytes().hex() for key in keys]


def numbers(keys: np.ndarray, shards: int) -> list[int]:
    return shard_numbers(keys, shards).tolist()


@settings(deadline=None)
@given(st.integers(1, 400), st.integers(1, 30), st.randoms())
def test_one_more_sample_touches_two_shards_at_most(count, size, noise):
    keys = keys_of(noise, count + 1)
    before, after = (
        dict(zip(names(keys[:n]), numbers(keys[:n], shard_count(n, size)), strict=True))
        for n in (count, count + 1)
    )
    assert set(after.values()) <= set(range(shard_count(count + 1, size)))
    changed = {after[key] for key in after if before.get(key) != after[key]}
    changed |= {before[key] for key in before if before[key] != after[key]}
    # The new sample's own, and where the number of shards grew one that is divided.
    assert len(changed) <= 3
    moved = [key for key in before if before[key] != after[key]]
    assert len({before[key] for key in moved}) <= 1 and len({after[key] for key in moved}) <= 1


def test_shards_are_of_like_size():
    noise = random.Random(0)
    sizes = Counter(numbers(keys_of(noise, 20_000), 20))
    assert len(sizes) == 20 and 450 < min(sizes.values()) and max(sizes.values()) < 1400


def test_equal_images_have_keys_of_their_own():
    whole = ["ab" * 32] * 3 + ["cd" * 32]
    contents = np.array([bytes.fromhex(content)[:16] for content in whole])
    keys = names(sample_keys(numbered(contents, whole.__getitem__)))
    assert len(set(keys)) == 4 and keys[0] == "ab" * 10 and keys[3] == "cd" * 10
    assert keys[1:3] == [
        hashlib.sha256(f"{whole[0]} {number}".encode()).hexdigest()[:20] for number in (1, 2)
    ]


# ---------------------------------------------------------------- what is done again


def test_a_changed_caption_touches_one_shard_and_decodes_nothing(tmp_path, decoded):
    source = write_photos(tmp_path / "shop", 60)
    _, folder = run(tmp_path, source, shard_size=5)
    before, first = inodes(folder), dict(decoded)
    change_row(source, 7, caption="another caption")
    run(tmp_path, source, shard_size=5)
    after = inodes(folder)
    assert decoded == first and set(after) == set(before)
    assert sum(after[name] != before[name] for name in before) == 1
    assert is_whole(folder)
    assert "another caption" in {row.captions[0] for row in Shards.open(folder).rows()}


def test_new_and_removed_rows_leave_most_shards_as_they_are(tmp_path, decoded):
    source = write_photos(tmp_path / "shop", 60)
    lines = (source / "captions.jsonl").read_text().splitlines()
    (source / "captions.jsonl").write_text("\n".join(lines[:-1]) + "\n")
    _, folder = run(tmp_path, source, shard_size=5, yes=True)
    before = inodes(folder)
    decoded.clear()
    # The last one comes, and the third goes: each later row has another number.
    (source / "captions.jsonl").write_text("\n".join(lines[:2] + lines[3:]) + "\n")
    run(tmp_path, source, shard_size=5, yes=True)
    after = inodes(folder)
    assert decoded == {"59.jpg": 1}
    same = sum(after.get(name) == inode for name, inode in before.items())
    # Two shards hold them; a group or two may change its split.
    assert same >= len(before) - 6
    assert is_whole(folder)


def test_any_history_gives_equal_bytes(tmp_path):
    source = write_photos(tmp_path / "shop", 40)
    run(tmp_path, source, shard_size=7)
    for number, cells in ((3, {"caption": "new"}), (11, {}), (25, {"caption": "again"})):
        change_row(source, number, **cells)
        run(tmp_path, source, shard_size=7, yes=True)
    (source / "images" / "9.jpg").write_bytes((source / "images" / "12.jpg").read_bytes())
    _, grown = run(tmp_path, source, shard_size=7, yes=True)
    _, fresh = run(tmp_path, source, shard_size=7, yes=True, project="fresh")
    assert bytes_of(grown) == bytes_of(fresh) and is_whole(grown)


def test_a_check_decodes_for_prepare(tmp_path, decoded):
    source = write_photos(tmp_path / "shop", 30)
    project, recipe = Project(tmp_path / "project"), Recipe(prepare=Prepare(workers=1))
    prepare(project, recipe, source, check=True)
    assert decoded.total() == 30
    prepare(project, recipe, source)
    assert decoded.total() == 30 and is_whole(project.path("shards"))
    prepare(project, recipe, source, force=True)
    assert decoded.total() == 60


def test_another_size_decodes_anew(tmp_path, decoded):
    source = write_photos(tmp_path / "shop", 30)
    run(tmp_path, source)
    _, folder = run(tmp_path, source, max_side=32)
    assert decoded.total() == 60
    assert max(max(row.width, row.height) for row in Shards.open(folder).rows()) == 32


def test_images_are_found_by_every_key(tmp_path):
    keys = [bytes([n, *bytes(14), last]) for n in range(4) for last in (0, 1, 255)]
    with KeptImages(tmp_path, "options") as kept:
        for n, key in enumerate(keys):
            image = prepare_image(InMemory("", encoded(photo(n))), 64, bounds())
            kept.put(key, image)
    again = KeptImages(tmp_path, "options")
    for n, key in enumerate(keys):
        image, place = again.find(key)
        data = encoded(photo(n))
        assert again.read(place, image.content) == data
        assert image == replace(prepare_image(InMemory("", data), 64, bounds()), data=b"")
    assert again.find(bytes(15) + b"\2") is None and again.find(None) is None


# ---------------------------------------------------------------- stopped


def test_a_stopped_prepare_goes_on_where_it_was(tmp_path, monkeypatch, decoded):
    monkeypatch.setattr(kept_images, "PACK_IMAGES", 8)
    source, counted = write_photos(tmp_path / "shop", 40), decode.prepare_image

    def stop(place, **options):
        if decoded.total() == 21:
            raise KeyboardInterrupt
        return counted(place, **options)

    monkeypatch.setattr(decode, "prepare_image", stop)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, source)
    assert not (tmp_path / "project" / "shards").exists()
    monkeypatch.setattr(decode, "prepare_image", counted)
    _, folder = run(tmp_path, source)
    assert set(decoded.values()) == {1} and decoded.total() == 40
    _, fresh = run(tmp_path, source, project="fresh")
    assert bytes_of(folder) == bytes_of(fresh)
    # Nothing is kept twice.
    assert not list((tmp_path / "project").joinpath(*PACKS).glob("*.bin"))


def test_a_kill_costs_the_pack_that_was_being_filled(tmp_path, monkeypatch, decoded):
    monkeypatch.setattr(kept_images, "PACK_IMAGES", 8)
    source, counted = write_photos(tmp_path / "shop", 40), decode.prepare_image

    def stop(place, **options):
        if decoded.total() == 21:
            raise KeyboardInterrupt
        return counted(place, **options)

    with monkeypatch.context() as patch:
        patch.setattr(decode, "prepare_image", stop)
        # Nothing is done any more.
        patch.setattr(KeptImages, "__exit__", lambda *_: None)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, source)
    packs = (tmp_path / "project").joinpath(*PACKS)
    assert len(list(packs.glob(".pack-*.new"))) == 1
    _, folder = run(tmp_path, source)
    # Two packs of eight were whole, and five images were not in one yet.
    assert decoded.total() == 40 + 5 and is_whole(folder)
    assert not list(packs.glob(".*"))


def test_shards_that_were_written_are_not_written_again(tmp_path, monkeypatch, decoded):
    source, before = write_photos(tmp_path / "shop", 40), shard_units.write_shard
    written: list[str] = []

    def stop(file, name, samples):
        if len(written) == 3 and name not in written:
            raise KeyboardInterrupt
        written.append(name)
        return before(file, name, samples)

    monkeypatch.setattr(shard_units, "write_shard", stop)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, source, shard_size=5)
    monkeypatch.setattr(
        shard_units, "write_shard", lambda *given: written.append(given[1]) or before(*given)
    )
    _, folder = run(tmp_path, source, shard_size=5)
    assert sorted(written) == sorted(inodes(folder)) and decoded.total() == 40
    assert is_whole(folder) and not list((tmp_path / "project" / "cache").rglob("*.tar"))


def test_what_is_kept_for_finished_shards_is_let_go_of(tmp_path, monkeypatch):
    source, packs = write_photos(tmp_path / "shop", 10), (tmp_path / "project").joinpath(*PACKS)
    with monkeypatch.context() as patch:
        patch.setattr(KeptImages, "release", lambda kept: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run(tmp_path, source)
    assert list(packs.glob("*.bin"))
    receipt, folder = run(tmp_path, source)
    assert not list(packs.glob("*.bin")) and is_whole(folder)
    assert not (tmp_path / "project" / "cache" / "unfinished-shards").exists()


# ---------------------------------------------------------------- damage


@pytest.mark.parametrize("ending", ["bin", "arrow"])
@pytest.mark.parametrize("kind", ["flip", "cut", "gone"])
def test_damaged_packs_cost_a_decoding_and_nothing_else(tmp_path, decoded, ending, kind):
    source = write_photos(tmp_path / "shop", 20)
    project, recipe = Project(tmp_path / "project"), Recipe(prepare=Prepare(workers=1))
    prepare(project, recipe, source, check=True)
    (file,) = project.path(*PACKS).glob(f"*.{ending}")
    data = bytearray(file.read_bytes())
    if kind == "gone":
        file.unlink()
    else:
        data[len(data) // 2] ^= 1
        file.write_bytes(data if kind == "flip" else data[:-9])
    prepare(project, recipe, source)
    assert decoded.total() == 40
    _, fresh = run(tmp_path, source, project="fresh")
    assert bytes_of(project.path("shards")) == bytes_of(fresh)


def test_a_damaged_image_of_the_shards_is_decoded_anew(tmp_path, decoded):
    source = write_photos(tmp_path / "shop", 20)
    _, folder = run(tmp_path, source, shard_size=100)
    row = next(row for row in Shards.open(folder).rows("train") if row.path != "images/3.jpg")
    with open(folder / row.shard, "r+b") as stream:
        stream.seek(row.image_offset + 40)
        stream.write(b"\xff\x00\xff")
    change_row(source, 3, caption="so that its shard is written again")
    decoded.clear()
    run(tmp_path, source, shard_size=100)
    assert decoded == {os.path.basename(row.path): 1} and is_whole(folder)
