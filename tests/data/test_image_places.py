"""Images of a table: several a row, in several columns, and wherever their files lie."""

import json
import os
import zlib
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from tests.support.catalogue import encoded, photo, put
from tests.support.reading import read
from unidiff_cli.config.prepare import Columns, Limits, Prepare
from unidiff_cli.data import readers
from unidiff_cli.data.doubts import Doubt
from unidiff_cli.data.readers.columns.image_cells import images_of
from unidiff_cli.errors import UsageError


def write(folder: Path, rows: list[dict], name="catalog.jsonl") -> Path:
    return put(folder / name, "".join(json.dumps(row) + "\n" for row in rows))


def names_of(folder: Path, **options) -> list[str]:
    """The file of each sample, relative to the catalogue; there are no rejected rows."""
    samples, rejected = read(folder, **options)
    assert not rejected, rejected
    return [sample.image.relative_to(readers.locate(folder)) for sample in samples]


def doubts_of(folder: Path, **options) -> list[Doubt]:
    reader = readers.choose(folder, Prepare(**options))
    list(reader)
    return reader.doubts()


def named(folder: Path, cells: list[str], files: list[str]) -> Path:
    """A catalogue with a table of these image cells, and these files."""
    for file in files:
        put(folder / file)
    return write(folder, [{"image": cell, "caption": f"thing {n}"} for n, cell in enumerate(cells)])


# ---------------------------------------------------------------- several in a cell

X_B = "https://x.org/b"


@pytest.mark.parametrize(
    ("cell", "images"),
    [
        ("a.jpg", ["a.jpg"]),
        ("a.jpg,b.jpg", ["a.jpg", "b.jpg"]),
        ("a.jpg | b.png | a.jpg", ["a.jpg", "b.png"]),
        ("a.jpg;\nb.jpg;", ["a.jpg", "b.jpg"]),
        ("i/a.jpg i/b.jpg  c.png", ["i/a.jpg", "i/b.jpg", "c.png"]),
        ("red dress.jpg", ["red dress.jpg"]),
        # A comma may stand inside an address.
        ("https://x.org/a.jpg?w=1,2, https://x.org/b", ["https://x.org/a.jpg?w=1,2", X_B]),
        ("https://x.org/b|https://x.org/b", [X_B]),
        ('["a.jpg", "b.jpg"]', ["a.jpg", "b.jpg"]),
        ("['a.jpg', 'b.jpg']", ["a.jpg", "b.jpg"]),
        ('[{"path": "a.jpg", "role": "main"}, {"url": "b.jpg"}]', ["a.jpg", "b.jpg"]),
        ([{"src": "a.jpg"}, {"src": "b.jpg"}], ["a.jpg", "b.jpg"]),
        ({"main": "a.jpg", "back": "b.jpg"}, ["a.jpg", "b.jpg"]),
        ({"main": {"url": "a.jpg"}, "thumb": {"url": "t.jpg"}}, ["a.jpg"]),
        ([{"url": "t.jpg", "role": "thumbnail"}, {"url": "a.jpg", "role": "base"}], ["a.jpg"]),
        ({"thumb": "t.jpg"}, ["t.jpg"]),
        ([{"url": "a.jpg", "label": "Small red bag"}], ["a.jpg"]),
        ({"bytes": None, "path": "a.jpg"}, ["a.jpg"]),
        ({"bytes": b"x", "path": "a.jpg"}, [b"x"]),
        ("co,mma.jpg", ["co,mma.jpg"]),
        ("line\nbreak.jpg", ["line\nbreak.jpg"]),
        ("[a].jpg", ["[a].jpg"]),
        ("{b}.jpg", ["{b}.jpg"]),
        (15970.0, ["15970"]),
        (15970, ["15970"]),
        (float("nan"), []),
        ("", []),
        (None, []),
        ([], []),
        ("[" * 50_000, ["[" * 50_000]),
    ],
)
def test_images_of_a_cell(cell, images):
    assert images_of(cell) == images


