"""Photos decoded at a fraction of their size: of any shape, turn and mode, and as good as whole."""

import io

import numpy as np
import pytest
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from tests.support.catalogue import bounds, encoded, photo
from unidiff_cli.data.images import PreparedImage, prepare_image
from unidiff_cli.data.locations import InMemory
from unidiff_cli.data.perceptual_hash import fingerprint


def prepared(data: bytes, max_side: int) -> PreparedImage:
    image = prepare_image(InMemory("image", data), max_side, bounds(10**7))
    assert isinstance(image, PreparedImage), image
    return image


def opened(image: PreparedImage) -> Image.Image:
    return Image.open(io.BytesIO(image.data))


def grain(size: tuple[int, int]) -> Image.Image:
    """A photo with detail down to single pixels, in colour."""
    noise = np.random.default_rng(0).integers(0, 50, (size[1], size[0], 3))
    return Image.fromarray((0.8 * np.asarray(photo(0, size)) + noise).astype(np.uint8))


def likeness(image: Image.Image | np.ndarray, other: Image.Image | np.ndarray) -> float:
    """PSNR in dB."""
    difference = np.asarray(image).astype(float) - np.asarray(other).astype(float)
    return 10 * np.log10(255**2 / np.square(difference).mean())


# (size of the file, the larger side asked for, the part of its size that is decoded).
SCALED = [
    ((1024, 768), 256, 4),
    ((768, 1024), 256, 4),
    ((1023, 771), 250, 4),
    ((801, 533), 200, 4),
    ((640, 480), 200, 2),
    ((2001, 97), 250, 8),
]


@pytest.mark.parametrize(("size", "side", "part"), SCALED)
@pytest.mark.parametrize("kind", ["RGB", "L", "CMYK", "progressive"])
def test_a_photo_of_any_shape_is_decoded_at_a_fraction(size, side, part, kind, monkeypatch):
    """A photo that is not square was decoded whole, since a square had to fit into it."""
    decoded = []
    load = JpegImageFile.load
    monkeypatch.setattr(JpegImageFile, "load", lambda im: decoded.append(im.size) or load(im))
    image = grain(size).convert(kind if kind != "progressive" else "RGB")
    result = prepared(encoded(image, quality=95, progressive=kind == "progressive"), side)
    assert decoded[0] == (-(-size[0] // part), -(-size[1] // part))
    scale = side / max(size)
    assert (result.width, result.height) == (round(scale * size[0]), round(scale * size[1]))
    assert {"resized", "reencoded"} <= result.changes


@pytest.mark.parametrize(("size", "side", "part"), SCALED[:5])
def test_what_was_decoded_at_a_fraction_is_what_the_whole_gives(size, side, part):
    data = encoded(grain(size), quality=95, subsampling=0)
    result = prepared(data, side)
    whole = Image.open(io.BytesIO(data))
    shape = result.width, result.height
    best = whole.resize(shape, Image.Resampling.LANCZOS)
    # By areas, as OpenCV does for img2dataset.
    areas = Image.open(io.BytesIO(encoded(whole.resize(shape, Image.Resampling.BOX), quality=95)))
    assert likeness(opened(result), best) > max(33, likeness(areas, best) - 0.5)


@pytest.mark.parametrize("orientation", [3, 6])
def test_a_turned_photo_is_decoded_at_a_fraction_too(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    upright = grain((800, 600))
    back = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90}[orientation]
    result = prepared(encoded(upright.transpose(back), quality=95, exif=exif), 200)
    assert (result.width, result.height) == (200, 150)
    small = upright.resize((200, 150), Image.Resampling.LANCZOS)
    assert likeness(opened(result), small) > 33
    assert result.changes == {"resized", "rotated", "reencoded"}


def test_the_first_of_several_photos_is_decoded_at_a_fraction():
    first, second = grain((800, 600)), photo(5, (800, 600))
    data = encoded(first, "MPO", quality=95, save_all=True, append_images=[second])
    result = prepared(data, 200)
    small = first.resize((200, 150), Image.Resampling.LANCZOS)
    assert likeness(opened(result), small) > 33 and "first_frame" in result.changes


@pytest.mark.parametrize("size", [(1024, 768), (901, 1205), (500, 385), (150, 200)])
def test_a_hash_of_the_reduced_image_is_that_of_the_whole(size):
    grey = grain(size).convert("L").resize((64, 64), Image.Resampling.LANCZOS)
    fields = np.asarray(grain(size).resize((4, 4), Image.Resampling.BOX)).ravel()
    found, same = fingerprint(grain(size)), fingerprint(grey.convert("RGB"))
    bits = np.unpackbits(np.frombuffer(found.phash, np.uint8) ^ np.frombuffer(same.phash, np.uint8))
    assert bits.sum() <= 8
    apart = np.abs(np.frombuffer(found.colour, np.uint8).astype(int) - fields)
    # 6 levels on average are another image, see placeholders.py.
    assert apart.mean() < 1 and apart.max() <= 4
