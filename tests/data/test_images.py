"""Images made ready for shards: what is changed, what is refused, and that nothing crashes."""

import io
import os
import random
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from tests.support.catalogue import bounds, encoded, photo
from unidiff_cli.data.images import PreparedImage, prepare_image
from unidiff_cli.data.locations import InMemory, LocalPath
from unidiff_cli.data.perceptual_hash import BITS, fingerprint
from unidiff_cli.data.sample import Cause, Reason


def prepared(data: bytes, max_side=1024, max_pixels=10**6) -> PreparedImage:
    image = prepare_image(InMemory("image", data), max_side, bounds(max_pixels))
    assert isinstance(image, PreparedImage), image
    return image


def refusal(data: bytes, max_side=64, max_pixels=10**6) -> Reason:
    reason = prepare_image(InMemory("image", data), max_side, bounds(max_pixels))
    assert isinstance(reason, Reason)
    return reason


def pixels(image: PreparedImage | Image.Image) -> np.ndarray:
    if isinstance(image, PreparedImage):
        image = Image.open(io.BytesIO(image.data))
    return np.asarray(image).astype(int)


def test_a_plain_jpeg_keeps_its_bytes():
    data = encoded(photo(0, (200, 100)), quality=80)
    assert prepared(data).data == data and prepared(data).changes == frozenset()


def test_a_large_image_is_scaled_down():
    small = prepared(encoded(photo(0, (200, 100)), quality=80), max_side=64)
    assert (small.width, small.height) == (64, 32) == Image.open(io.BytesIO(small.data)).size
    assert small.changes == {"resized", "reencoded"}
    wanted = photo(0, (200, 100)).resize((64, 32), Image.Resampling.LANCZOS)
    assert np.abs(pixels(small) - pixels(wanted)).mean() < 3


def test_a_huge_jpeg_is_decoded_at_a_fraction_of_its_size():
    huge = prepared(encoded(photo(0, (1600, 800)), quality=95), 100, 10**7)
    wanted = photo(0, (1600, 800)).resize((100, 50), Image.Resampling.LANCZOS)
    assert np.abs(pixels(huge) - pixels(wanted)).mean() < 3


def test_a_side_never_becomes_nothing():
    thin = prepared(encoded(photo(0, (300, 1))), 100)
    assert (thin.width, thin.height) == (100, 1)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_exif_orientation_is_applied_once(orientation, kind):
    upright = photo(1, (48, 32))
    # The transpose that undoes the turn.
    back = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}[orientation]
    stored = upright if back is None else upright.transpose(Image.Transpose(back))
    exif = Image.Exif()
    exif[0x0112] = orientation
    lossless = {"JPEG": {"subsampling": 0, "quality": 95}, "WEBP": {"lossless": True}, "PNG": {}}
    image = prepared(encoded(stored, kind, exif=exif, **lossless[kind]))
    assert np.abs(pixels(image) - pixels(upright)).mean() < 4
    assert ("rotated" in image.changes) == (orientation != 1)
    assert Image.open(io.BytesIO(image.data)).getexif().get(0x0112, 1) == 1
    assert prepared(image.data).data == image.data


def test_broken_exif_costs_nothing():
    data = encoded(photo(1), exif=b"Exif\0\0II*\0\xff\xff\xff\xff garbage")
    assert prepared(data).data == data


def with_alpha(mode: str) -> Image.Image:
    image = photo(2).convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    return image.convert(mode) if mode != "P" else image.quantize(64)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_is_put_on_white(mode):
    image = with_alpha(mode)
    white = Image.new("RGBA", image.size, "white")
    wanted = Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    result = prepared(encoded(image, "PNG"))
    assert "alpha" in result.changes
    assert np.abs(pixels(result) - pixels(wanted)).mean() < 3


def test_what_is_wholly_transparent_is_white():
    clear = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    assert pixels(prepared(encoded(clear, "PNG"))).min() == 255


def test_opaque_alpha_is_no_change_and_a_key_colour_is():
    assert "alpha" not in prepared(encoded(photo(2).convert("RGBA"), "PNG")).changes
    grey = Image.new("L", (8, 8), 7)
    assert pixels(prepared(encoded(grey, "PNG", transparency=7))).min() == 255