def test_each_image_of_a_row_is_a_sample_of_one_product(tmp_path):
    for letter in "abcd":
        put(tmp_path / f"{letter}.jpg")
    write(
        tmp_path,
        [
            {"images": ["a.jpg", "b.jpg"], "title": "a dress", "sku": "S1"},
            {"images": ["c.jpg", "gone.jpg", "d.jpg"], "title": "a hat"},
        ],
    )
    samples, rejected = read(tmp_path)
    assert [(s.row, s.product) for s in samples] == [
        ("catalog.jsonl:1", "S1"),
        ("catalog.jsonl:1, image 2", "S1"),
        ("catalog.jsonl:2", "catalog.jsonl:2"),
        ("catalog.jsonl:2, image 2", "catalog.jsonl:2"),
        ("catalog.jsonl:2, image 3", "catalog.jsonl:2"),
    ]
    assert not rejected and not samples[3].image.is_file()
    assert len(read(tmp_path, images="first")[0]) == 2


def test_more_images_than_a_row_may_have_cost_the_row(tmp_path):
    named(tmp_path, ["a.jpg", "a.jpg,b.jpg,c.jpg"], ["a.jpg", "b.jpg", "c.jpg"])
    samples, rejected = read(tmp_path, limits=Limits(images=2))
    assert len(samples) == 1 and "prepare.limits.images" in rejected[0].reason.text


# ---------------------------------------------------------------- several columns


def columns(folder: Path, sides: dict[str, int], count: int = 12) -> Path:
    """A table whose image columns hold photos of their own, so many pixels wide."""
    rows = []
    for n in range(count):
        row: dict[str, str] = {"title": f"a red dress {n}"}
        for number, (name, side) in enumerate(sides.items()):
            row[name] = f"{name}/{n}.jpg"
            put(folder / row[name], encoded(photo(n + 1000 * number, (side, side))))
        rows.append(row)
    return write(folder, rows)


@pytest.mark.parametrize(
    ("sides", "read_columns", "stops"),
    [
        # The larger of two copies, whichever comes first and whatever they are called.
        ({"image": 16, "photo": 64}, ["photo"], False),
        ({"image": 64, "photo": 16}, ["image"], False),
        ({"image": 64, "render": 32}, ["image"], False),
        ({"picture": 64, "thumbnail": 64}, ["picture"], False),
        ({"image": 64, "image_small": 64}, ["image"], False),
        ({"mask": 64, "image": 64}, ["image"], False),
        ({"image": 64, "depth_map": 64}, ["image"], False),
        # Further photos, small or not.
        ({"image": 64, "image_2": 64}, ["image", "image_2"], False),
        ({"image": 64, "back": 16}, ["image", "back"], False),
        ({"image": 64, "additional_images": 32}, ["image", "additional_images"], False),
        # Nobody knows.
        ({"source_image": 64, "target_image": 64}, ["source_image", "target_image"], True),
        ({"image": 64, "look": 64}, ["image", "look"], True),
    ],
)
def test_which_columns_are_read(tmp_path, sides, read_columns, stops):
    reader = readers.choose(columns(tmp_path, sides), Prepare())
    assert reader.columns.images.names == read_columns
    assert any(doubt.stops for doubt in reader.doubts()) == stops
    assert len(list(reader)) == 12 * len(read_columns)
    description = "\n".join(reader.describe())
    for name in set(sides) - set(read_columns):
        assert f"not read: {name}" in description


def test_image_columns_are_chosen_by_name(tmp_path):
    path = columns(tmp_path, {"image": 64, "look": 64})
    for chosen in ("look", ["image", "look"]):
        reader = readers.choose(path, Prepare(columns=Columns(image=chosen)))
        names = [chosen] if isinstance(chosen, str) else chosen
        assert reader.columns.images.names == names and not reader.doubts()


def test_a_column_with_the_same_files_is_said(tmp_path):
    put(tmp_path / "a.jpg")
    write(tmp_path, [{"image": "a.jpg", "photo": "./a.jpg", "caption": "x"}])
    reader = readers.choose(tmp_path, Prepare())
    assert len(list(reader)) == 1
    assert "not read: photo, the same files as image" in reader.describe()


def parquet(folder: Path, **cells) -> Path:
    pyarrow.parquet.write_table(pyarrow.table(cells), folder / "train.parquet")
    return folder / "train.parquet"


def stored(n: int, side: int = 32) -> dict:
    return {"bytes": encoded(photo(n, (side, side)), "PNG"), "path": f"{n}.png"}


