"""Near-equal images: those that comparing all with all finds, and no other."""

import numpy as np
import pytest
from PIL import Image

from tests.support.catalogue import bounds, encoded, photo
from tests.support.hostile import seconds
from unidiff_cli.data.duplicates import Union, members_of
from unidiff_cli.data.images import PreparedImage, prepare_image
from unidiff_cli.data.locations import InMemory
from unidiff_cli.data.near_duplicates import COLOUR, near_pairs

NOISE = np.random.default_rng(0)


def prepared(image: Image.Image, quality: int) -> PreparedImage:
    data = encoded(image, quality=quality)
    result = prepare_image(InMemory("image", data), 1024, bounds())
    assert isinstance(result, PreparedImage)
    return result


def test_the_same_photo_saved_again_is_near_and_others_are_not():
    originals = [photo(n, (256, 200)) for n in range(40)]
    copies = [image.resize((128, 100), Image.Resampling.LANCZOS) for image in originals]
    solid = [Image.new("RGB", (64, 64), (n, n, n)) for n in range(0, 250, 25)]
    images = [
        prepared(image, quality)
        for quality, several in ((92, originals), (60, copies), (90, solid))
        for image in several
    ]
    hashes, colours = (
        np.array([np.frombuffer(getattr(image, name), np.uint8) for image in images])
        for name in ("phash", "colour")
    )
    flat = np.array([image.flat for image in images])
    assert flat.sum() == len(solid)
    assert set(near_pairs(hashes, colours, flat, 10)) == {(n, n + 40) for n in range(40)}
    # The same shapes in other colours are other goods.
    colours[40:80] = 255 - colours[40:80]
    assert near_pairs(hashes, colours, flat, 10) == []


def changed(hashes: np.ndarray, most: int) -> np.ndarray:
    """The hashes with up to so many bits of each changed."""
    bits = np.unpackbits(hashes, axis=1)
    for row in bits:
        row[NOISE.choice(256, NOISE.integers(0, most + 1), replace=False)] ^= 1
    return np.packbits(bits, axis=1)


def catalogue(kind: str, count: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Hashes (N, 32) and colours (N, 48) of images of which many are nearly near."""
    hashes = NOISE.integers(0, 256, (count, 32), dtype=np.uint8)
    colours = NOISE.integers(100, 130, (count, 48), dtype=np.uint8)
    if kind == "chains":
        # Each a few bits from the one before, and at last far from the first.
        for n in range(1, count):
            hashes[n] = changed(hashes[[n - 1]], 14)[0]
    elif kind == "one photo in many colours":
        hashes[:] = changed(np.repeat(hashes[:2], count // 2, axis=0), 1)
        colours[:] = NOISE.integers(0, 256, (count, 1)) // 2 + NOISE.integers(0, 9, (count, 48))
    elif kind == "soft":
        bits = np.zeros((count, 256), np.uint8)
        bits[:, :24] = NOISE.integers(0, 2, (count, 24))
        hashes = np.packbits(bits, axis=1)
        colours = NOISE.integers(70, 160, (count, 48), dtype=np.uint8)
    else:
        hashes[count // 2 :] = changed(hashes[: count - count // 2], 20)
    return hashes, colours


def brute_force(hashes, colours, flat, bits) -> np.ndarray:
    """(N, N): which images are near by the rule, each compared with each."""
    distance = np.bitwise_count(hashes[:, None] ^ hashes[None]).sum(axis=2)
    shades = colours.astype(int)
    difference = np.abs(shades[:, None] - shades[None]).mean(axis=2)
    return (distance <= bits) & (difference <= COLOUR) & ~flat[:, None] & ~flat[None]


def sets_of(count: int, pairs) -> list[list[int]]:
    union = Union(count)
    for a, b in pairs:
        union.join(int(a), int(b))
    roots = union.roots()
    return [members.tolist() for members in members_of(roots, np.unique(roots))]


@pytest.mark.parametrize("bits", [1, 6, 10])
@pytest.mark.parametrize("kind", ["copies", "chains", "one photo in many colours", "soft"])
def test_sets_are_those_of_comparing_all_with_all(kind, bits, monkeypatch):
    # So few at a time that there are many times.
    monkeypatch.setattr("unidiff_cli.data.near_duplicates.PAIRS", 700)
    hashes, colours = catalogue(kind)
    flat = NOISE.random(len(hashes)) < 0.05
    near = brute_force(hashes, colours, flat, bits)
    pairs = near_pairs(hashes, colours, flat, bits)
    wanted = sets_of(len(hashes), np.argwhere(np.triu(near, 1)))
    assert sets_of(len(hashes), pairs) == wanted
    # Each is a pair by the rule, and none is one too many.
    assert all(near[a, b] and a < b for a, b in pairs)
    assert len(pairs) == len(hashes) - len(wanted)
    assert bits < 6 or len(pairs) > 10


def test_no_images_and_one_have_no_pairs():
    for count in (0, 1):
        hashes, colours = catalogue("copies", count)
        assert near_pairs(hashes, colours, np.zeros(count, bool), 10) == []


def test_thousands_of_copies_take_no_time():
    hashes, colours = np.zeros((5000, 32), np.uint8), np.zeros((5000, 48), np.uint8)
    assert len(near_pairs(hashes, colours, np.zeros(5000, bool), 10)) == 4999


def test_one_photo_in_thousands_of_colours_takes_a_second():
    """Swatches, and prints on demand: before, each cost 5 ms."""
    hashes = np.zeros((4000, 32), np.uint8)
    shades = NOISE.integers(0, 256, (4000, 3), dtype=np.uint8)
    with seconds(10):
        pairs = near_pairs(hashes, np.tile(shades, 16), np.zeros(4000, bool), 10)
    assert len(pairs) > 3000
