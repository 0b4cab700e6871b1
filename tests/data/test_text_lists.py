"""Texts whose lines name images: Flickr8k's captions are read, what nobody knows is named."""

import time
from pathlib import Path

import pytest

from tests.support.catalogue import put
from tests.support.reading import facts, read, read_all
from unidiff_cli.data.readers.catalogue import text_lists
from unidiff_cli.data.readers.rows import token_table

LOST = "Texts whose lines name images are not read: "


def images(folder: Path, count: int = 6) -> list[str]:
    return [put(folder / f"p{n}.jpg").name for n in range(count)]


def caption(n: int, k: int = 0) -> str:
    return f"A red dress number {n} seen {k} times ."


def tokens(names: list[str], per_image: int = 3) -> str:
    return "".join(
        f"{name}#{k}\t{caption(n, k)}\n" for n, name in enumerate(names) for k in range(per_image)
    )


# ---------------------------------------------------------------- name.jpg#0, a tab and a caption


@pytest.mark.parametrize(
    "name", ["Flickr8k.token.txt", "results_20130124.token", "lists/captions.txt", "captions.tsv"]
)
def test_flickrs_tokens_are_read_with_all_captions_of_an_image(tmp_path, name):
    put(tmp_path / name, tokens(images(tmp_path / "Flicker8k_Dataset")))
    reader, samples, rejected = read_all(tmp_path)
    assert not rejected and not facts(reader)
    assert [s.captions for s in samples] == [
        tuple(caption(n, k) for k in range(3)) for n in range(6)
    ]
    assert samples[1].row == f"{Path(name).name}:4"


def test_a_line_of_tokens_that_is_none_costs_itself(tmp_path):
    text = tokens(images(tmp_path)) + "p9.jpg A dog runs\n" + "\n" + "p0.jpg#9\tA last one .\n"
    samples, (rejected,) = read(put(tmp_path / "a.token", text).parent)
    assert len(samples) == 7 and samples[-1].captions == ("A last one .",)
    assert rejected.row == "a.token:19" and "tab and a caption" in rejected.reason.text


def test_lists_of_splits_beside_tokens_are_named(tmp_path):
    names = images(tmp_path / "photos")
    put(tmp_path / "Flickr8k.token.txt", tokens(names))
    put(tmp_path / "Flickr_8k.trainImages.txt", "\n".join(names[:3]))
    put(tmp_path / "Flickr_8k.testImages.txt", "\n".join(names[3:]))
    reader, samples, _ = read_all(tmp_path)
    assert len(samples) == 6
    lists = "Flickr_8k.testImages.txt, Flickr_8k.trainImages.txt."
    assert facts(reader, stops=False) == LOST + lists


# ---------------------------------------------------------------- what nobody knows

LISTS = {
    "captions.dat": "p{n}.jpg -> a red dress number {n}",
    "list.lst": "{n}\t0.0\tshirts/p{n}.jpg",
    "Anno/list_attr.txt": "img/shirts/p{n}.jpg    1 -1 -1",
    "captions.sql": "INSERT INTO photos VALUES ({n}, 'p{n}.jpg', 'a red dress');",
    "captions": "p{n}.jpg A red dress number {n}",
    "stems.txt": "p{n} A red dress number {n}",
    "windows.txt": "C:\\shop\\p{n}.jpg\r\nred dress {n}",
    "flat.txt": "sku-{n}\tred dress {n}\tP{n}.JPG\t\t",
}


@pytest.mark.parametrize("name", LISTS)
def test_a_text_that_names_images_stops_where_folders_would_give_captions(tmp_path, name):
    images(tmp_path / "shirts")
    put(tmp_path / name, "".join(LISTS[name].format(n=n) + "\n" for n in range(6)))
    reader, samples, _ = read_all(tmp_path)
    assert len(samples) == 6 and facts(reader, stops=True) == f"{LOST}{name}."
    samples, _ = read(tmp_path, reader="folder")
    assert samples[0].captions == ("a photo of shirts",)


def test_a_list_in_utf16_is_found(tmp_path):
    text = "\n".join(f"{name}\tein Kleid" for name in images(tmp_path / "shirts"))
    put(tmp_path / "liste.asc", text.encode("utf-16"))
    assert facts(read_all(tmp_path)[0], stops=True) == f"{LOST}liste.asc."


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("README.txt", "Photos of shirts, such as p0.jpg and p1.jpg.\nTaken in 2026.\nBy us.\n"),
        ("MD5SUMS", "".join(f"{n:032x}  shirts/p{n}.jpg\n" for n in range(6))),
        ("classes.txt", "shirts\ndresses\nhats\n"),
        ("download.log", "".join(f"GET p{n}.jpg 200\n" for n in range(6))),
        ("other.txt", "".join(f"q{n}.jpg a red dress\n" for n in range(6))),
        ("data.bin", "\0".join(f"p{n}.jpg" for n in range(6))),
    ],
)
def test_other_files_are_no_lists(tmp_path, name, text):
    images(tmp_path / "shirts")
    put(tmp_path / name, text)
    assert LOST not in facts(read_all(tmp_path)[0])


# ---------------------------------------------------------------- long lines


@pytest.mark.parametrize("line", [" " * 5000, "a b " * 16_000, "# " * 30_000, "x.jpg " * 10_000])
def test_a_long_line_is_looked_at_in_time(line):
    start = time.process_time()
    assert token_table._parts_of(line) is None
    assert len(list(text_lists._names_in(line))) == line.count(".jpg")
    assert time.process_time() - start < 2


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        ("\ufeff a.jpg#0\ta dress ", ("a.jpg", "a dress")),
        ("a #1.jpg # 12 \t a\tb", ("a #1.jpg", "a\tb")),
        ("a.jpg#x\ta dress", None),
        ("a.jpg#0 a dress", None),
        ("#0\ta dress", None),
    ],
)
def test_a_line_of_tokens_is_an_image_a_number_and_a_caption(line, parts):
    assert token_table._parts_of(line) == parts


def test_names_of_images_begin_behind_what_delimits_them():
    line = "img/red dress 1.jpg, 'b.PNG' .jpg;c.jpgx d.jpg.bak " + "e" * 300 + ".png"
    names = list(text_lists._names_in(line))
    assert names[:2] == ["red dress 1.jpg", "b.PNG"] and len(names[-1]) == 255 + 4
