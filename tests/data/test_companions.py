"""Second sets of images: masks, maps, copies by size, and sets whose words nobody knows."""

import time
from collections.abc import Iterable

import pytest

from tests.support.catalogue import put
from tests.support.reading import facts, read_all
from unidiff_cli.config.prepare import Prepare
from unidiff_cli.data.locations import locate
from unidiff_cli.data.readers import folder
from unidiff_cli.data.readers.folders.companions import Companions
from unidiff_cli.data.readers.folders.lookalikes import Lookalikes

NAMES = ("men-7", "men-31", "women-5", "women-88", "kids-412", "kids-9003")


def put_all(folder, *names) -> None:
    for name in names:
        put(folder / name)


def put_sets(folder, *patterns: str) -> None:
    """A file of each pattern for each name."""
    put_all(folder, *(pattern.format(name) for pattern in patterns for name in NAMES))


def rows(samples) -> list[str]:
    return sorted(sample.row for sample in samples)


# ---------------------------------------------------------------- known words

FILES = [
    "_mask_0.png", "_alpha.png", "_segm.png", "_seg.png", "-parsing.png", "_image_mask.png",
    "_densepose.png", "-trimap.png", "_depth_map.png", "_small.jpg", "_480x.jpg", "_480x480.jpg",
    "@2x.jpg", "-scaled.jpg", "_100x100@2x.jpg", "_grande.jpg", "_200x_crop_center.jpg",
    "-home_default.jpg", "-cart_default.jpg", "-thickbox_default_2x.jpg", "_tn.jpg", "-300w.jpg",
]  # fmt: skip


@pytest.mark.parametrize("ending", FILES)
def test_files_of_others_are_left_out(tmp_path, ending):
    put_all(tmp_path / "dress", "12.jpg", f"12{ending}", f"b{ending}")
    reader, samples, _ = read_all(tmp_path)
    assert rows(samples) == ["dress/12.jpg", f"dress/b{ending}"] and not facts(reader)
    assert sum(reader.notes.values()) == 1


def test_wordpress_copies_of_a_scaled_image(tmp_path):
    put_all(tmp_path / "dress", "a-scaled.jpg", "a-150x150.jpg", "a-1024x683.jpg", "b.jpg")
    assert rows(read_all(tmp_path)[1]) == ["dress/a-scaled.jpg", "dress/b.jpg"]


FOLDERS = {
    "OpenCart": ("catalog/dress/a.jpg", "cache/catalog/dress/a-228x228.jpg"),
    "Magento": ("product/hat/a.jpg", "product/cache/1/small_image/9df78eab/hat/a.jpg"),
    "sizes": ("dress/800x800/a.jpg", "dress/150x150/a.jpg"),
    "pixels": ("dress/1200px/a.jpg", "dress/300px/a_thumb.jpg"),
    "sizes above": ("dress/a.jpg", "dress/64x64/a.jpg"),
    "large and small": ("dress/large/a.jpg", "dress/medium/a.jpg"),
    "trimaps": ("shop/dress/a.jpg", "shop/trimap/a.png"),
    "VITON": ("train/cloth/a.jpg", "train/cloth-mask/a.jpg"),
    "parse": ("image/hat/a.jpg", "image-parse-v3/hat/a.png"),
    "DeepFashion": ("images/hat/a.jpg", "densepose/hat/a_densepose.png"),
    "a cache elsewhere": ("img/dress/a.jpg", "var/cache/x/a-80x80.jpg"),
    "Oxford pets": ("images/hat/hat_1.jpg", "annotations/trimaps/hat_1.png"),
    "OpenPose": ("image/hat/7_00.jpg", "openpose_img/hat/7_00_rendered.png"),
    "DressCode": ("dress/images/0007_0.jpg", "dress/label_maps/0007_4.png"),
    "VOC": ("JPEGImages/hat/a.jpg", "SegmentationClass/hat/a.png"),
}


@pytest.mark.parametrize("case", FOLDERS)
def test_folders_of_others_are_left_out(tmp_path, case):
    product, other = FOLDERS[case]
    put_all(tmp_path, product, other)
    reader, samples, _ = read_all(tmp_path)
    assert rows(samples) == [product] and not facts(reader)
    assert samples[0].captions[0].split()[-1] in ("dress", "hat", "cloth")
    assert sum(reader.notes.values()) == 1


