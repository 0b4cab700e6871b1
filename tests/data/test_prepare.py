"""Prepare: images made ready, groups that do not leak, bad rows accounted for, and a room that is all or nothing."""

import errno
import io
import json
import os
import random
import re
import shutil
import struct
import subprocess
import sys
import zlib
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from unidiff_cli.config.schema import Prepare, Recipe
from unidiff_cli.data import decode, duplicates, executors, shards
from unidiff_cli.data import images as images_module
from unidiff_cli.data import splits as splits_module
from unidiff_cli.data.images import PreparedImage, prepare_image
from unidiff_cli.data.prepare import plan, prepare
from unidiff_cli.errors import EnvironmentProblem, UsageError, WorkError
from unidiff_cli.project.project import Project
from unidiff_cli.project.receipt import Receipt
from unidiff_cli.reports import html


def photo(seed: int, size=(48, 40)) -> Image.Image:
    """An image with structure of its own: coloured fields, enlarged softly."""
    noise = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC)


def encode(image: Image.Image, kind="JPEG", **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def decoded(image: PreparedImage | str) -> np.ndarray:
    assert isinstance(image, PreparedImage), image
    return np.asarray(Image.open(io.BytesIO(image.data))).astype(int)


def made(data: bytes, max_side=1024, max_pixels=10**6) -> PreparedImage:
    image = prepare_image(data, max_side, max_pixels)
    assert isinstance(image, PreparedImage), image
    return image


def catalogue(folder: Path, count=30, **columns) -> Path:
    """A table and images: three images a product."""
    (folder / "images").mkdir(parents=True)
    rows = []
    for n in range(count):
        (folder / "images" / f"{n}.jpg").write_bytes(encode(photo(n)))
        rows.append({"image": f"images/{n}.jpg", "caption": f"thing {n}", "product": f"p{n // 3}"})
        rows[-1] |= {name: value(n) for name, value in columns.items()}
    (folder / "captions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def run(
    tmp_path: Path, source: Path, force=False, project="project", **options
) -> tuple[Receipt, Path]:
    options = {"workers": 1, **options}
    where = Project(tmp_path / project)
    return prepare(where, Recipe(prepare=Prepare(**options)), source, force=force), where.path(
        "shards"
    )


def tree(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {
        str(p.relative_to(folder)): (p.read_bytes(), p.stat().st_mtime_ns)
        for p in folder.rglob("*")
        if p.is_file()
    }


# ---------------------------------------------------------------- images


def test_a_plain_jpeg_keeps_its_bytes_and_a_large_one_is_scaled():
    data = encode(photo(0, (200, 100)), quality=80)
    assert made(data).data == data and made(data).changes == frozenset()
    small = made(data, max_side=64)
    assert (small.width, small.height) == (64, 32) == Image.open(io.BytesIO(small.data)).size
    assert small.changes == {"resized", "reencoded"}
    wanted = np.asarray(photo(0, (200, 100)).resize((64, 32), Image.Resampling.LANCZOS)).astype(int)
    assert np.abs(decoded(small) - wanted).mean() < 3
    huge = made(
        encode(photo(0, (1600, 800)), quality=95), 100, 10**7
    )  # decoded at a fraction of its size
    wanted = np.asarray(photo(0, (1600, 800)).resize((100, 50), Image.Resampling.LANCZOS)).astype(
        int
    )
    assert np.abs(decoded(huge) - wanted).mean() < 3
    assert (
        made(encode(photo(0, (300, 1))), 100).width,
        made(encode(photo(0, (300, 1))), 100).height,
    ) == (
        100,
        1,
    )


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_exif_orientation_is_applied_once(orientation, kind):
    upright = photo(1, (48, 32))
    back = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}[
        orientation
    ]  # Transpose that undoes the turn
    stored = upright if back is None else upright.transpose(Image.Transpose(back))
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"JPEG": {"subsampling": 0, "quality": 95}, "WEBP": {"lossless": True}, "PNG": {}}[
        kind
    ]
    image = made(encode(stored, kind, exif=exif, **options))
    assert np.abs(decoded(image) - np.asarray(upright).astype(int)).mean() < 4
    assert ("rotated" in image.changes) == (orientation != 1)
    assert Image.open(io.BytesIO(image.data)).getexif().get(0x0112, 1) == 1
    assert made(image.data).data == image.data


