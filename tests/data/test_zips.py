"""Zips: beside a table, or as the catalogue; read where they are, never unpacked, never trusted."""

import io
import stat
import zipfile
from pathlib import Path

import pytest

from tests.support.catalogue import encoded, jpeg, photo, put
from tests.support.reading import facts, read, read_all
from unidiff_cli.data.decode import decode_pixels
from unidiff_cli.data.locations import LocalPath
from unidiff_cli.data.zips import InZip
from unidiff_cli.errors import WorkError


def zip_of(path: Path, members: dict[str, bytes], packing: int = zipfile.ZIP_DEFLATED) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", packing) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def images(prefix: str = "", count: int = 4) -> dict[str, bytes]:
    return {f"{prefix}p{n}.jpg": encoded(photo(n)) for n in range(count)}


def table(names) -> str:
    return "image,caption\n" + "".join(f"{name},red dress {n}\n" for n, name in enumerate(names))


def captions(samples) -> list[str]:
    return [sample.captions[0] for sample in samples]


DRESSES = [f"red dress {n}" for n in range(4)]

# Names in the table, and in the zip.
BESIDE = {
    "names": ("p{}.jpg", ""),
    "the folder in both": ("images/p{}.jpg", "images/"),
    "the zip's own name": ("images/p{}.jpg", ""),
    "a folder in the zip": ("shop/p{}.jpg", "shop/"),
    "a folder only in the zip": ("p{}.jpg", "images/"),
}


@pytest.mark.parametrize("case", BESIDE)
def test_images_of_a_table_may_lie_in_a_zip(tmp_path, case):
    name, prefix = BESIDE[case]
    zip_of(tmp_path / "images.zip", images(prefix))
    put(tmp_path / "captions.csv", table(name.format(n) for n in range(4)))
    reader, samples, rejected = read_all(tmp_path)
    assert captions(samples) == DRESSES and not rejected and not facts(reader)
    assert samples[0].image.read() == encoded(photo(0))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["captions.csv", "images.zip"]


def test_images_of_a_zip_decode_in_other_processes(tmp_path):
    zip_of(tmp_path / "images.zip", images())
    put(tmp_path / "captions.csv", table(images()))
    samples, _ = read(tmp_path)
    pixels = list(decode_pixels(sample.image for sample in samples))
    assert [image.size for image in pixels] == [photo(0).size] * 4


def test_a_file_beside_wins_over_one_in_a_zip(tmp_path):
    zip_of(tmp_path / "images.zip", images())
    put(tmp_path / "images" / "p0.jpg", jpeg("red"))
    put(tmp_path / "captions.csv", table(f"images/p{n}.jpg" for n in range(4)))
    samples, _ = read(tmp_path)
    assert samples[0].image.read() == jpeg("red") and samples[1].image.read() == encoded(photo(1))


CATALOGUES = {
    "a table": {**images("images/"), "catalog.csv": table(images("images/")).encode()},
    "a table in a folder": {**images("shop/"), "shop/catalog.csv": table(images()).encode()},
    "texts": {**images(), **{f"p{n}.txt": f"red dress {n}".encode() for n in range(4)}},
    "made on a Mac": {
        **images("shop/"),
        **{f"shop/p{n}.txt": f"red dress {n}".encode() for n in range(4)},
        **{f"__MACOSX/shop/._p{n}.jpg": b"Mac OS X" for n in range(4)},
    },
    "made on Windows": {
        **{name.replace("/", "\\"): data for name, data in images("shop/").items()},
        **{f"shop\\p{n}.txt": f"red dress {n}".encode() for n in range(4)},
    },
}


@pytest.mark.parametrize("case", CATALOGUES)
@pytest.mark.parametrize("how", ["the zip", "its folder"])
def test_a_zip_is_a_catalogue(tmp_path, case, how):
    path = zip_of(tmp_path / "shop.zip", CATALOGUES[case])
    reader, samples, rejected = read_all(path if how == "the zip" else tmp_path)
    assert captions(samples) == DRESSES and not rejected and not facts(reader)
    assert reader.extent().rows == 4 and reader.extent() == reader.extent()


def test_a_zip_beside_images_is_named(tmp_path):
    put(tmp_path / "dress" / "a.jpg")
    zip_of(tmp_path / "more.zip", images())
    reader, samples, _ = read_all(tmp_path)
    assert len(samples) == 1 and "Zips that are not read: more.zip" in facts(reader, True)


def test_utf8_names_of_macos_are_read(tmp_path):
    """macOS does not set the bit that says so."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("größe.jpg", jpeg())
    # The bit is the highest of the second byte of the flags, in both headers.
    raw = bytearray(data.getvalue())
    raw[7] = 0
    raw[raw.index(b"PK\1\2") + 9] = 0
    archive_path = put(tmp_path / "x.zip", bytes(raw))
    assert [file.name for file in InZip(LocalPath(archive_path)).files()] == ["größe.jpg"]


# ---------------------------------------------------------------- hostile


def test_names_that_lead_out_and_links_are_no_files(tmp_path):
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("../a.jpg", "/b.jpg", "c/../../d.jpg", "ok/e.jpg"):
            archive.writestr(name, jpeg())
        link = zipfile.ZipInfo("link.jpg")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    top = InZip(LocalPath(path))
    assert [entry.location.name for entry in top.entries()] == ["ok"]
    assert not top.child("../x.zip").exists() and not top.child("link.jpg").exists()


def test_a_bomb_is_one_bad_row(tmp_path):
    members = {"bomb.jpg": bytes(50 << 20), "a.jpg": encoded(photo(1))}
    zip_of(tmp_path / "images.zip", members)
    put(tmp_path / "captions.csv", table(members))
    samples, _ = read(tmp_path)
    with pytest.raises(OSError, match="larger than"):
        samples[0].image.read(1 << 20)
    assert samples[1].image.read(1 << 20) == encoded(photo(1))


def test_damage_costs_its_member(tmp_path):
    path = zip_of(tmp_path / "shop.zip", CATALOGUES["texts"], zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    place = data.index(encoded(photo(1)))
    data[place + 20 : place + 60] = b"x" * 40
    path.write_bytes(data)
    samples, _ = read(path)
    assert len(samples) == 4
    with pytest.raises(OSError, match=r"damaged in its zip|Bad CRC"):
        samples[1].image.read()
    assert samples[2].image.read() == encoded(photo(2))


@pytest.mark.parametrize("data", [b"", b"PK\3\4 and no more", b"no zip"])
@pytest.mark.parametrize("how", ["the zip", "its folder"])
def test_what_is_no_zip_is_said(tmp_path, data, how):
    path = put(tmp_path / "shop.zip", "x")
    path.write_bytes(data)
    with pytest.raises(WorkError, match=r"shop.zip is not readable as a zip"):
        read(path if how == "the zip" else tmp_path)
