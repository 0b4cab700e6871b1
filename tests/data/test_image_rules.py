"""Which images are products: rules of size, masks by their pixels, duplicates as asked."""

import csv
import io
import json

import numpy as np
import pytest
from PIL import Image, ImageDraw

from tests.support.catalogue import encoded, photo, put, tar_of
from tests.support.selections import caption, decoded
from unidiff_cli import Project, Recipe, prepare
from unidiff_cli.config.prepare import Prepare
from unidiff_cli.data.sample import Cause
from unidiff_cli.data.selection import select
from unidiff_cli.data.shards import Shards
from unidiff_cli.errors import Problems, WorkError


def shop(folder, images, **columns):
    """A table of images, each its own caption; an image is bytes, or drawn and saved as PNG."""
    names = ["image", "caption", *columns]
    rows = [names]
    for n, image in enumerate(images):
        data = image if isinstance(image, bytes) else encoded(image, "PNG")
        put(folder / "images" / f"{n}.png", data)
        rows.append([f"images/{n}.png", caption(n), *(value(n) for value in columns.values())])
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    put(folder / "catalog.csv", text.getvalue())
    return folder


def run(tmp_path, source, project="project", yes=False, **options):
    """The receipt, the rows in the shards and the list of what was left out."""
    place = Project(tmp_path / project)
    recipe = Recipe(prepare=Prepare(**{"workers": 1, **options}))
    receipt = prepare(place, recipe, source, yes=yes)
    folder = place.path("shards")
    lines = (folder / "quarantine.jsonl").read_text().splitlines()
    return receipt, Shards.open(folder).rows(), [json.loads(line) for line in lines]


# ---------------------------------------------------------------- small and long images


def pixels_in_a_fifth():
    """Of forty images every fifth is one pixel, where a download failed."""
    return [Image.new("RGB", (1, 1), (n, 0, 0)) if n % 5 == 0 else photo(n) for n in range(40)]


def test_one_pixel_images_stop_and_are_listed(tmp_path):
    source = shop(tmp_path / "shop", pixels_in_a_fifth())
    with pytest.raises(Problems, match=r"8 of 40 images, images/0.png") as caught:
        run(tmp_path, source)
    assert "prepare.min_side=1" in caught.value.problems[0]
    assert not Project(tmp_path / "project").path("shards").exists()
    listed = Project(tmp_path / "project").path("cache", "prepare", "quarantine.jsonl")
    assert len(listed.read_text().splitlines()) == 8


def test_one_pixel_images_are_left_out_with_yes_and_counted(tmp_path):
    source = shop(tmp_path / "shop", pixels_in_a_fifth())
    receipt, rows, listed = run(tmp_path, source, yes=True)
    counts = receipt.counts
    assert (counts["rows"], counts["samples"], counts["left_out"], counts["bad"]) == (40, 32, 8, 0)
    assert {row.path for row in rows} == {f"images/{n}.png" for n in range(40) if n % 5}
    assert listed[0]["reason"] == "1 x 1 pixels, smaller than prepare.min_side (32)"
    assert receipt.figures["left_out_reasons"] == {"smaller than prepare.min_side": 8}


def test_a_share_of_small_images_may_be_allowed_or_kept(tmp_path):
    source = shop(tmp_path / "shop", pixels_in_a_fifth())
    receipt, *_ = run(tmp_path, source, max_bad=0.2)
    assert receipt.counts["samples"] == 32 and "8 of 40" in receipt.figures["warnings"][0]
    receipt, *_ = run(tmp_path, source, "kept", min_side=1)
    assert receipt.counts["samples"] == 40 and receipt.counts["left_out"] == 0