def test_broken_exif_costs_nothing():
    data = encode(photo(1), exif=b"Exif\0\0II*\0\xff\xff\xff\xff garbage")
    assert made(data).data == data


def _alpha(mode):
    image = photo(2).convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    return image.convert(mode) if mode != "P" else image.quantize(64)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_is_put_on_white(mode):
    image = _alpha(mode)
    white = Image.new("RGBA", image.size, "white")
    wanted = np.asarray(Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")).astype(
        int
    )
    image = made(encode(image, "PNG"))
    assert "alpha" in image.changes
    assert np.abs(decoded(image) - wanted).mean() < 3
    clear = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    assert decoded(made(encode(clear, "PNG"))).min() == 255


def test_opaque_alpha_and_key_colours():
    assert "alpha" not in made(encode(photo(2).convert("RGBA"), "PNG")).changes
    grey = Image.new("L", (8, 8), 7)
    assert decoded(made(encode(grey, "PNG", transparency=7))).min() == 255


def test_sixteen_bits_grey_cmyk_palette_and_one_bit():
    ramp = np.linspace(0, 65535, 64 * 32).reshape(32, 64)
    wide = Image.fromarray(ramp.astype(np.uint16))
    for kind in ("PNG", "TIFF"):
        assert np.abs(decoded(made(encode(wide, kind)))[..., 0] - ramp / 257).max() < 4
    floats = Image.fromarray((ramp / 65535).astype(np.float32))
    assert np.abs(decoded(made(encode(floats, "TIFF")))[..., 0] - ramp / 257).max() < 4
    for mode, kind in (
        ("L", "JPEG"),
        ("CMYK", "JPEG"),
        ("CMYK", "TIFF"),
        ("P", "GIF"),
        ("P", "PNG"),
        ("1", "PNG"),
        ("RGB", "BMP"),
    ):
        image = photo(3).convert(mode)
        image = made(encode(image, kind))
        assert Image.open(io.BytesIO(image.data)).mode == "RGB"
        assert np.abs(decoded(image) - np.asarray(image.convert("RGB")).astype(int)).mean() < 14, (
            mode,
            kind,
        )


def test_the_first_frame_of_an_animation():
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    for kind in ("GIF", "WEBP", "PNG"):
        image = made(
            encode(frames[0], kind, save_all=True, append_images=frames[1:], lossless=True)
        )
        assert np.abs(decoded(image) - (255, 0, 0)).max() < 6


def test_profiles_are_turned_to_srgb_and_srgb_is_left():
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    data = encode(photo(4), icc_profile=srgb)
    assert made(data).data == data
    swapped = ImageCms.ImageCmsProfile(
        ImageCms.createProfile("LAB")
    ).tobytes()  # a profile that cannot fit RGB
    assert "profile" not in made(encode(photo(4), icc_profile=swapped)).changes
    assert "profile" not in made(encode(photo(4), icc_profile=b"no profile")).changes


@pytest.mark.parametrize(
    "data, said",
    [
        (b"", "empty file"),
        (b"<!DOCTYPE html><html>404", "a web page"),
        (b"8BPS\0\1", "a Photoshop file"),
        (b"%PDF-1.7", "a PDF"),
        (b"just words", "text, not an image"),
        (b"\x00\x00\x00\x18ftypheic\x00\x00", "HEIC"),
        (bytes(range(128, 256)), "not an image of a format"),
        (encode(photo(0))[:-200], "truncated"),
        (encode(photo(0, (400, 400)), "PNG")[:900], "truncated"),
        (encode(photo(0), "ICO"), "an icon file"),
        (encode(photo(0), "TGA"), "not an image of a format"),
        (encode(Image.new("1", (1200, 1000)), "PNG"), "pixels"),
        (encode(Image.new("1", (3000, 1000)), "PNG"), "pixels"),
    ],
)
def test_what_is_no_image_says_what_it_is(data, said):
    reason = prepare_image(data, 64, 10**6)
    assert isinstance(reason, str) and said in reason, reason