def test_lists_of_images_in_parquet(tmp_path):
    images = [[stored(2 * n), stored(2 * n + 1)] for n in range(6)]
    path = parquet(tmp_path, images=images, text=[f"a dress {n}" for n in range(6)])
    samples, rejected = read(path)
    assert not rejected and len({s.image.read() for s in samples}) == 12
    assert readers.choose(path, Prepare()).extent().bytes == path.stat().st_size


def test_the_larger_images_in_parquet_are_read(tmp_path):
    count = 20
    path = parquet(
        tmp_path,
        image=[stored(n, 16) for n in range(count)],
        picture=[stored(n, 64) for n in range(count)],
        text=[f"a dress {n}" for n in range(count)],
    )
    assert readers.choose(path, Prepare()).columns.images.names == ["picture"]


def test_an_image_that_is_null_costs_its_row(tmp_path):
    put(tmp_path / "7.png", encoded(photo(7), "PNG"))
    images = [None, *(stored(n) for n in range(1, 9))]
    images[7] = {"bytes": None, "path": "7.png"}
    path = parquet(tmp_path, image=images, text=[f"a dress {n}" for n in range(9)])
    samples, rejected = read(path)
    assert [item.row for item in rejected] == ["train.parquet:1"]
    assert samples[6].image.name == "7.png" and samples[6].image.is_file()


# ---------------------------------------------------------------- where they are


@pytest.mark.parametrize(
    ("cells", "files"),
    [
        # Names only, in whatever folder.
        (["a.jpg", "b.jpg"], ["pics_2024/a.jpg", "pics_2024/b.jpg"]),
        (["a", "b"], ["data/2024/a.png", "data/2024/b.png"]),
        (["a.jpg", "b.jpg"], ["1/a.jpg", "2/b.jpg"]),
        # Below a media root.
        (["/m/h/a.jpg", "/x/y/b.jpg"], ["media/m/h/a.jpg", "media/x/y/b.jpg"]),
        (["m/a.jpg", "x/b.jpg"], ["wp-content/uploads/m/a.jpg", "wp-content/uploads/x/b.jpg"]),
        # Folders of another machine.
        (["C:\\shop\\a.jpg", "D:\\old shop\\img\\b.jpg"], ["images/a.jpg", "images/b.jpg"]),
        (["\\\\server\\photos\\1\\a.jpg", "\\\\server\\photos\\2\\b.jpg"], ["1/a.jpg", "2/b.jpg"]),
        (["/home/anna/shop/a.jpg", "/home/anna/shop/b.jpg"], ["a.jpg", "b.jpg"]),
        (["images\\a.jpg", "images\\b.jpg"], ["images/a.jpg", "images/b.jpg"]),
        # Addresses whose files lie beside.
        (["https://x.org/p/a.jpg?v=1", "//x.org/q/b.jpg"], ["img/a.jpg", "img/b.jpg"]),
        (["https://x.org/p/Red%20a.jpg", "https://x.org/b.jpg"], ["Red a.jpg", "b.jpg"]),
        (["images/a.jpg?v=1", "images/b.jpg?v=2"], ["images/a.jpg", "images/b.jpg"]),
    ],
)
def test_files_are_found_in_the_catalogue_and_it_is_said(tmp_path, cells, files):
    named(tmp_path, cells, files)
    assert names_of(tmp_path) == files and not doubts_of(tmp_path)


def test_absolute_paths_inside_the_catalogue_are_its_files(tmp_path):
    files = ["images/a.jpg", "b.jpg"]
    named(tmp_path, [str(tmp_path / "images" / "a.jpg"), "b.jpg"], files)
    assert names_of(tmp_path) == files


def test_folders_that_hold_the_same_names_are_asked_for(tmp_path):
    files = [f"{folder}/{name}.jpg" for folder in ("large", "web") for name in "ab"]
    named(tmp_path, ["a.jpg", "b.jpg"], files)
    (doubt,) = doubts_of(tmp_path)
    assert doubt.stops and "large" in doubt.fact and "web" in doubt.fact
    assert names_of(tmp_path, images_root="web") == ["web/a.jpg", "web/b.jpg"]
    assert not doubts_of(tmp_path, images_root="web")
    with pytest.raises(UsageError, match="no such folder"):
        read(tmp_path, images_root="nowhere")


