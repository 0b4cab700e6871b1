"""Folders as trainers and shops write them: masks, thumbnails, repeat counts, unknown endings."""

from pathlib import Path

import pytest

from tests.support.catalogue import encoded, jpeg, photo, put
from tests.support.reading import facts, read, read_all
from unidiff_cli.data.readers.folders.classes import REGULARIZATION, REPEATED
from unidiff_cli.data.walk import SYSTEMS


def rows(samples) -> list[str]:
    return sorted(sample.row for sample in samples)


def left_out(reader) -> dict[str, int]:
    """What is left out, and how often."""
    return {n.removesuffix(" of other images, left out"): c for n, c in reader.notes.items()}


def put_all(folder: Path, *names: str) -> None:
    for name in names:
        put(folder / name)


# ---------------------------------------------------------------- masks and the like

# Files of a class folder -> those that are products.
COMPANIONS = {
    "OneTrainer": ("a.jpg a-masklabel.png a-condlabel.png", "a.jpg"),
    "a mask": ("a.jpg a_mask.png b.jpg b.mask.png", "a.jpg b.jpg"),
    "a mask before": ("a.jpg mask_a.png", "a.jpg"),
    "a depth map": ("a.jpg a-depth.png b.jpg b_depthmap.png", "a.jpg b.jpg"),
    "a thumbnail": ("a.jpg a_thumb.jpg thumb_a.jpg b.png b-thumbnail.jpg", "a.jpg b.png"),
    "WordPress": ("a.jpg a-150x150.jpg a-300x200.jpg a-1024x683.jpg", "a.jpg"),
    "Shopify": ("a.jpg a_100x100.jpg", "a.jpg"),
    "a swatch": ("a.jpg a_swatch.jpg", "a.jpg"),
}


@pytest.mark.parametrize("case", COMPANIONS)
def test_an_image_of_another_one_is_left_out_and_counted(tmp_path, case):
    names, products = (names.split() for names in COMPANIONS[case])
    put_all(tmp_path / "dress", *names)
    reader, samples, rejected = read_all(tmp_path)
    assert rows(samples) == [f"dress/{name}" for name in products] and not rejected
    assert sum(left_out(reader).values()) == len(names) - len(products)
    assert not facts(reader)
    assert len(read(tmp_path, companions="keep")[0]) == len(names)


ALONE = ["mask.jpg", "gas_mask.jpg", "a-masklabel.png", "poster-30x40.jpg", "thumb_ring.jpg"]


@pytest.mark.parametrize("name", ALONE)
def test_without_the_image_it_belongs_to_it_is_a_product(tmp_path, name):
    put_all(tmp_path / "things", name, "other.jpg")
    reader, samples, _ = read_all(tmp_path)
    assert len(samples) == 2 and not reader.notes


FOLDERS = {
    "masks beside images": ("images/a.jpg images/b.jpg masks/a.png masks/b.png", "images/"),
    "with a word too": ("images/a.jpg images/b.jpg mask/a_mask.png mask/b_mask.png", "images/"),
    "in every class": ("dress/a.jpg dress/b.jpg dress/masks/a.png dress/masks/b.png", "dress/"),
    "conditioning": ("images/a.jpg images/b.jpg conditioning_images/a.png", "images/"),
    "depth of splits": ("train/images/a.jpg train/depth/a.png", "train/images/"),
    "thumbnails above": ("a.jpg b.jpg thumbs/a.jpg thumbs/b.jpg", ""),
    "swatches": ("photos/red/a.jpg swatches/red/a.jpg", "photos/"),
}


@pytest.mark.parametrize("case", FOLDERS)
def test_a_folder_of_them_is_left_out(tmp_path, case):
    names, start = FOLDERS[case]
    put_all(tmp_path, *names.split())
    products = [
        name for name in names.split() if name.startswith(start) and "/" not in name[len(start) :]
    ]
    if case == "swatches":
        products = ["photos/red/a.jpg"]
    for name in products:
        put((tmp_path / name).with_suffix(".txt"), "words")
    reader, samples, _ = read_all(tmp_path)
    assert rows(samples) == products and not facts(reader)
    assert sum(left_out(reader).values()) == len(names.split()) - len(products)


def test_a_class_of_masks_is_asked_for(tmp_path):
    """Classes whose files have the same numbers: carnival masks, or masks of dresses?"""
    put_all(tmp_path, "dress/1.jpg", "dress/2.jpg", "masks/1.jpg", "masks/2.jpg")
    reader, samples, _ = read_all(tmp_path)
    assert len(samples) == 4 and "The folder 'masks' may hold masks" in facts(reader, True)
    for companions, count in (("keep", 4), ("leave_out", 2)):
        reader, samples, _ = read_all(tmp_path, companions=companions)
        assert len(samples) == count and not facts(reader)


def test_a_mask_with_words_of_its_own_is_a_product(tmp_path):
    put_all(tmp_path, "a.jpg", "a_mask.jpg")
    put(tmp_path / "a.txt", "a face")
    put(tmp_path / "a_mask.txt", "a carnival mask")
    assert len(read(tmp_path)[0]) == 2


