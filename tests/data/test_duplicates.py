"""Near-equal images and the groups that must stay together."""

import numpy as np
from PIL import Image

from tests.support.catalogue import bounds, encoded, photo
from unidiff_cli.data import duplicates
from unidiff_cli.data.images import PreparedImage, prepare_image
from unidiff_cli.data.locations import InMemory


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
    pairs = duplicates.near_pairs(hashes, colours, flat, 10)
    assert set(pairs) == {(n, n + 40) for n in range(40)}
    # The same shapes in other colours are other goods.
    colours[40:80] = 255 - colours[40:80]
    assert duplicates.near_pairs(hashes, colours, flat, 10) == []


def test_near_pairs_are_those_of_comparing_all_with_all():
    noise = np.random.default_rng(0)
    hashes = noise.integers(0, 256, (300, 32), dtype=np.uint8)
    # Copies with 0 to 14 bits changed.
    for n in range(100, 200):
        bits = np.unpackbits(hashes[n - 100])
        bits[noise.choice(256, n % 15, replace=False)] ^= 1
        hashes[n] = np.packbits(bits)
    colours = np.zeros((300, 48), np.uint8)
    colours[150:160] = 200
    flat = np.zeros(300, bool)
    flat[160:165] = True
    wanted = {
        (a, b)
        for a in range(300)
        for b in range(a + 1, 300)
        if np.bitwise_count(hashes[a] ^ hashes[b]).sum() <= 10
        and not flat[a]
        and not flat[b]
        and abs(int(colours[a, 0]) - int(colours[b, 0])) <= duplicates.COLOUR
    }
    assert set(duplicates.near_pairs(hashes, colours, flat, 10)) == wanted and len(wanted) > 40


def test_thousands_of_copies_take_no_time():
    hashes, colours = np.zeros((5000, 32), np.uint8), np.zeros((5000, 48), np.uint8)
    assert len(duplicates.near_pairs(hashes, colours, np.zeros(5000, bool), 10)) == 4999


def test_groups_join_products_contents_and_pairs():
    products = ["a", None, "b", None, None, "c", ""]
    contents = ["1", "1", "2", "3", "2", "4", "5"]
    names = duplicates.group_names(products, contents, [(3, 4)])
    assert names == ["a", "a", "b", "b", "b", "c", "5"]
