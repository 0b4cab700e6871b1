"""The store between decoding and writing gives back what was put into it, at any time."""

import random

import pytest
from PIL import Image

from tests.support.selections import decoded
from unidiff_cli.data import decode
from unidiff_cli.data.decode import StoredSample, TemporaryStore


@pytest.mark.parametrize("buffer", [16, 1 << 20])
def test_what_was_put_is_got_back_in_any_order(tmp_path, monkeypatch, buffer):
    monkeypatch.setattr(decode, "BUFFER", buffer)
    noise = random.Random(0)
    (item,) = decoded([(Image.new("RGB", (40, 40)), "black")]).samples
    stored: list[tuple[StoredSample, bytes]] = []
    with TemporaryStore(tmp_path) as store:
        for _ in range(60):
            data = noise.randbytes(noise.choice((0, 1, 15, 16, 17, 300)))
            offset = store.put(data)
            place = StoredSample(item.sample, item.path, item.image, offset, len(data))
            stored.append((place, data))
            wanted, written = noise.choice(stored)
            assert store.get(wanted) == written
        assert [store.get(place) for place, _ in stored] == [data for _, data in stored]
    # Nothing is left behind.
    assert list(tmp_path.iterdir()) == []