@pytest.mark.parametrize("place", ["test/dress", "images/test/dress", "data/images/Test/dress"])
def test_a_folder_of_a_split_is_no_class(tmp_path, place):
    put_all(tmp_path, f"{place}/a.jpg")
    (sample,) = read(tmp_path)[0]
    assert sample.split == "test" and sample.captions == ("a photo of dress",)


# ---------------------------------------------------------------- kohya


def test_repeat_counts_are_no_words_and_regularization_is_left_out(tmp_path):
    put_all(tmp_path, "10_red dress/a.jpg", "5_shirt/b.jpg", "5_shirt/c.jpg", "1_reg/d.jpg")
    reader, samples, _ = read_all(tmp_path)
    assert [s.captions[0] for s in samples] == ["a photo of red dress", *["a photo of shirt"] * 2]
    assert samples[0].attributes == {"class": "red dress"}
    assert reader.notes == {REPEATED: 3, REGULARIZATION: 1}


@pytest.mark.parametrize("place", ["img/10_ohwx dress/a.jpg", "train/10_ohwx dress/a.jpg"])
def test_repeat_counts_are_understood_below_other_folders(tmp_path, place):
    put_all(tmp_path, place, "reg/1_dress/r.jpg")
    samples, _ = read(tmp_path)
    assert [s.captions[0] for s in samples] == ["a photo of ohwx dress"]


def test_numbers_of_some_classes_only_are_words(tmp_path):
    put_all(tmp_path, "3_piece suits/a.jpg", "dress/b.jpg")
    samples, _ = read(tmp_path)
    assert [s.captions[0] for s in samples] == ["a photo of 3 piece suits", "a photo of dress"]


# ---------------------------------------------------------------- endings

SIGNED = {
    "a.jpe": "JPEG", "b.apng": "PNG", "c": "JPEG", "d.photo": "PNG", "e.jpg_large": "JPEG",
    "f.image": "WEBP", "g.x": "GIF", "h.bin": "TIFF", "i.original": "AVIF",
}  # fmt: skip


@pytest.mark.parametrize("name", SIGNED)
def test_an_image_is_known_by_its_first_bytes(tmp_path, name):
    put(tmp_path / name, encoded(photo(1), SIGNED[name]))
    put(tmp_path / f"{Path(name).stem}.txt", "a red dress")
    put(tmp_path / "z.jpg")
    put(tmp_path / "z.txt", "z")
    samples, rejected = read(tmp_path)
    assert rows(samples) == sorted([name, "z.jpg"]) and not rejected
    assert "a red dress" in {sample.captions[0] for sample in samples}


def test_other_files_are_counted_by_their_ending(tmp_path):
    put(tmp_path / "dress" / "a.jpg")
    for name in ("LICENSE", "notes.md", "b.mp4", "c.mp4", "clip.xyz"):
        put(tmp_path / name, b"no image")
    reader, samples, _ = read_all(tmp_path)
    assert len(samples) == 1
    assert reader.notes == {
        "files without an ending, not read": 1,
        "files ending in .md, not read": 1,
        "files ending in .mp4, not read": 2,
        "files ending in .xyz, not read": 1,
    }


def test_formats_that_are_not_read_are_rows(tmp_path):
    """Decoding them says what they are: no product is lost in silence."""
    for name in ("a.ppm", "b.heic", "c.svg"):
        put(tmp_path / name, b"P6 1 1 255 abc")
        put((tmp_path / name).with_suffix(".txt"), "words")
    assert len(read(tmp_path)[0]) == 3


def test_a_jpeg_in_a_folder_of_ours_is_no_row(tmp_path):
    put(tmp_path / "dress" / "a.jpg", jpeg())
    put(tmp_path / ".thumbnails" / "a", jpeg())
    put(tmp_path / "__MACOSX" / "._a.jpg", b"Mac OS X")
    assert len(read(tmp_path)[0]) == 1


def test_a_folder_with_one_caption_for_all_is_said(tmp_path):
    put_all(tmp_path / "dress", *(f"{n}.jpg" for n in range(12)))
    reader, samples, _ = read_all(tmp_path)
    assert len(samples) == 12 and "12 images have one caption: a photo of dress" in facts(reader)
    put_all(tmp_path / "hat", "a.jpg")
    assert not facts(read_all(tmp_path)[0])


# ---------------------------------------------------------------- folders of systems

OF_SYSTEMS = [
    "dress/@eaDir/a.jpg/SYNOPHOTO_THUMB_M.jpg", "dress/.thumbnails/a.jpg", "#recycle/dress/b.jpg",
    "dress/.picasaoriginals/a.jpg", "$RECYCLE.BIN/S-1-5/$R1.jpg", "lost+found/x.jpg",
    ".Trash-1000/a.jpg", "dress/.@__thumb/defaulta.jpg", "@Recycle/a.jpg",
]  # fmt: skip


@pytest.mark.parametrize("name", OF_SYSTEMS)
def test_folders_that_systems_fill_are_left_out_and_counted(tmp_path, name):
    put_all(tmp_path, "dress/a.jpg", name)
    reader, samples, _ = read_all(tmp_path)
    assert rows(samples) == ["dress/a.jpg"] and reader.notes == {SYSTEMS: 1}