def test_controls_beside_images_with_texts(tmp_path):
    put_sets(tmp_path, "{}.jpg", "controls/{}.jpg")
    for name in NAMES:
        put(tmp_path / f"{name}.txt", f"text of {name}")
    reader, samples, _ = read_all(tmp_path)
    assert len(samples) == len(NAMES) and not facts(reader)


def test_sizes_without_a_larger_one_are_products(tmp_path):
    put_all(tmp_path, "dress/400x400/a.jpg", "dress/400x400/b.jpg")
    samples = read_all(tmp_path)[1]
    assert [s.captions[0] for s in samples] == ["a photo of dress"] * 2


def test_copies_of_several_sizes_alone_are_asked_for(tmp_path):
    put_sets(tmp_path, "dress/{}-150x150.jpg", "dress/{}-300x200.jpg", "dress/{}_1024x683.jpg")
    reader, samples, _ = read_all(tmp_path)
    assert len(samples) == 18 and "12 images have a size" in facts(reader, stops=True)
    samples = read_all(tmp_path, companions="leave_out")[1]
    assert len(samples) == 6 and all("1024x683" in row for row in rows(samples))


def test_words_of_sizes_alone_and_classes_of_sizes_are_asked_for(tmp_path):
    put_sets(tmp_path / "a", "dress/{}_small.jpg", "dress/{}_large.jpg", "dress/{}_480x.jpg")
    assert "6 images have a size" in facts(read_all(tmp_path / "a")[0], stops=True)
    put_all(tmp_path / "b", *(f"{size}/{n}.jpg" for size in ("small", "large") for n in range(4)))
    reader, samples, _ = read_all(tmp_path / "b")
    assert len(samples) == 8 and "The folder 'small' may hold" in facts(reader, stops=True)


# ---------------------------------------------------------------- unknown words

UNKNOWN = {
    "a folder beside images": ("images/dress/{}.jpg", "warped/dress/{}.png"),
    "a folder beside a class": ("dress/{}.jpg", "iuv/{}.png"),
    "with its word in the name": ("dress/{}.jpg", "iuv/{}_iuv.png"),
    "in every class": ("{}/x-pattern-blob.jpg", "{}/zz/x-pattern-blob.jpg"),
    "an ending": ("dress/{}.jpg", "dress/{}_iuv.png"),
    "an ending with a number": ("dress/{}.jpg", "dress/{}-blobs_2.png"),
    "a beginning": ("dress/{}.jpg", "dress/iuv_{}.png"),
}


@pytest.mark.parametrize("case", UNKNOWN)
def test_a_second_set_of_unknown_words_is_asked_for(tmp_path, case):
    put_sets(tmp_path, *UNKNOWN[case])
    reader, samples, _ = read_all(tmp_path)
    assert len(samples) == 2 * len(NAMES)
    assert "6 images" in facts(reader, stops=True) and "views of the pro" in facts(reader)
    reader, samples, _ = read_all(tmp_path, companions="leave_out")
    assert len(samples) == len(NAMES) and not facts(reader, stops=True)
    reader, samples, _ = read_all(tmp_path, companions="keep")
    assert len(samples) == 2 * len(NAMES) and not facts(reader, stops=True)


def test_a_folder_whose_partners_have_texts_is_asked_for(tmp_path):
    for n in range(6):
        put_all(tmp_path, f"out/{n}.jpg", f"inputs/{n}.jpg")
        put(tmp_path / "out" / f"{n}.txt", f"a thing {n}")
    assert "6 images in inputs/ have the names of those in out/" in facts(read_all(tmp_path)[0])


PRODUCTS = {
    "views": ("dress/{}.jpg", "dress/{}_back.jpg", "dress/{}_2.jpg", "dress/{}-b.jpg"),
    "more views": ("dress/{}.jpg", "dress/{}_front_detail.jpg", "dress/{}_side01.jpg"),
    "colours": ("dress/{}.jpg", "dress/{}-red.jpg"),
    "parts of a product": (
        "dress/{}/main.jpg",
        "dress/{}/zoom.jpg",
        "dress/{}/box.jpg",
        "dress/{}/size.jpg",
        "dress/{}/worn.jpg",
    ),
    "splits": ("train/dress/{}.jpg", "test/dress/{}.jpg"),
    "a folder a product": ("dress/{}/front.jpg", "dress/{}/back.jpg", "dress/{}/side.jpg"),
}