def test_a_bomb_is_refused_undecoded():
    def chunk(kind, body):
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    head = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    bomb = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(bytes(10)))
        + chunk(b"IEND", b"")
    )
    assert "pixels" in str(prepare_image(bomb, 64, 100_000_000))


def test_what_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    assert prepare_image(tmp_path / "pipe.jpg", 64, 10**6) == "not a file"
    assert prepare_image(tmp_path, 64, 10**6) == "not a file"
    assert prepare_image(tmp_path / "gone.jpg", 64, 10**6) == "no such file"
    assert "read" in str(prepare_image(tmp_path / ("x" * 300), 64, 10**6))


def test_no_damage_crashes():
    """2,000 damaged images of every format: each an image or a sentence."""
    noise = random.Random(0)
    seeds = [
        encode(photo(n, (40, 30)), kind)
        for n, kind in enumerate(("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"))
    ]
    seeds += [
        encode(photo(9).convert("CMYK")),
        encode(_alpha("P"), "PNG"),
        encode(photo(8), progressive=True),
    ]
    for n in range(2000):
        data = bytearray(seeds[n % len(seeds)])
        for _ in range(noise.choice((1, 3, 30))):
            data[noise.randrange(len(data))] = noise.randrange(256)
        result = prepare_image(
            bytes(data[: noise.choice((len(data), noise.randrange(len(data))))]), 64, 10**6
        )
        assert isinstance(result, PreparedImage) or (result and "\n" not in result)


# ---------------------------------------------------------------- fingerprints, groups, splits


def test_the_same_photo_saved_again_is_near_and_others_are_not():
    originals = [photo(n, (256, 200)) for n in range(40)]
    copies = [image.resize((128, 100), Image.Resampling.LANCZOS) for image in originals]
    solid = [Image.new("RGB", (64, 64), (n, n, n)) for n in range(0, 250, 25)]
    found = [
        made(encode(i, quality=q))
        for q, some in ((92, originals), (60, copies), (90, solid))
        for i in some
    ]
    hashes, colours = (
        np.array([np.frombuffer(getattr(p, name), np.uint8) for p in found])
        for name in ("phash", "colour")
    )
    flat = np.array([p.flat for p in found])
    assert flat.sum() == len(solid)
    assert set(duplicates.near(hashes, colours, flat, 10)) == {(n, n + 40) for n in range(40)}
    colours[40:80] = 255 - colours[40:80]  # the same shapes in other colours are other goods
    assert duplicates.near(hashes, colours, flat, 10) == []


def test_near_equals_the_plain_comparison_of_all_pairs():
    noise = np.random.default_rng(0)
    hashes = noise.integers(0, 256, (300, 32), dtype=np.uint8)
    for n in range(100, 200):  # copies with 0 to 14 bits changed
        bits = np.unpackbits(hashes[n - 100])
        bits[noise.choice(256, n % 15, replace=False)] ^= 1
        hashes[n] = np.packbits(bits)
    colours = np.zeros((300, 48), np.uint8)
    colours[150:160] = 200
    flat = np.zeros(300, bool)
    flat[160:165] = True
    wanted = set()
    for a in range(300):
        for b in range(a + 1, 300):
            apart = np.bitwise_count(hashes[a] ^ hashes[b]).sum()
            if (
                apart <= 10
                and not flat[a]
                and not flat[b]
                and abs(int(colours[a, 0]) - int(colours[b, 0])) <= duplicates.COLOUR
            ):
                wanted.add((a, b))
    assert set(duplicates.near(hashes, colours, flat, 10)) == wanted and len(wanted) > 40


def test_thousands_of_copies_take_no_time():
    hashes = np.zeros((5000, 32), np.uint8)
    assert (
        len(duplicates.near(hashes, np.zeros((5000, 48), np.uint8), np.zeros(5000, bool), 10))
        == 4999
    )


def test_groups_join_products_contents_and_pairs():
    products = ["a", None, "b", None, None, "c", ""]
    contents = ["1", "1", "2", "3", "2", "4", "5"]
    assert duplicates.join(products, contents, [(3, 4)]) == ["a", "a", "b", "b", "b", "c", "5"]


