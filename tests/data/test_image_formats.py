"""Formats and what they carry: texts in PNG, HEIC, several frames, transparency on a colour."""

import io
import struct
import sys
import zlib

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from tests.support.catalogue import bounds, encoded, photo
from unidiff_cli.config.prepare import Prepare
from unidiff_cli.data import heic
from unidiff_cli.data.image_files import is_light
from unidiff_cli.data.images import PreparedImage, prepare_image
from unidiff_cli.data.locations import InMemory
from unidiff_cli.data.png_notes import without_notes

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def prepared(data: bytes, background="white") -> PreparedImage:
    image = prepare_image(InMemory("image", data), 1024, bounds(), background)
    assert isinstance(image, PreparedImage), image
    return image


def pixels(image: PreparedImage | Image.Image) -> np.ndarray:
    if isinstance(image, PreparedImage):
        image = Image.open(io.BytesIO(image.data))
    return np.asarray(image.convert("RGB")).astype(int)


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def with_chunks(data: bytes, *chunks: bytes, at: int = 33) -> bytes:
    """A PNG with chunks behind its header, or before its end (at=-12)."""
    return data[:at] + b"".join(chunks) + data[at:]


# ---------------------------------------------------------------- texts in PNG


def large(zip=True, international=False) -> PngImagePlugin.PngInfo:
    """A note of 3 MB, as editors and generators of images write them."""
    note = PngImagePlugin.PngInfo()
    if international:
        note.add_itxt("workflow", "ü" * 1_500_000, zip=zip)
    else:
        note.add_text("parameters", "x" * 3_000_000, zip=zip)
    return note


@pytest.mark.parametrize(
    "note", [large(), large(zip=False), large(international=True), large(False, True)]
)
def test_a_png_with_a_long_text_is_a_sound_image(note):
    data = encoded(photo(0), "PNG", pnginfo=note)
    assert np.abs(pixels(prepared(data)) - pixels(photo(0))).mean() < 3
    assert is_light(InMemory("image", data))


def test_many_texts_that_unpack_to_gigabytes_are_never_unpacked():
    bomb = chunk(b"zTXt", b"note\0\0" + zlib.compress(bytes(4_000_000), 9))
    for at in (33, -12):
        data = with_chunks(encoded(photo(0), "PNG"), *[bomb] * 200, at=at)
        assert without_notes(data) == encoded(photo(0), "PNG")
        assert prepared(data).width == 48


def test_texts_with_wrong_checksums_cost_nothing():
    text = chunk(b"tEXt", b"a\0b")[:-4] + b"\0\0\0\0"
    assert prepared(with_chunks(encoded(photo(0), "PNG"), text)).width == 48


def test_an_orientation_in_a_text_is_kept():
    exif = Image.Exif()
    exif[0x0112] = 6
    packed = b"\nexif\n%8d\n" % len(exif.tobytes()) + exif.tobytes().hex().encode()
    raw = chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(packed))
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/" tiff:Orientation="6"></x:xmpmeta>'
    plain = chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp)
    for text in (raw, plain):
        data = with_chunks(encoded(photo(0), "PNG"), text, large_text())
        image = prepared(data)
        assert (image.width, image.height) == (40, 48) and "rotated" in image.changes


def large_text() -> bytes:
    return chunk(b"zTXt", b"note\0\0" + zlib.compress(bytes(3_000_000), 9))


@pytest.mark.parametrize("size", [1 << 17, 1 << 22])
def test_an_orientation_text_that_is_too_large_is_left_away(size):
    text = chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(bytes(size * 8), 9))
    junk = chunk(b"tEXt", b"Raw profile type exif\0" + b"0" * size)
    for piece in (text, junk):
        data = with_chunks(encoded(photo(0), "PNG"), piece)
        assert without_notes(data) == encoded(photo(0), "PNG")


def test_what_is_no_png_or_breaks_off_stays_as_it_is():
    data = encoded(photo(0), "PNG")
    broken = (b"", b"\x89PNG", SIGNATURE, SIGNATURE + b"\xff" * 20, encoded(photo(0)), data)
    for item in (*broken, *(data[:n] for n in range(0, len(data), 97))):
        assert without_notes(item) == item


# ---------------------------------------------------------------- HEIC


def a_heic(**options) -> bytes:
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.register_heif_opener(thumbnails=False)
    return encoded(photo(3, (64, 48)), "HEIF", quality=95, **options)


