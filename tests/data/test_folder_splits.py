"""Splits and products that are folders: where they lie, what they are called, and what is asked."""

from collections import Counter

import pytest

from tests.support.catalogue import put
from tests.support.reading import facts, read, read_all


def put_all(folder, *places: str, each: int = 2) -> None:
    """So many images in each folder."""
    for place in places:
        for n in range(each):
            put(folder / place / f"{n}.jpg")


def splits(samples) -> set[tuple[str | None, str]]:
    """The splits and captions of samples."""
    return {(s.split, s.captions[0].removeprefix("a photo of ")) for s in samples}


# Folders -> their splits and classes.
SPLITS = {
    "at the top": "train/dress test/dress",
    "in a wrapper": "fashion-dataset/train/dress fashion-dataset/test/dress",
    "in two wrappers": "archive/shop/train/dress archive/shop/val/dress",
    "inside the class": "dress/train dress/test",
    "inside nested classes": "women/dress/training women/dress/validation",
    "Kaggle's sets": "training_set/dress test_set/dress",
    "a year": "train2017/dress val2017/dress",
    "a word before": "seg_train/dress seg_test/dress",
    "twice": "seg_train/seg_train/dress seg_test/seg_test/dress",
    "glued": "trainset/dress testset/dress",
    "camel case": "TrainImages/dress TestImages/dress",
    "of images": "train/images/dress test/images/dress",
    "a shop's name": "zalando-train/dress zalando-val/dress",
    "held out": "train/dress held-out/dress",
    "several of one": "train_1/dress train_2/dress valid/dress",
}


@pytest.mark.parametrize("case", SPLITS)
def test_folders_of_splits_are_found_at_any_depth(tmp_path, case):
    put_all(tmp_path, *SPLITS[case].split())
    reader, samples, rejected = read_all(tmp_path)
    held_out = "val" if "val" in SPLITS[case] else "test"
    assert splits(samples) == {("train", "dress"), (held_out, "dress")} and not rejected
    assert not facts(reader)
    assert any(line.startswith("splits by folders: ") for line in reader.describe())


@pytest.mark.parametrize("place", ["{}", "shop/{}", "{}_images"])
def test_images_with_texts_may_lie_in_the_folder_of_a_split_itself(tmp_path, place):
    for split in ("train", "test"):
        put(tmp_path / place.format(split) / "a.jpg")
        put(tmp_path / place.format(split) / "a.txt", f"words of {split}")
    samples, _ = read(tmp_path)
    assert splits(samples) == {("train", "words of train"), ("test", "words of test")}


# Folders of which some are words of splits -> the reading without a word from anybody.
UNCLEAR = {
    "vehicles": ("car bus train", {(None, "car"), (None, "bus"), (None, "train")}),
    "classes": ("dev seen dress", {(None, "dev"), (None, "seen"), (None, "dress")}),
    "toys": ("toys/doll toys/train garden/hose", {(None, x) for x in ("doll", "train", "hose")}),
    "further images": (
        "train/hat test/hat extra/hat",
        {("train", "hat"), ("test", "hat")},
    ),
}


@pytest.mark.parametrize("case", UNCLEAR)
def test_words_of_splits_among_others_stop(tmp_path, case):
    places, expected = UNCLEAR[case]
    put_all(tmp_path, *places.split())
    reader, samples, rejected = read_all(tmp_path)
    assert splits(samples) == expected and not rejected
    assert "Folders named '" in facts(reader, True)
    assert "prepare.columns.split=''" in reader.doubts()[0].action
    reader, samples, _ = read_all(tmp_path, columns={"split": ""})
    assert {s.split for s in samples} == {None} and not facts(reader, True)


@pytest.mark.parametrize(
    "places", ["home/sofa home/gallery", "gallery/sofa gallery/hat", "sofa/dev hat/dev"]
)
def test_a_word_of_other_things_is_no_split_alone(tmp_path, places):
    put_all(tmp_path, *places.split())
    reader, samples, _ = read_all(tmp_path)
    assert {s.split for s in samples} == {None} and not facts(reader, True)


def test_beside_a_sure_word_it_is_one(tmp_path):
    put_all(tmp_path, "gallery/sofa", "train/sofa", "query/sofa")
    assert splits(read(tmp_path)[0]) == {("test", "sofa"), ("train", "sofa")}


def test_a_person_says_what_a_folder_is(tmp_path):
    put_all(tmp_path, "train/hat", "test/hat", "extra/hat")
    reader, samples, _ = read_all(tmp_path, split_words={"Extra": "val"})
    assert Counter(s.split for s in samples) == {"train": 2, "test": 2, "val": 2}
    assert not facts(reader, True)