@pytest.mark.parametrize("small", ["a_thumbs", "b-thumbnails", "icons", "masks"])
def test_folders_of_small_copies_are_not_asked_for(tmp_path, small):
    files = [f"{folder}/{name}.jpg" for folder in (small, "big") for name in "ab"]
    named(tmp_path, ["a.jpg", "b.jpg"], files)
    assert names_of(tmp_path) == ["big/a.jpg", "big/b.jpg"] and not doubts_of(tmp_path)


@pytest.mark.parametrize(
    ("cells", "files"),
    [
        (["images/img_1.jpg", "images/img_2.jpg"], ["images/IMG_1.JPG", "images/IMG_2.JPG"]),
        (["images/a.jpg", "images/b.jpg"], ["Images/a.jpg", "Images/b.jpg"]),
        (["Red%20a.jpg", "Red%20b.jpg"], ["Red a.jpg", "Red b.jpg"]),
        (["7", "12"], ["images/00007.jpg", "images/00012.jpg"]),
        (["a.jpg", "b.jpg"], ["a.webp", "b.webp"]),
        (["a.jpg", "B.jpg"], ["a.jpg", "b.jpg"]),
    ],
)
def test_names_spelled_otherwise_are_asked_for(tmp_path, cells, files):
    named(tmp_path, cells, files)
    (doubt,) = doubts_of(tmp_path)
    assert doubt.stops and f"did you mean '{files[-1]}'" in doubt.fact.replace(files[0], files[-1])
    assert names_of(tmp_path) == files
    assert names_of(tmp_path, spelling="loose") == files
    assert not doubts_of(tmp_path, spelling="loose")


def test_exact_spelling_takes_no_other_file(tmp_path):
    named(tmp_path, ["a.jpg", "b.jpg", "C.jpg"], ["a.jpg", "b.jpg", "c.jpg"])
    samples, _ = read(tmp_path, spelling="exact")
    assert [s.image.is_file() for s in samples] == [True, True, False]
    assert not doubts_of(tmp_path, spelling="exact")


def test_a_name_that_may_mean_several_files_costs_its_row(tmp_path):
    named(tmp_path, ["a.jpg", "b.jpg", "C.jpg"], ["a.jpg", "b.jpg", "c.jpg", "c.png"])
    _, (rejected,) = read(tmp_path)
    assert "may mean several: c.jpg and c.png" in rejected.reason.text


def test_nothing_outside_the_catalogue_is_read(tmp_path):
    put(tmp_path / "secret.jpg")
    shop = tmp_path / "shop"
    put(shop / "inside" / "a.jpg")
    os.symlink(tmp_path / "secret.jpg", shop / "inside" / "link.jpg")
    cells = ["../secret.jpg", str(tmp_path / "secret.jpg"), "x/../../secret.jpg", "link.jpg"]
    named(shop, ["a.jpg"] * 9 + cells, [])
    samples, rejected = read(shop)
    assert [s.image.kind() for s in samples[:9]] == ["file"] * 9
    assert all(s.image.kind() in (None, "outside") for s in samples[9:])
    assert len(samples) + len(rejected) == 13