@given(
    st.lists(
        st.tuples(st.integers(0, 12), st.sampled_from([None, None, None, "train", "val", "test"])),
        min_size=1,
        max_size=60,
    ),
    st.sampled_from([(0.8, 0.1, 0.1), (1.0, 0.0, 0.0), (0.5, 0.25, 0.25)]),
    st.integers(0, 3),
)
@settings(max_examples=200, deadline=None)
def test_splits_honour_mappings_and_never_tear_a_group_themselves(rows, shares, seed):
    names = [f"g{n}" for n, _ in rows]
    mapped = [m for _, m in rows]
    split = splits_module.split(names, mapped, shares, seed)
    assert set(split) <= set(splits_module.SPLIT_NAMES)
    given_names = {m for m in mapped if m}
    for m, s in zip(mapped, split, strict=True):
        assert m in (None, s) or (m == "train" and s not in given_names)
    for group in set(names):
        own = {m for n, m in zip(names, mapped, strict=True) if n == group and m}
        assert (
            len(own) > 1 or len({s for n, s in zip(names, split, strict=True) if n == group}) == 1
        )
    if not any(mapped) and len(set(names)) >= 3 and shares[1]:
        assert set(split) == set(splits_module.SPLIT_NAMES)
    if shares[0] == 1 and not any(mapped):
        assert set(split) == {"train"}


def test_small_groups_are_shared_out():
    names = [
        "g0",
        "g1",
        "g1",
        "g1",
        "g1",
        "g2",
    ]  # both small ones fit into a test split of 1.5 images
    for seed in range(20):
        assert set(splits_module.split(names, [None] * 6, (0.5, 0.25, 0.25), seed)) == set(
            splits_module.SPLIT_NAMES
        )


def test_shares_are_met_and_growth_moves_little():
    noise = random.Random(0)
    names = [f"p{noise.randrange(300)}" for _ in range(1000)]
    before = splits_module.split(names, [None] * 1000, (0.8, 0.1, 0.1), 0)
    assert [
        abs(Counter(before)[n] - w) <= 5
        for n, w in zip(splits_module.SPLIT_NAMES, (800, 100, 100), strict=True)
    ] == [True] * 3
    grown = names + [f"new{noise.randrange(100)}" for _ in range(300)]
    after = splits_module.split(grown, [None] * 1300, (0.8, 0.1, 0.1), 0)
    old, new = dict(zip(names, before, strict=True)), dict(zip(grown, after, strict=True))
    assert sum(old[g] != new[g] for g in old) <= 0.05 * len(old)
    assert splits_module.split(names, [None] * 1000, (0.8, 0.1, 0.1), 1) != before


# ---------------------------------------------------------------- the stage


def test_a_catalogue_becomes_a_room(tmp_path):
    source = catalogue(tmp_path / "shop", 30, price=lambda n: n / 2)
    before = tree(source)
    calls = []
    project = Project(tmp_path / "project")
    receipt = prepare(
        project,
        Recipe(prepare=Prepare(workers=1, shard_size=10)),
        source,
        on_progress=lambda *c: calls.append(c),
    )
    room = project.path("shards")
    counts = receipt.counts
    assert (counts["rows"], counts["samples"], counts["bad"], counts["groups"]) == (30, 30, 0, 10)
    assert (counts["train"], counts["val"], counts["test"]) == (24, 3, 3)
    assert Receipt.read(room) == receipt and receipt.seconds > 0
    assert sorted(p.name for p in room.iterdir()) == [
        "index.parquet", "quarantine.jsonl", "receipt.json", "report.html",
        "test-00000.tar", "train-00000.tar", "train-00001.tar", "train-00002.tar", "val-00000.tar",
    ]  # fmt: skip
    assert shards.verify(room) == []
    opened = shards.Shards.open(room)
    assert opened.catalogue == source
    for number, row in enumerate(opened.rows()):
        assert (row.key, row.captions, row.path) == (
            f"{number:09d}",
            (f"thing {number}",),
            f"images/{number}.jpg",
        )
        assert opened.image_bytes(row) == (source / row.path).read_bytes()
        assert (
            row.attributes == {"product": f"p{number // 3}", "price": number / 2}
            and row.group == f"p{number // 3}"
        )
    assert calls[-2][0] == "shards" and ("images", 30, 30) in calls
    assert tree(source) == before, "the catalogue was touched"
    assert plan(Recipe(), source).startswith("captions.jsonl")