def test_words_of_a_person_are_splits_at_any_depth(tmp_path):
    put_all(tmp_path, "shop/spring/hat", "shop/summer/hat")
    words = {"spring": "train", "summer": "test"}
    samples, _ = read(tmp_path, split_words=words)
    assert splits(samples) == {("train", "hat"), ("test", "hat")}


@pytest.mark.parametrize("places", ["dress/train dress/test", "train/dress test/dress"])
def test_without_splits_a_sure_one_is_still_no_class(tmp_path, places):
    put_all(tmp_path, *places.split())
    samples, _ = read(tmp_path, columns={"split": ""})
    assert splits(samples) == {(None, "dress")}


@pytest.mark.parametrize("name", ["Query dresses", "seen on tv", "test tubes", "train-tracks"])
def test_a_class_with_such_a_word_in_its_name_is_a_class(tmp_path, name):
    put_all(tmp_path, name, "hat")
    reader, samples, _ = read_all(tmp_path)
    assert splits(samples) == {(None, name.replace("-", " ")), (None, "hat")}
    assert not facts(reader)


# ---------------------------------------------------------------- folders of one product

PRODUCTS = {
    "ASINs": [f"dress/B00A{n:02d}" for n in range(6)],
    "numbers": [f"women/dress/{4711 + n}" for n in range(6)],
    "ids": [f"dress/id_{n:08d}" for n in range(6)],
    "article numbers": [f"dress/AB-{n:04d}-XL" for n in range(6)],
    "of splits": [f"{'train' if n < 4 else 'test'}/dress/SKU{n:03d}" for n in range(6)],
    "views in folders": [f"dress/P{n:03d}/{view}" for n in range(6) for view in ("front", "back")],
}


@pytest.mark.parametrize("case", PRODUCTS)
def test_folders_with_codes_are_products(tmp_path, case):
    put_all(tmp_path, *PRODUCTS[case], each=3)
    reader, samples, rejected = read_all(tmp_path)
    assert {s.captions for s in samples} == {("a photo of dress",)} and not rejected
    products = Counter(s.product for s in samples)
    assert len(products) == 6 and len(set(products.values())) == 1
    assert not facts(reader, True) and any(
        "products from folders: 6" in x for x in reader.describe()
    )
    assert {s.product for s in read(tmp_path, folders="classes")[0]} == {None}
    assert {s.product for s in read(tmp_path, columns={"product": ""})[0]} == {None}


CLASSES = {
    "words": ["501 jeans", "90 denier tights", "hat"],
    "sizes of words": ["dress/mini", "dress/midi", "hat/sun"],
    "one code": ["dress/4711", "hat", "cap"],
    "seasons": [f"20{n}/dress" for n in range(20, 24)],
}


@pytest.mark.parametrize("case", CLASSES)
def test_classes_stay_classes(tmp_path, case):
    put_all(tmp_path, *CLASSES[case])
    reader, samples, _ = read_all(tmp_path)
    assert {s.product for s in samples} == {None} and not facts(reader, True)


def test_large_folders_with_codes_are_classes(tmp_path):
    """As those of ImageNet are, n01440764."""
    put_all(tmp_path, *(f"birds/n014407{n}" for n in range(3)), each=14)
    assert {s.product for s in read(tmp_path)[0]} == {None}


@pytest.mark.parametrize("start", ["", "images/", "products/", "Shop/Products/"])
def test_codes_without_a_class_are_asked_for(tmp_path, start):
    put_all(tmp_path, *(f"{start}B00A{n:02d}" for n in range(5)))
    reader, samples, _ = read_all(tmp_path)
    assert len(samples) == 10 and "5 folders such as 'B00A00'" in facts(reader, True)
    reader, samples, _ = read_all(tmp_path, folders="classes")
    assert len(samples) == 10 and not facts(reader, True)
    samples, rejected = read(tmp_path, folders="products")
    assert not samples and len(rejected) == 10


@pytest.mark.parametrize("start", ["", "women/"])
def test_many_small_folders_with_words_are_asked_for(tmp_path, start):
    put_all(tmp_path, *(f"{start}{'abcdefghijklmnopqrstu'[n]} silk dress" for n in range(21)))
    reader, samples, _ = read_all(tmp_path)
    assert "may be products or classes" in facts(reader, True)
    assert {s.product for s in samples} == {None}
    reader, samples, _ = read_all(tmp_path, folders="products")
    assert len({s.product for s in samples}) == 21 and not facts(reader, True)
    expected = "a photo of women" if start else "a photo of a silk dress"
    assert expected in {s.captions[0] for s in samples}