@pytest.mark.parametrize("case", PRODUCTS)
def test_further_photos_are_products(tmp_path, case):
    put_sets(tmp_path, *PRODUCTS[case])
    reader, samples, _ = read_all(tmp_path)
    assert len(samples) == len(NAMES) * len(PRODUCTS[case]) and not facts(reader, stops=True)


@pytest.mark.parametrize("name", ["{}.jpg", "p{:03}.jpg", "IMG_{:04}.JPG", "frame {} (1).png"])
def test_classes_that_count_from_one_are_classes(tmp_path, name):
    put_all(tmp_path, *(f"{c}/{name.format(n)}" for c in ("dress", "hat") for n in range(8)))
    reader, samples, _ = read_all(tmp_path)
    assert len(samples) == 16 and not facts(reader)


# ---------------------------------------------------------------- captions in file names

PHRASES = {
    "EveryDream": "{} cotton dress with belt_001.jpg",
    "hyphens": "woman-in-{}-dress-by-the-sea-7719.jpg",
    "underscores": "long_{}_evening_dress.png",
    "Chinese": "{}色长袖连衣裙夏季 1.jpg",
}
COLOURS = ("red", "blue", "green", "black", "white", "pink")


@pytest.mark.parametrize("case", PHRASES)
def test_phrases_as_file_names_are_asked_for(tmp_path, case):
    put_all(tmp_path / "dress", *(PHRASES[case].format(colour) for colour in COLOURS))
    reader, _, _ = read_all(tmp_path)
    assert "6 of 6 images have a phrase as their file name" in facts(reader, stops=True)
    assert not facts(read_all(tmp_path, caption="a photo of {class}")[0], stops=True)
    for colour in COLOURS:
        put((tmp_path / "dress" / PHRASES[case].format(colour)).with_suffix(".txt"), colour)
    assert not facts(read_all(tmp_path)[0])


@pytest.mark.parametrize(
    "name",
    [
        "WOMEN-Dresses-id_{}-front.jpg",
        "WhatsApp Image 2024-01-0{} at 10.20.3{}.jpeg",
        "Screenshot from 2024-01-{}.png",
        "a3f{}-bc-de-ff-aa{}.jpg",
        "pexels-photo-{}.jpg",
    ],
)
def test_names_of_cameras_and_numbers_are_no_phrases(tmp_path, name):
    put_all(tmp_path / "dress", *(name.replace("{}", str(n)) for n in range(8)))
    assert not facts(read_all(tmp_path)[0], stops=True)


def second_sets(paths: Iterable[str]) -> list[str]:
    """What may be a second set of images, of images without texts."""
    parts = (tuple(path.split("/")) for path in paths)
    found = Lookalikes(dict.fromkeys(parts, False), ()).found
    return sorted("/".join(image) for image in found)


def test_many_folders_of_equal_names_are_looked_at_in_time():
    start = time.process_time()
    assert not second_sets(f"B{n:05}/{k}.jpg" for n in range(3000) for k in range(6))
    assert time.process_time() - start < 6


def test_names_that_many_folders_have_do_not_hide_a_second_set():
    names = ["red-412", "hat-7", "bag-88", "coat-31", "belt-5", "sock-903"]
    several = [f"B{n}/{name}" for n in range(30) for name in names[: 1 + n % 3]]
    second = [f"foo/{name}" for name in names]
    assert second_sets([*several, *second, *(f"images/{name}" for name in names)]) == sorted(second)


def test_companions_are_looked_for_once_where_a_folder_stays_the_same(tmp_path, monkeypatch):
    put_all(tmp_path / "dress", "12.jpg", "b.jpg")
    looked = []
    monkeypatch.setattr(
        folder, "Companions", lambda *args: looked.append(args) or Companions(*args)
    )
    reader = folder.Folder(locate(tmp_path), Prepare())
    assert len(list(reader)) == len(list(reader)) == 2 and len(looked) == 1
    put_all(tmp_path / "dress", "12_mask.png")
    assert len(list(reader)) == 2 and len(looked) == 2