def test_an_address_is_no_number_with_zeros_before_it(tmp_path):
    """LAION's addresses beside img2dataset's files: nobody knows which is which."""
    for n in range(12):
        put(tmp_path / "00000" / f"{n:09d}.jpg")
    lines = [{"url": f"https://x.example/{n}.jpg", "text": f"thing {n}"} for n in range(12)]
    put(tmp_path / "part.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(UsageError, match="which of the images"):
        readers.choose(tmp_path, Prepare())


# ---------------------------------------------------------------- what is no further photo


def photos_of(folder: Path, columns: dict[str, list[str]], sides: dict[str, int]):
    """A table of 24 rows with these columns of images, each image of its column's side."""
    lines = []
    for n in range(24):
        cells = {name: files[n % len(files)] for name, files in columns.items()}
        lines.append(cells | {"caption": f"thing {n}"})
        for name, file in cells.items():
            put(folder / file, encoded(photo(zlib.crc32(file.encode()), (sides[name],) * 2)))
    put(folder / "t.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    return readers.choose(folder, Prepare())


def files(pattern: str, count: int = 24) -> list[str]:
    return [pattern.format(n) for n in range(count)]


@pytest.mark.parametrize("name", ["brand_logo", "size_chart_image", "banner_url"])
@pytest.mark.parametrize("side", [40, 200])
def test_the_same_few_files_again_and_again_are_no_photo(tmp_path, name, side):
    names = {"image": files("i/{}.jpg"), name: files("l/{}.jpg", 4)}
    reader = photos_of(tmp_path, names, {"image": 96, name: side})
    assert reader.columns.images.names == ["image"] and not reader.doubts()
    assert "the same few files" in reader.columns.images.left_out[name]


def test_a_parents_photo_beside_that_of_the_variant_is_asked_for(tmp_path):
    parents = [f"p/{n // 4}.jpg" for n in range(24)]
    names = {"image": files("i/{}.jpg"), "master_photo": parents}
    reader = photos_of(tmp_path, names, {"image": 96, "master_photo": 300})
    assert set(reader.columns.images.names) == {"image", "master_photo"}
    assert [doubt.stops for doubt in reader.columns.images.doubts] == [True]


@pytest.mark.parametrize(
    "large, small",
    [("image_1920", "image_128"), ("image", "image_256x256"), ("photo_800px", "photo_100px")],
)
def test_of_sizes_of_one_photo_the_largest_is_read(tmp_path, large, small):
    names = {small: files("s/{}.jpg"), large: files("b/{}.jpg")}
    reader = photos_of(tmp_path, names, {small: 40, large: 96})
    assert reader.columns.images.names == [large]
    assert f"smaller size of {large}" in reader.columns.images.left_out[small]


@pytest.mark.parametrize("name", ["image_2", "photo02", "image 3"])
def test_small_numbers_count_photos(tmp_path, name):
    names = {"image": files("a/{}.jpg"), name: files("b/{}.jpg")}
    reader = photos_of(tmp_path, names, {"image": 96, name: 96})
    assert reader.columns.images.names == ["image", name]


@pytest.mark.parametrize(
    "one, other", [("winter/{}.jpg", "summer/{}.jpg"), ("/m/a/{}.jpg", "/m/b/{}.jpg")]
)
def test_two_names_that_are_found_as_one_file_are_asked_for(tmp_path, one, other):
    lines = []
    for n in range(12):
        put(tmp_path / "images" / f"{n}.jpg")
        lines += [{"image": x.format(n), "caption": f"{x[:9]} {n}"} for x in (one, other)]
    put(tmp_path / "t.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    reader = readers.choose(tmp_path, Prepare())
    assert len(list(reader)) == 24
    (doubt,) = reader.doubts()
    assert doubt.stops and "12 names mean a file that another name means too" in doubt.fact


@pytest.mark.parametrize(
    ("cell", "names"),
    [
        ("a.jpg ! alt : x ! title : y ! desc :  ! caption : | b.jpg ! alt : x", ["a.jpg", "b.jpg"]),
        ("https://x.org/a.jpg ! alt : a, b", ["https://x.org/a.jpg"]),
        ("wow ! a.jpg", ["wow ! a.jpg"]),
        ("a!.jpg", ["a!.jpg"]),
    ],
)
def test_words_behind_a_name_are_no_part_of_it(cell, names):
    assert images_of(cell) == names


def test_a_name_is_looked_up_once(tmp_path, monkeypatch):
    """A missing file was asked for five times in one pass, a link's end for every use of a file."""
    put(tmp_path / "shop" / "a.jpg")
    put(tmp_path / "shop" / "catalog.csv", "image,caption\na.jpg,red dress\ngone.jpg,blue hat\n")
    reader = readers.choose(tmp_path / "shop", Prepare())
    asked: list[str] = []
    for module, name in ((os, "stat"), (os.path, "realpath")):
        real = getattr(module, name)

        def counted(path, *args, _real=real, _name=name, **more):
            asked.append(f"{_name} {Path(str(path)).name}")
            return _real(path, *args, **more)

        monkeypatch.setattr(module, name, counted)
    extent = reader.extent()
    monkeypatch.undo()
    assert extent.rows == 2 and reader.lost.total() == 1
    assert asked.count("stat gone.jpg") == 2
    assert asked.count("stat a.jpg") == 2 and asked.count("realpath a.jpg") == 1
    (sample,) = [item for item in reader if getattr(item, "image", None) and item.image.exists()]
    assert sample.image.relative_to(reader.root) == "a.jpg"