@pytest.mark.parametrize(
    "size, cause",
    [
        ((16, 16), Cause.SMALL),
        ((31, 300), Cause.SMALL),
        ((32, 32), None),
        ((32, 640), None),
        ((32, 641), Cause.STRIP),
        ((4000, 8), Cause.STRIP),
        ((6, 3000), Cause.STRIP),
        ((900, 40), Cause.STRIP),
    ],
)
def test_sizes_that_are_no_products(size, cause):
    from unidiff_cli.data.decode import bounds_of
    from unidiff_cli.data.images import prepare_image
    from unidiff_cli.data.locations import InMemory

    result = prepare_image(InMemory("x", encoded(photo(0, size))), 1024, bounds_of(Prepare()))
    assert getattr(getattr(result, "reason", result), "cause", None) is cause


def test_small_images_in_a_tar_and_a_folder_are_left_out_too(tmp_path):
    entries, folder = [], tmp_path / "folder"
    for n in range(30):
        data = encoded(photo(n) if n else Image.new("RGB", (8, 8)))
        entries += [(f"{n}.jpg", data), (f"{n}.txt", caption(n).encode())]
    for name, data in entries:
        put(folder / name, data)
    tar = tar_of(tmp_path / "shop.tar", entries)
    for source in (folder, tar):
        receipt, *_ = run(tmp_path, source, f"project {source.name}")
        assert (receipt.counts["samples"], receipt.counts["left_out"]) == (29, 1)


def test_nothing_but_small_images_is_a_sentence(tmp_path):
    source = shop(tmp_path / "shop", [Image.new("RGB", (9, 9))] * 4)
    with pytest.raises(WorkError, match="None of 4 rows gives an image; 4: smaller than prepare"):
        run(tmp_path, source)


def test_a_query_may_be_small():
    from unidiff_cli.data.decode import decode_query
    from unidiff_cli.data.locations import InMemory

    assert decode_query(InMemory("x", encoded(photo(0, (8, 8))))).width == 8


# ---------------------------------------------------------------- masks


def mask(n: int, kind="PNG", levels=(0, 255)) -> bytes:
    image = Image.new("L", (96, 96), levels[0])
    ImageDraw.Draw(image).ellipse((10 + n % 9, 10, 80 - n % 7, 80 - n % 5), fill=levels[1])
    return encoded(image, kind)


def looks_as_mask(image: Image.Image | bytes) -> bool:
    (item,) = decoded([(image, "x")]).samples
    return item.image.mask


def test_what_looks_as_a_mask():
    dark = Image.new("RGB", (96, 96), "white")
    soft = Image.fromarray(np.linspace(0, 255, 96 * 96).reshape(96, 96).astype(np.uint8))
    for image in (mask(0), mask(1, "JPEG"), mask(2, "WEBP"), mask(3, levels=(0, 128))):
        assert looks_as_mask(image)
    for image in (photo(0), photo(0).convert("L"), dark, soft, mask(4, levels=(100, 140))):
        assert not looks_as_mask(image)


def test_few_masks_among_photos_are_named_and_many_stop():
    rows = [(photo(n), caption(n)) for n in range(40)]
    for count, stops in ((2, False), (24, True)):
        masks = [(mask(n), caption(n)) for n in range(count)]
        doubts = select(decoded(rows + masks), Prepare()).doubts
        (doubt,) = [doubt for doubt in doubts if "as masks have" in doubt.fact]
        assert f"{count} of {40 + count} images, 40.jpg, 41.jpg" in doubt.fact
        assert doubt.stops is stops and "prepare.masks=leave_out" in doubt.action


def test_masks_are_left_out_or_kept_by_name():
    rows = [(photo(n), caption(n)) for n in range(12)] + [(mask(n), "mask") for n in range(12)]
    selection = select(decoded(rows), Prepare(masks="leave_out"))
    assert [item.path for item in selection.decoded.samples] == [f"{n}.jpg" for n in range(12)]
    assert {item.reason.cause for item in selection.decoded.rejected} == {Cause.MASK}
    selection = select(decoded(rows), Prepare(masks="keep"))
    assert len(selection.decoded.samples) == 24 and selection.doubts == []