def test_no_group_leaks_between_splits(tmp_path):
    source = catalogue(tmp_path / "shop", 40)
    lines = (source / "captions.jsonl").read_text().splitlines()
    for n in range(
        10
    ):  # a product's photo again: the same bytes, smaller, and under another product's name
        (source / f"images/{n}.jpg").write_bytes(encode(photo(n, (160, 120))))
        shutil.copy(source / f"images/{n}.jpg", source / f"images/copy{n}.jpg")
        (source / f"images/small{n}.jpg").write_bytes(
            encode(photo(n, (160, 120)).resize((120, 90)), quality=85)
        )
        lines += [
            json.dumps({"image": f"images/{k}{n}.jpg", "caption": "x", "product": f"{k}{n}"})
            for k in ("copy", "small")
        ]
    (source / "captions.jsonl").write_text("\n".join(lines))
    receipt, room = run(tmp_path, source)
    assert receipt.counts["duplicates"] == 10 and receipt.counts["near_duplicates"] == 10
    assert receipt.counts["groups_in_several_splits"] == 0
    splits = {}
    for row in shards.Shards.open(room).rows():
        assert splits.setdefault(row.group, row.split) == row.split
        assert splits.setdefault(row.content, row.split) == row.split
    alone, _ = run(tmp_path, source, project="other", near_duplicates=0)
    assert (
        alone.counts["near_duplicates"] == 0 and alone.counts["groups"] > receipt.counts["groups"]
    )


def test_mapped_splits_are_honoured_and_torn_groups_counted(tmp_path):
    source = catalogue(tmp_path / "shop", 30, split=lambda n: "test" if n % 10 == 0 else "train")
    receipt, room = run(tmp_path, source)
    rows = shards.Shards.open(room).rows()
    assert all((row.split == "test") == (int(row.key) % 10 == 0) for row in rows)
    assert receipt.counts["groups_in_several_splits"] == 3
    assert receipt.counts["val"] > 0  # nobody named a val: it is drawn from train


def test_ids_that_are_used_twice_name_nothing(tmp_path):
    source = catalogue(tmp_path / "shop", 6, id=lambda n: "twice" if n < 2 else f"sku-{n}")
    _, room = run(tmp_path, source)
    assert [row.id for row in shards.Shards.open(room).rows()][:3] == [
        "000000000",
        "000000001",
        "sku-2",
    ]


def test_workers_change_nothing(tmp_path):
    source = catalogue(tmp_path / "shop", executors.FEW + 40)
    for n in (3, 50, 90):
        (source / f"images/{n}.jpg").write_bytes(b"<html>")
    rooms = [run(tmp_path, source, project=f"p{n}", workers=n, shard_size=16)[1] for n in (1, 2)]
    for path in sorted(rooms[0].iterdir()):
        if path.name != "receipt.json":
            assert path.read_bytes() == (rooms[1] / path.name).read_bytes(), path.name
    assert Receipt.read(rooms[0]).hash == Receipt.read(rooms[1]).hash


def deadly(source, max_side, max_pixels):
    """Stands for an image that crashes its decoder."""
    if source == b"70":
        os.kill(os.getpid(), 9)
    return source.decode()


def test_a_image_that_kills_its_process_costs_itself():
    results = list(executors.each([str(n).encode() for n in range(120)], 0, 0, 2, deadly))
    assert results == [executors.DEADLY if n == 70 else str(n) for n in range(120)]


def test_a_script_without_a_guard_runs_once(tmp_path):
    source = catalogue(tmp_path / "shop", executors.FEW + 8)
    script = tmp_path / "script.py"
    script.write_text(
        "print('once')\n"
        "from unidiff_cli.project import Project\n"
        "from unidiff_cli.recipe import Prepare, Recipe\n"
        "from unidiff_cli.stages.prepare import prepare\n"
        f"print(prepare(Project('p'), Recipe(prepare=Prepare(workers=2)), {str(source)!r}).counts['samples'])\n"
    )
    root = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, script], cwd=tmp_path, env=root, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.split() == ["once", str(executors.FEW + 8)], done.stderr


