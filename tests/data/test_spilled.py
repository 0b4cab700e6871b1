"""Items in a file: the same ones come back, in any choice, and memory holds little of each."""

import os
import random
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from unidiff_cli.data.images import CHANGES, PreparedImage
from unidiff_cli.data.kept_images import Place
from unidiff_cli.data.sample import Cause, Reason, Rejected, Sample
from unidiff_cli.data.spilled import PIECE, Codec, Each, Spilled
from unidiff_cli.data.stored_samples import STORED, Decoded, StoredSample

# Many pieces, and one that is not full.
COUNT = 5 * PIECE + 7


@pytest.fixture
def texts(tmp_path) -> Spilled[str]:
    spilled = Spilled.empty(tmp_path, Codec(lambda text: [text], lambda values: values[0]))
    for n in range(COUNT):
        spilled.append(f"item {n} é\udcff")
    return spilled


def item(n: int) -> str:
    return f"item {n} é\udcff"


def test_items_come_back_in_their_order(texts):
    assert len(texts) == COUNT and list(texts) == [item(n) for n in range(COUNT)]
    assert texts[7] == item(7) and texts[-1] == item(COUNT - 1)
    assert list(texts[3:900:400]) == [item(3), item(403), item(803)]
    with pytest.raises(IndexError):
        texts[COUNT]


@pytest.mark.parametrize("kind", ["gaps", "backwards", "anywhere", "twice", "none"])
def test_choices_keep_their_order(texts, kind):
    every = range(COUNT)
    numbers = {
        "gaps": [n for n in every if n % 3],
        "backwards": every[::-1],
        "anywhere": random.Random(0).sample(every, COUNT),
        "twice": [*every, *every],
        "none": [],
    }[kind]
    chosen = texts.take(np.array(numbers, int))
    assert list(chosen) == [item(n) for n in numbers]
    again = chosen.take(np.arange(len(chosen))[::-1])
    assert list(again) == [item(n) for n in reversed(numbers)]


def test_further_and_other_items_leave_the_first_as_they_are(texts):
    few = texts.take(np.array([5, 2]))
    more = few.extended(["a", "b"]).replaced({1: "c"})
    assert list(more) == [item(5), "c", "a", "b"]
    assert list(few) == [item(5), item(2)]
    assert list(Each(more, len)[1:3]) == [1, 1] and Each(more, str.upper)[1] == "C"


def test_no_file_stays(tmp_path, texts):
    assert texts[0] == item(0) and os.listdir(tmp_path) == []


def stored(n: int) -> StoredSample:
    """A sample as a reader may give it, with all that JSON holds."""
    attributes = {"price": n / 7, "list": ["a", n], "none": None, "large": 1 << 70, "é": "\ud800"}
    sample = Sample(
        f"row {n}", STORED, (f"caption {n}", "b"), attributes, None, f"p{n // 3}", "val"
    )
    image = PreparedImage(
        b"",
        7,
        n,
        f"{n:064x}",
        bytes([n % 256] * 32),
        bytes(48),
        n % 2 == 0,
        False,
        True,
        frozenset(),
    )
    return StoredSample(sample, f"{n}.jpg", image, Place(n, 1 << 40, n))


def test_a_sample_comes_back_whole(tmp_path):
    samples = Decoded.empty(tmp_path).samples
    whole = [stored(n) for n in range(300)]
    whole[3] = replace(whole[3], image=replace(whole[3].image, changes=frozenset(CHANGES[1:3])))
    for one in whole:
        samples.append(one)
    assert list(samples) == whole
    chosen = samples.take(np.array([3, 5]))
    assert list(chosen) == [whole[3], whole[5]] and len(chosen) == 2
    assert chosen.column("changes").tolist() == [0b110, 0]
    assert chosen.column("phash").tolist() == [[3] * 32, [5] * 32]
    assert chosen.column("split", np.array([1])).tolist() == [1]
    products = samples.column("product")
    assert products[3] == products[5] != products[6] and not samples.column("id").any()


def test_a_rejected_row_comes_back_whole(tmp_path):
    rows = [Rejected("a", Reason("b", Cause.SMALL), "c"), Rejected("a\udcff", Reason("b"))]
    rejected = Decoded.empty(tmp_path).rejected.extended(rows)
    assert list(rejected) == rows and rejected[0].reason.is_rule


def test_a_sample_takes_little_memory(tmp_path):
    samples = Decoded.empty(tmp_path).samples
    samples.append(stored(0))
    tracemalloc.start()
    try:
        for n in range(4000):
            samples.append(stored(n))
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert held < 160 * 4000