def test_line_art_is_no_doubt():
    rows = [(mask(n), caption(n)) for n in range(20)] + [(photo(0), "a photo")]
    selection = select(decoded(rows), Prepare())
    assert len(selection.decoded.samples) == 21
    assert not any("masks" in doubt.fact for doubt in selection.doubts)


def test_images_of_one_colour_among_photos_are_named():
    rows = [(photo(n), caption(n)) for n in range(9)] + [(Image.new("RGB", (64, 64)), "black")]
    (doubt,) = select(decoded(rows), Prepare()).doubts
    assert "One colour and nothing else: 1 of 10 images, 9.jpg." in doubt.fact and not doubt.stops


# ---------------------------------------------------------------- duplicates


def copies():
    """Ten photos, then the first saved smaller, then the second again."""
    small = photo(0, (96, 80)).resize((60, 50), Image.Resampling.LANCZOS)
    return [*(photo(n, (96, 80)) for n in range(10)), small, photo(1, (96, 80))]


def test_duplicates_are_grouped_kept_or_dropped(tmp_path):
    source = shop(tmp_path / "shop", copies())
    groups = {}
    for way in ("group", "keep", "drop"):
        receipt, rows, listed = run(tmp_path, source, way, dedupe=way)
        groups[way] = (len(rows), receipt.counts["groups"], receipt.counts["left_out"])
    assert groups == {"group": (12, 10, 0), "keep": (12, 12, 0), "drop": (10, 10, 2)}
    assert [(item["path"], item["reason"].split(" (")[0]) for item in listed] == [
        ("images/10.png", "near-equal to images/0.png"),
        ("images/11.png", "equal to images/1.png"),
    ]
    captions = {row.path: row.captions for row in rows}
    assert captions["images/1.png"] == (caption(1), caption(11))
    assert captions["images/0.png"] == (caption(0),)
    (note,) = [text for text in receipt.figures["notes"] if "taken over" in text]
    assert receipt.figures["notes"][note] == 1


def test_what_stays_is_held_out_then_large_then_first():
    large, small = photo(0, (96, 80)), photo(0, (96, 80)).resize((60, 50))
    rows = [(small, "a"), (large, "b"), (large, "c"), (photo(1), "d"), (photo(1), "e")]
    selection = select(
        decoded(rows, split=lambda n: {3: "train", 4: "test"}.get(n)), Prepare(dedupe="drop")
    )
    assert [item.path for item in selection.decoded.samples] == ["1.jpg", "4.jpg"]
    assert selection.decoded.samples[0].sample.captions == ("b", "c")
    assert selection.pairs == [] and selection.doubts == []


def test_captions_taken_over_have_a_limit():
    rows = [(photo(0), f"red shirt {n}") for n in range(9)]
    options = Prepare(dedupe="drop", limits={"captions": 4})
    (item,) = select(decoded(rows), options).decoded.samples
    assert item.sample.captions == tuple(f"red shirt {n}" for n in range(4))


# ---------------------------------------------------------------- the report


def test_the_report_shows_a_placeholder_and_counts_its_rows(tmp_path):
    images = [encoded(photo(999) if n < 20 else photo(n)) for n in range(40)]
    source = shop(tmp_path / "shop", images)
    with pytest.raises(Problems, match="20 of 40 images") as caught:
        run(tmp_path, source)
    assert "prepare.placeholder=0" in caught.value.problems[0]
    receipt, rows, listed = run(tmp_path, source, yes=True)
    assert {row.path for row in rows} == {f"images/{n}.png" for n in range(20, 40)}
    assert {item["path"] for item in listed} == {f"images/{n}.png" for n in range(20)}
    assert (receipt.counts["left_out"], receipt.counts["bad"]) == (20, 0)
    page = Project(tmp_path / "project").path("shards", "report.html").read_text()
    section = page.split("Left out: one image for many products")[1].split("<h2>")[0]
    assert "data:image/" in section and "20 rows" in section and "images/0.png" in section