def spoil(source: Path) -> dict[str, str]:
    """5 % of 60 images corrupt, renamed and truncated, and the words their reasons hold."""
    images = source / "images"
    (images / "5.jpg").write_bytes((images / "5.jpg").read_bytes()[:-300])
    (images / "20.jpg").write_bytes(b"<!doctype html><title>404")
    (images / "40.jpg").unlink()
    return {
        "images/5.jpg": "truncated",
        "images/20.jpg": "a web page",
        "images/40.jpg": "no such file",
    }


def test_bad_images_are_quarantined_and_the_run_goes_on(tmp_path):
    source = catalogue(tmp_path / "shop", 60)
    spoiled = spoil(source)
    receipt, room = run(tmp_path, source)
    assert (receipt.counts["bad"], receipt.counts["samples"], receipt.counts["rows"]) == (3, 57, 60)
    listed = [json.loads(line) for line in (room / "quarantine.jsonl").read_text().splitlines()]
    assert [item["row"] for item in listed] == [
        "captions.jsonl:6",
        "captions.jsonl:21",
        "captions.jsonl:41",
    ]
    for item in listed:
        assert spoiled[item["path"]] in item["reason"]
    assert {row.path for row in shards.Shards.open(room).rows()} == {
        f"images/{n}.jpg" for n in range(60)
    } - set(spoiled)


def test_too_much_bad_fails_and_keeps_the_old_room_and_the_list(tmp_path):
    source = catalogue(tmp_path / "shop", 60)
    old, room = run(tmp_path, source)
    before = tree(room)
    spoil(source)
    with pytest.raises(WorkError) as error:
        run(tmp_path, source, max_bad=0.04)
    assert error.value.exit_code == 1
    assert "3 of 60 rows are bad (5.0%, allowed 4.0%)" in error.value.fact
    list_path = tmp_path / "project" / "quarantine.jsonl"
    assert str(list_path) in error.value.action and len(list_path.read_text().splitlines()) == 3
    assert tree(room) == before
    run(tmp_path, source)
    assert not list_path.exists() and Receipt.read(room).counts["bad"] == 3
    assert not [p for p in (tmp_path / "project").iterdir() if p.name.endswith((".new", ".old"))]


def test_few_captions_is_a_misreading(tmp_path):
    for n in range(10):
        path = tmp_path / "shop" / ("dresses" if n < 8 else "images") / f"{n}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(photo(n)))
    with pytest.raises(WorkError, match="Only 8 of 10 images have a caption"):
        run(tmp_path, tmp_path / "shop", max_bad=1.0)


def test_nothing_there(tmp_path):
    with pytest.raises(UsageError, match="no catalogue") as error:
        run(tmp_path, tmp_path / "missing")
    assert error.value.exit_code == 2
    (tmp_path / "empty").mkdir()
    with pytest.raises(WorkError, match="holds no images") as error:
        run(tmp_path, tmp_path / "empty")
    assert error.value.exit_code == 1
    source = catalogue(tmp_path / "shop", 3, view=lambda n: "back")
    with pytest.raises(WorkError, match="None of the 3 rows .* has view=main"):
        run(tmp_path, source, where={"view": "main"})
    assert not (tmp_path / "project").exists()


def test_the_same_work_is_not_done_twice(tmp_path):
    source = catalogue(tmp_path / "shop", 9)
    first, room = run(tmp_path, source)
    before = tree(room)
    again, _ = run(tmp_path, source, workers=2)
    assert again == first and tree(room) == before
    forced, _ = run(tmp_path, source, force=True)
    assert forced.hash == first.hash and tree(room) != before
    changed, _ = run(tmp_path, source, max_side=32)
    assert changed.hash != first.hash and changed.counts["resized"] == 9
    (source / "images/0.jpg").write_bytes(encode(photo(99)))
    assert run(tmp_path, source, max_side=32)[0].hash != changed.hash
    (room / "train-00000.tar").unlink()
    assert run(tmp_path, source, max_side=32)[0] and shards.verify(room) == []


