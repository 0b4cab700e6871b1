"""Tars as people write them: several images a key, dots in names, members far apart, folders."""

import json
from pathlib import Path

import pytest

from tests.support.catalogue import jpeg, tar_of
from tests.support.reading import facts, read, read_all
from unidiff_cli.config.prepare import Prepare
from unidiff_cli.data import readers
from unidiff_cli.data.readers import webdataset
from unidiff_cli.data.readers.tars import look, pending
from unidiff_cli.data.sample import Cause


def write(path: Path, *names: str, text: str = "red dress") -> Path:
    """A tar of images and texts; a text is the word and its own key."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return tar_of(path, [(n, jpeg() if is_image(n) else f"{text} {n}".encode()) for n in names])


def is_image(name: str) -> bool:
    return name.endswith((".jpg", ".png", ".webp"))


def dotted(start: str, count: int = 12) -> list[str]:
    return [f"{start}{n:03d}.{kind}" for n in range(count) for kind in ("jpg", "txt")]


# ---------------------------------------------------------------- several images of a key

VIEWS = {
    "views": ("0.front.jpg 0.back.jpg 0.txt", ["0.front.jpg", "0.back.jpg"]),
    "numbers": ("0.0.jpg 0.1.jpg 0.2.jpg 0.txt", ["0.0.jpg", "0.1.jpg", "0.2.jpg"]),
    "one plain": ("0.jpg 0.back.jpg 0.txt", ["0.jpg", "0.back.jpg"]),
    "two formats": ("0.jpg 0.png 0.txt", ["0.jpg", "0.png"]),
    "a mask": ("0.jpg 0.mask.png 0.txt", [""]),
    "a view with a mask": ("0.a.jpg 0.a.mask.png 0.b.jpg 0.txt", ["0.a.jpg", "0.b.jpg"]),
    "a control image": ("0.conditioning.png 0.image.jpg 0.txt", [""]),
    "before and after": ("0.input.jpg 0.output.jpg 0.txt", [""]),
    "an input alone": ("0.input.jpg 0.outputs.txt", [""]),
    "masks only": ("0.mask.png 0.txt", [""]),
}


@pytest.mark.parametrize("case", VIEWS)
def test_each_image_of_a_key_is_a_sample_of_one_product(tmp_path, case):
    names, rows = VIEWS[case]
    reader, samples, rejected = read_all(write(tmp_path / "x.tar", *names.split()))
    assert [s.row for s in samples] == [f"x.tar:{row or '0'}" for row in rows] and not rejected
    text = names.split()[-1]
    assert {s.captions for s in samples} == {(f"red dress {text}",)}
    assert {s.product for s in samples} == {"x.tar:0" if len(rows) > 1 else None}
    images = sum(map(is_image, names.split()))
    assert reader.notes[webdataset.FURTHER] == images - len(rows) and not facts(reader)


def test_a_view_with_a_text_of_its_own_gets_that(tmp_path):
    names = "0.front.jpg 0.front.txt 0.back.jpg 0.back.txt 1.jpg 1.txt".split()
    samples, _ = read(write(tmp_path / "x.tar", *names), tar_keys="first")
    assert [(s.captions[0], s.product) for s in samples] == [
        ("red dress 0.front.txt", "x.tar:0"),
        ("red dress 0.back.txt", "x.tar:0"),
        ("red dress 1.txt", None),
    ]


def test_a_product_of_the_json_wins(tmp_path):
    entries = [("0.a.jpg", jpeg()), ("0.b.jpg", jpeg())]
    entries += [("0.json", b'{"caption": "c", "product_id": "P1"}')]
    assert {s.product for s in read(tar_of(tmp_path / "x.tar", entries))[0]} == {"P1"}


# ---------------------------------------------------------------- dots

DOTTED = ["img.v1.2.", "shop/2024.01/img.", "v2.0-", "a.b.c."]


@pytest.mark.parametrize("start", DOTTED)
def test_samples_under_one_key_stop(tmp_path, start):
    tar = write(tmp_path / "x.tar", *dotted(start))
    reader, samples, rejected = read_all(tar)
    assert len(samples) == 12 and not rejected
    assert [len(sample.captions) for sample in samples] == [1] * 12
    # A folder with a dot is no key: only the name behind it counts.
    assert "tar_keys" in reader.doubts()[0].action and reader.doubts()[0].stops
    reader, samples, _ = read_all(tar, tar_keys="last")
    assert [s.row for s in samples][:2] == [f"x.tar:{start}000", f"x.tar:{start}001"]
    assert {s.product for s in samples} == {None} and not facts(reader)
    reader, samples, _ = read_all(tar, tar_keys="first")
    assert len({s.product for s in samples}) == 1 and not facts(reader)


def test_dots_of_different_keys_are_no_doubt(tmp_path):
    names = [f"{n}.v1.{kind}" for n in range(12) for kind in ("jpg", "txt")]
    reader, samples, _ = read_all(write(tmp_path / "x.tar", *names))
    assert [s.row for s in samples] == [f"x.tar:{n}" for n in range(12)] and not facts(reader)


@pytest.mark.parametrize("number", [1, 3])
def test_keys_of_any_tar_are_looked_at(tmp_path, number):
    for n in range(4):
        names = dotted("img.v1.2." if n == number else "")
        write(tmp_path / f"shop-{n:03d}.tar", *names)
    reader, samples, rejected = read_all(tmp_path)
    assert len(samples) == 48 and not rejected and {s.product for s in samples} == {None}
    assert "have the key 'img'" in facts(reader, True)


def test_a_key_of_many_samples_is_noticed_late(tmp_path, monkeypatch):
    """In a tar that was not looked into."""
    monkeypatch.setattr(look, "TARS", 1)
    write(tmp_path / "a.tar", *dotted(""))
    write(tmp_path / "b.tar", *dotted("img.v1.2."))
    reader = readers.choose(tmp_path, Prepare())
    assert not facts(reader)
    assert len(list(reader)) and "have the key" in facts(reader, True)


# ---------------------------------------------------------------- order

ORDERS = {
    "images first": lambda n: [f"{i}.jpg" for i in n] + [f"{i}.txt" for i in n],
    "texts first": lambda n: [f"{i}.txt" for i in n] + [f"{i}.jpg" for i in n],
    "backwards": lambda n: [f"{i}.txt" for i in n] + [f"{i}.jpg" for i in reversed(n)],
    "mixed": lambda n: [f"{i}.jpg" for i in n[:3]] + dotted("x", 2) + [f"{i}.txt" for i in n[:3]],
}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_members_far_apart_are_one_sample(tmp_path, order, mode):
    names = ORDERS[order](range(6))
    entries = [(n, jpeg() if is_image(n) else n.encode()) for n in names]
    path = tar_of(tmp_path / ("x.tar.gz" if ":" in mode else "x.tar"), entries, mode)
    reader, samples, rejected = read_all(path)
    assert not rejected and len(samples) == sum(map(is_image, names))
    assert {s.captions[0] for s in samples} == {n for n in names if n.endswith(".txt")}
    assert all(s.image.read() == jpeg() for s in samples)
    # The last text and the last image lie side by side when one list runs backwards.
    assert reader.notes[webdataset.APART] == {"mixed": 3, "backwards": 5}.get(order, 6)


def test_images_texts_and_notes_far_apart_are_one_sample(tmp_path):
    keys = range(4)
    entries = [(f"{k}.jpg", jpeg()) for k in keys]
    entries += [(f"{k}.json", json.dumps({"price": k}).encode()) for k in keys]
    entries += [(f"{k}.txt", f"dress {k}".encode()) for k in keys]
    samples, rejected = read(tar_of(tmp_path / "x.tar", entries))
    assert [(s.captions[0], s.attributes) for s in samples] == [
        (f"dress {k}", {"price": k}) for k in keys
    ]
    assert not rejected


def test_what_never_comes_is_a_row(tmp_path):
    entries = [("0.jpg", jpeg()), ("1.txt", b"c"), ("2.jpg", jpeg()), ("2.txt", b"d")]
    samples, rejected = read(tar_of(tmp_path / "x.tar", entries))
    assert len(samples) == 1
    assert [(r.row, r.reason.text.split(":")[0]) for r in rejected] == [
        ("x.tar:0", "no caption"),
        ("x.tar:1", "no image among its members"),
    ]


def test_what_waits_has_a_bound(tmp_path, monkeypatch):
    monkeypatch.setattr(pending, "HELD", 500)
    names = ORDERS["images first"](range(6))
    samples, rejected = read(write(tmp_path / "x.tar", *names))
    assert len(samples) + len(rejected) >= 6 and rejected


# ---------------------------------------------------------------- folders, failures, letters


@pytest.mark.parametrize("place", ["{split}/00000.tar", "shop-{split}-000000.tar", "{split}.tar"])
def test_folders_and_names_of_tars_give_the_split(tmp_path, place):
    for split, name in (("train", "0"), ("train", "1"), ("val", "2")):
        path = tmp_path / place.format(split=split).replace("0.tar", f"{name}.tar")
        if not path.exists():
            write(path, f"{name}.jpg", f"{name}.txt")
    reader, samples, _ = read_all(tmp_path)
    assert {s.split for s in samples} == {"train", "val"} and not facts(reader)
    assert len({s.row for s in samples}) == len(samples)
    assert "splits by the tars' names: train, val" in reader.describe()


def test_tars_of_one_split_have_none(tmp_path):
    for n in range(2):
        write(tmp_path / "train" / f"{n:05d}.tar", "0.jpg", "0.txt")
    samples, _ = read(tmp_path)
    assert [s.split for s in samples] == [None, None]
    assert [s.row for s in samples] == ["train/00000.tar:0", "train/00001.tar:0"]


def test_macos_members_and_tars_are_no_samples(tmp_path):
    write(
        tmp_path / "x.tar", "./", "./0.jpg", "./._0.jpg", "./0.txt", "__MACOSX/._0.txt", "a/._0.jpg"
    )
    write(tmp_path / "._x.tar", "9.jpg", "9.txt")
    samples, rejected = read(tmp_path)
    assert [s.row for s in samples] == ["x.tar:0"] and not rejected


def test_failed_downloads_say_so(tmp_path):
    meta = {"caption": None, "status": "failed_to_download"}
    entries = [("0.json", json.dumps(meta).encode()), ("0.txt", b"")]
    entries += [("1.jpg", jpeg()), ("1.txt", b"c"), ("1.json", b'{"status": "success"}')]
    samples, (rejected,) = read(tar_of(tmp_path / "x.tar", entries))
    assert len(samples) == 1 and "failed_to_download" in rejected.reason.text


def test_numbers_of_classes_are_no_captions(tmp_path):
    samples, (rejected,) = read(tar_of(tmp_path / "x.tar", [("0.jpg", jpeg()), ("0.cls", b"3")]))
    assert not samples and rejected.reason.cause is Cause.NO_CAPTION
    assert ".cls is the number of a class" in rejected.reason.text


@pytest.mark.parametrize("name", ["dress", "summer_dress", "платье", "t-shirt\n", "501 jeans"])
def test_names_of_classes_are_captions(tmp_path, name):
    entries = [("0.jpg", jpeg()), ("0.cls", name.encode())]
    entries += [("1.jpg", jpeg()), ("1.cls", name.encode()), ("1.txt", b"a hat")]
    samples, rejected = read(tar_of(tmp_path / "x.tar", entries))
    words = name.strip().replace("_", " ").replace("-", " ")
    assert [s.captions for s in samples] == [(f"a photo of {words}",), ("a hat",)] and not rejected
    assert samples[0].attributes == {"class": name.strip()}


FOLDERS = ["{split}/", "shop/{split}/dress/", "./{split}_images/", "dress/{split}/"]


@pytest.mark.parametrize("place", FOLDERS)
def test_folders_of_members_give_the_split(tmp_path, place):
    places = [place.format(split=split) for split in ("train", "test")]
    names = [f"{p}000{n}.{kind}" for p in places for n in range(2) for kind in ("jpg", "txt")]
    reader, samples, rejected = read_all(write(tmp_path / "x.tar", *names))
    assert [s.split for s in samples] == ["train", "train", "test", "test"] and not rejected
    assert len({s.row for s in samples}) == 4 and not facts(reader)
    samples, _ = read(tmp_path / "x.tar", columns={"split": ""})
    assert {s.split for s in samples} == {None}


def test_folders_of_members_that_name_no_split_stop(tmp_path):
    names = [f"{p}/0.{kind}" for p in ("train", "test", "more") for kind in ("jpg", "txt")]
    reader, samples, _ = read_all(write(tmp_path / "x.tar", *names))
    assert [s.split for s in samples] == ["train", "test", "train"]
    assert "'more' beside them name none" in facts(reader, True)


def test_texts_of_tars_have_an_encoding(tmp_path):
    entries = []
    for n in range(12):
        text = f"красное платье {n}".encode("cp1251")
        entries += [(f"{n}.jpg", jpeg()), (f"{n}.txt", text)]
    reader, samples, _ = read_all(tar_of(tmp_path / "x.tar", entries))
    assert samples[3].captions == ("красное платье 3",) and "12 texts" in facts(reader)


def test_wrapped_texts_of_tars_are_asked_for(tmp_path):
    entries = [("0.jpg", jpeg()), ("0.txt", b"A photo of\na red dress")]
    reader, samples, _ = read_all(tar_of(tmp_path / "x.tar", entries))
    assert samples[0].captions == ("A photo of a red dress",)
    assert "one wrapped sentence" in facts(reader, True)