def test_heic_is_an_image_where_the_package_is_there():
    result = prepared(a_heic())
    assert np.abs(pixels(result) - pixels(photo(3, (64, 48)))).mean() < 12
    assert Image.open(io.BytesIO(result.data)).format == "JPEG"


def test_heic_is_put_upright_once():
    exif = Image.Exif()
    exif[0x0112] = 6
    image = prepared(a_heic(exif=exif.tobytes()))
    assert (image.width, image.height) == (48, 64)
    wanted = pixels(photo(3, (64, 48)).transpose(Image.Transpose.ROTATE_270))
    assert np.abs(pixels(image) - wanted).mean() < 12


def test_heic_has_the_limits_of_every_image():
    data = a_heic()
    assert "pixels" in prepare_image(InMemory("x", data), 64, bounds(1000)).text
    assert "HEIC" in prepare_image(InMemory("x", data[:200]), 64, bounds()).text
    assert not is_light(InMemory("x", data))
    for n in range(0, len(data), 37):
        damaged = data[:n] + bytes([data[n] ^ 0x55]) + data[n + 1 :]
        assert prepare_image(InMemory("x", damaged), 64, bounds())


@pytest.mark.parametrize("brand", [b"heic", b"heix", b"mif1", b"hevc"])
def test_without_the_package_heic_says_what_to_install(monkeypatch, brand):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    heic.can_read_heic.cache_clear()
    data = b"\0\0\0\x18ftyp" + brand + b"\0\0\0\0mif1heic" + bytes(500)
    reason = prepare_image(InMemory("x", data), 64, bounds())
    heic.can_read_heic.cache_clear()
    assert reason.text == "a HEIC image; pip install 'unidiff-cli[heic]', or save it as JPEG"


def test_avif_is_no_heic():
    assert not heic.is_heic(encoded(photo(0), "AVIF"))
    assert not heic.is_heic(b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf" + bytes(99))


# ---------------------------------------------------------------- other formats


@pytest.mark.parametrize("mode", ["RGB", "L", "1"])
def test_portable_pixmaps_are_read(mode):
    image = photo(4).convert(mode)
    assert np.abs(pixels(prepared(encoded(image, "PPM"))) - pixels(image)).mean() < 14


@pytest.mark.parametrize(
    "data, words",
    [
        (encoded(photo(0), "JPEG2000"), "a JPEG 2000 image"),
        (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(50), "a JPEG XL image"),
        (encoded(photo(0), "ICO"), "an icon file"),
    ],
)
def test_formats_that_are_not_read_are_named(data, words):
    assert words in prepare_image(InMemory("x", data), 64, bounds()).text


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF", "MPO"])
def test_the_first_of_several_images_is_taken_and_said(kind):
    frames = {"save_all": True, "append_images": [photo(6), photo(7)]}
    image = prepared(encoded(photo(5), kind, **frames))
    assert "first_frame" in image.changes
    assert np.abs(pixels(image) - pixels(photo(5))).mean() < 14
    assert "first_frame" not in prepared(encoded(photo(5), "JPEG")).changes


def test_lab_and_cmyk_look_as_they_did():
    for mode, kind in (("LAB", "TIFF"), ("CMYK", "TIFF"), ("CMYK", "JPEG")):
        image = prepared(encoded(photo(8).convert(mode), kind))
        assert np.abs(pixels(image) - pixels(photo(8))).mean() < 6


# ---------------------------------------------------------------- transparency


def half_clear(mode="RGBA") -> bytes:
    """The left half is red, the right half clear."""
    image = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
    image.paste((255, 0, 0, 255), (0, 0, 32, 64))
    return encoded(image if mode == "RGBA" else image.quantize(8), "PNG")


@pytest.mark.parametrize(
    "background, rgb",
    [("white", (255, 255, 255)), ("#204060", (32, 64, 96)), ("black", (0, 0, 0))],
)
@pytest.mark.parametrize("mode", ["RGBA", "P"])
def test_clear_parts_get_the_chosen_colour(background, rgb, mode):
    image = pixels(prepared(half_clear(mode), background))
    assert np.abs(image[20, 60] - rgb).max() < 8 and np.abs(image[20, 5] - (255, 0, 0)).max() < 8


@pytest.mark.parametrize("background", ["no colour", "#12", "#11223344", ""])
def test_what_is_no_colour_is_refused(background):
    with pytest.raises(ValueError):
        Prepare(background=background)