def test_a_project_inside_the_catalogue_and_shards_as_catalogue(tmp_path):
    source = tmp_path / "shop"
    for n in range(4):
        path = source / "dresses" / f"{n}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(photo(n)))
    before = tree(source)
    first, room = run(source, source, project="unidiff-project")
    again, _ = run(source, source, project="unidiff-project")
    assert again.finished == first.finished and first.counts["rows"] == 4
    assert {k: v for k, v in tree(source).items() if not k.startswith("unidiff-project")} == before
    with pytest.raises(UsageError, match="which prepare replaces"):
        run(source, room, project="unidiff-project")
    other, copied = run(tmp_path, room, project="other")  # our own shards are WebDataset too
    assert other.counts["samples"] == 4
    kept = [
        [(r.captions, r.group, r.split, r.content) for r in shards.Shards.open(f).rows()]
        for f in (room, copied)
    ]
    assert sorted(kept[0]) == sorted(kept[1])


def test_a_full_disk_is_a_sentence_and_leaves_the_room(tmp_path, monkeypatch):
    source = catalogue(tmp_path / "shop", 9)
    _, room = run(tmp_path, source)
    before = tree(room)
    usage = shutil.disk_usage(tmp_path)._replace(free=1 << 20)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda path: usage)
        with pytest.raises(EnvironmentProblem, match="1 MiB free, and prepare needs") as error:
            run(tmp_path, source, force=True)
    assert error.value.exit_code == 3
    for place in ("put", "get"):
        with monkeypatch.context() as patch:
            patch.setattr(
                decode.Spool,
                place,
                lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left on device")),
            )
            with pytest.raises(
                EnvironmentProblem, match="No space left on device; prepare needs up to 64 MiB"
            ):
                run(tmp_path, source, force=True)
    assert tree(room) == before


def test_an_interrupt_leaves_the_room(tmp_path, monkeypatch):
    source = catalogue(tmp_path / "shop", 9)
    _, room = run(tmp_path, source)
    before = tree(room)

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(shards, "write_index", stop)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, source, force=True)
    assert tree(room) == before and not list((tmp_path / "project").glob(".*.new"))


# ---------------------------------------------------------------- the report


class _Page(HTMLParser):
    """Checks that tags close and collects addresses."""

    VOID = ("meta", "img", "br", "rect")

    def __init__(self):
        super().__init__()
        self.open, self.addresses, self.scripts = [], [], 0

    def handle_starttag(self, tag, attrs):
        self.scripts += tag == "script"
        self.addresses += [value for name, value in attrs if name in ("src", "href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    handle_startendtag = handle_starttag


def test_the_report_is_whole_self_contained_and_escaped(tmp_path):
    source = catalogue(
        tmp_path / "shop",
        60,
        caption=lambda n: f"a <script>alert({n})</script> & &lt;b&gt; {'word ' * n}",
    )
    spoil(source)
    (source / "captions.jsonl").open("a").write('{"image": "<img src=x>.jpg", "caption": "x"}\n')
    (source / "images/1.jpg").write_bytes(encode(photo(0), quality=90))
    _, room = run(tmp_path, source, max_bad=0.5)
    text = (room / "report.html").read_text(encoding="utf-8")
    page = _Page()
    page.feed(text)
    assert page.open == [] and page.scripts == 0
    assert page.addresses and all(a.startswith("data:image/jpeg;base64,") for a in page.addresses)
    assert (
        "&lt;img src=x&gt;.jpg" in text
        and "a web page" in text
        and "prefers-color-scheme: dark" in text
    )
    assert not re.search(r"https?://", text)


def test_a_histogram_counts_everything():
    bars = html.bars([1] * 5 + [100])
    assert len(bars) <= 24 and sum(count for _, count, _ in bars) == 6 and bars[0][2] == 1.0
    assert html.bars([]) == [] and html.bars([3, 3, 4]) == [("3", 2, 1.0), ("4", 1, 0.5)]
    assert images_module.BITS == 256