def test_sixteen_bits_and_floats_keep_their_range():
    ramp = np.linspace(0, 65535, 64 * 32).reshape(32, 64)
    wide = Image.fromarray(ramp.astype(np.uint16))
    floats = Image.fromarray((ramp / 65535).astype(np.float32))
    for image, kind in ((wide, "PNG"), (wide, "TIFF"), (floats, "TIFF")):
        assert np.abs(pixels(prepared(encoded(image, kind)))[..., 0] - ramp / 257).max() < 4


@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        ("L", "JPEG"),
        ("CMYK", "JPEG"),
        ("CMYK", "TIFF"),
        ("P", "GIF"),
        ("P", "PNG"),
        ("1", "PNG"),
        ("RGB", "BMP"),
    ],
)
def test_every_mode_becomes_rgb(mode, kind):
    image = photo(3).convert(mode)
    result = prepared(encoded(image, kind))
    assert Image.open(io.BytesIO(result.data)).mode == "RGB"
    assert np.abs(pixels(result) - pixels(image.convert("RGB"))).mean() < 14


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_the_first_frame_of_an_animation(kind):
    red, blue = (Image.new("RGB", (16, 16), colour) for colour in ("red", "blue"))
    image = prepared(encoded(red, kind, save_all=True, append_images=[blue], lossless=True))
    assert np.abs(pixels(image) - (255, 0, 0)).max() < 6


def test_an_srgb_profile_is_left_and_one_that_cannot_fit_is_passed_over():
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    data = encoded(photo(4), icc_profile=srgb)
    assert prepared(data).data == data
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    for profile in (lab, b"no profile"):
        assert "profile" not in prepared(encoded(photo(4), icc_profile=profile)).changes


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty file"),
        (b"<!DOCTYPE html><html>404", "a web page"),
        (b"8BPS\0\1", "a Photoshop file"),
        (b"%PDF-1.7", "a PDF"),
        (b"just words", "text, not an image"),
        (b"\x00\x00\x00\x18ftypheic\x00\x00", "HEIC"),
        (bytes(range(128, 256)), "not an image of a format"),
        (encoded(photo(0))[:-200], "truncated"),
        (encoded(photo(0, (400, 400)), "PNG")[:900], "truncated"),
        (encoded(photo(0), "ICO"), "an icon file"),
        (encoded(photo(0), "TGA"), "not an image of a format"),
        (encoded(Image.new("1", (1200, 1000)), "PNG"), "pixels"),
        (encoded(Image.new("1", (3000, 1000)), "PNG"), "pixels"),
    ],
)
def test_what_is_no_image_says_what_it_is(data, words):
    assert words in refusal(data).text


def test_damaged_images_are_counted_together():
    damaged = bytearray(encoded(photo(0, (400, 400)), "PNG"))
    damaged[60:64] = b"\0\0\0\0"
    reason = refusal(bytes(damaged))
    assert reason.cause is Cause.DAMAGED and reason.counted_as == "damaged" != reason.text


def test_a_bomb_is_refused_undecoded():
    def chunk(kind, body):
        check = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + check

    head = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    data = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(10))) + chunk(b"IEND", b"")
    assert "pixels" in refusal(b"\x89PNG\r\n\x1a\n" + data, max_pixels=100_000_000).text


def test_what_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    reasons = {
        name: prepare_image(LocalPath(tmp_path / name), 64, bounds()).text
        for name in ("pipe.jpg", "", "gone.jpg", "x" * 300)
    }
    assert "a pipe" in reasons["pipe.jpg"] and "directory" in reasons[""]
    assert reasons["gone.jpg"] == "no such file"
    assert reasons["x" * 300].startswith("cannot be read")


def test_no_damage_crashes():
    """2,000 damaged images of every format: each an image or a sentence."""
    noise = random.Random(0)
    kinds = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
    whole = [encoded(photo(n, (40, 30)), kind) for n, kind in enumerate(kinds)]
    whole += [
        encoded(photo(9).convert("CMYK")),
        encoded(with_alpha("P"), "PNG"),
        encoded(photo(8), progressive=True),
    ]
    for n in range(2000):
        data = bytearray(whole[n % len(whole)])
        for _ in range(noise.choice((1, 3, 30))):
            data[noise.randrange(len(data))] = noise.randrange(256)
        data = data[: noise.choice((len(data), noise.randrange(len(data))))]
        result = prepare_image(InMemory("image", bytes(data)), 64, bounds())
        assert isinstance(result, PreparedImage) or (result.text and "\n" not in result.text)


def test_a_perceptual_hash_has_as_many_bits_as_it_says():
    assert 8 * len(fingerprint(photo(0)).phash) == BITS == 256
