"""Hard batches: every sample once an epoch, blocks of one key, alike on any number of processes."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.shards import row_of
from unidiff_cli.data.alike_order import AlikeOrder, block_size
from unidiff_cli.data.dataset import BatchPlan, Samples

COLOURS = ["red"] * 40 + ["blue"] * 24 + ["green"] * 16 + [None] * 16


def stream_of(order, count):
    return [order(position) for position in range(count)]


@pytest.mark.parametrize(
    ("share", "views", "size"), [(0.5, False, 16), (1, False, 32), (0.3, True, 10), (0.01, True, 2)]
)
def test_a_block_is_a_share_of_a_batch(share, views, size):
    assert block_size(32, share, views) == size


def test_blocks_hold_one_colour_and_batches_several():
    order = AlikeOrder(COLOURS, batch_size=16, block=8, seed=0)
    stream = stream_of(order, 5 * len(COLOURS))
    blocks = [{COLOURS[i] for i in stream[at : at + 8]} for at in range(0, len(stream), 8)]
    assert all(len(colours) == 1 for colours in blocks)
    batches = [a | b for a, b in zip(blocks[::2], blocks[1::2], strict=True)]
    assert sum(len(colours) == 2 for colours in batches) > len(batches) / 3


@given(
    keys=st.lists(st.integers(0, 5), min_size=1, max_size=40),
    batch=st.integers(2, 12),
    block=st.integers(1, 12),
    views=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_every_sample_comes_once_an_epoch_and_can_be_read_anywhere(keys, batch, block, views):
    groups = [n // 2 for n in range(len(keys))] if views else None
    order = AlikeOrder(keys, batch, min(block, batch), 0, groups)
    assert order.count - len(keys) in ((0, 1) if views else (0,))
    stream = stream_of(order, 3 * order.count)
    for epoch in range(3):
        samples = stream[epoch * order.count : (epoch + 1) * order.count]
        assert set(samples) == set(range(len(keys))) and len(samples) == order.count
    again = AlikeOrder(keys, batch, min(block, batch), 0, groups)
    assert [again(p) for p in reversed(range(len(stream)))] == stream[::-1]


def test_what_fills_no_block_is_mixed_as_little_as_can_be():
    """9 + 7 samples in blocks of 4: two and one of one colour, and one mixed block of two."""
    keys = ["red"] * 9 + ["blue"] * 7
    order = AlikeOrder(keys, batch_size=8, block=4, seed=0)
    for epoch in range(4):
        stream = [keys[order(epoch * 16 + p)] for p in range(16)]
        blocks = [set(stream[at : at + 4]) for at in range(0, 16, 4)]
        assert sorted(map(len, blocks)) == [1, 1, 1, 2]


def test_a_block_that_an_epoch_begins_ends_in_the_next():
    order = AlikeOrder(["red"] * 10, batch_size=8, block=4, seed=0)
    assert [order._sizes(epoch).tolist() for epoch in range(3)] == [[4, 4, 2], [2, 4, 4], [4, 4, 2]]


def test_epochs_and_seeds_differ():
    first = stream_of(AlikeOrder(COLOURS, 16, 8, 0), 2 * len(COLOURS))
    assert first[: len(COLOURS)] != first[len(COLOURS) :]
    assert first != stream_of(AlikeOrder(COLOURS, 16, 8, 1), 2 * len(COLOURS))


def test_views_stay_together_within_blocks_of_one_colour():
    """Three products of four views in each colour: pairs of a product, in blocks of a colour."""
    keys = [colour for colour in ("red", "blue") for _ in range(12)]
    groups = [n // 4 for n in range(24)]
    order = AlikeOrder(keys, batch_size=8, block=4, seed=0, groups=groups)
    stream = stream_of(order, 3 * 24)
    assert all(groups[a] == groups[b] for a, b in zip(stream[::2], stream[1::2], strict=True))
    assert all(len({keys[i] for i in stream[at : at + 4]}) == 1 for at in range(0, 72, 4))


def test_views_in_two_colours_stay_a_pair_and_the_first_decides_the_block():
    keys = ["red", "blue"] * 8
    order = AlikeOrder(keys, batch_size=8, block=8, seed=0, groups=[n // 2 for n in range(16)])
    stream = stream_of(order, 16)
    assert all(a // 2 == b // 2 for a, b in zip(stream[::2], stream[1::2], strict=True))


@pytest.mark.parametrize("order", ["shuffled", "views"])
def test_two_processes_share_the_batch_of_one(order):
    rows = [row_of(n) for n in range(len(COLOURS))]

    def samples(rank=0, world=1):
        plan = BatchPlan(16, 0, order, rank=rank, world=world, alike=0.5)
        return Samples(None, rows, plan, keys=COLOURS)

    whole, shares = samples(), [samples(rank, 2) for rank in range(2)]
    for step in range(8):
        batch = whole[step]
        assert [row for share in shares for row in share[step].rows] == batch.rows
        colours = [COLOURS[int(row.key)] for row in batch.rows]
        assert order == "views" or len(set(colours[:8])) == 1
