"""The order of a streamed run: every sample once an epoch, near ones read together."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unidiff_cli.data.shards import Row
from unidiff_cli.data.spans import LONGEST, SpanOrder


def rows_of(count: int, shard_size: int = 100) -> list[Row]:
    return [
        Row(
            str(n),
            str(n),
            "train",
            str(n),
            ("a",),
            {},
            shard=f"train-{n // shard_size:05d}.tar",
            image_offset=n % shard_size,
        )
        for n in range(count)
    ]


def epoch_of(order: SpanOrder, number: int) -> list[int]:
    return [order(p) for p in range(number * order.count, (number + 1) * order.count)]


@given(st.integers(1, 300), st.integers(2, 20), st.integers(1, 40), st.integers(0, 3))
@settings(max_examples=80, deadline=None)
def test_every_sample_comes_once_an_epoch(count, batch_size, shard_size, seed):
    order = SpanOrder(rows_of(count, shard_size), batch_size, seed)
    for number in range(3):
        assert sorted(epoch_of(order, number)) == list(range(count))


def test_epochs_and_seeds_differ():
    rows = rows_of(500)
    first, second = (epoch_of(SpanOrder(rows, 8, 0), number) for number in (0, 1))
    assert first != second != epoch_of(SpanOrder(rows, 8, 1), 0) != first


def test_a_position_is_known_without_what_came_before():
    rows = rows_of(500)
    stream = [SpanOrder(rows, 8, 0)(p) for p in (700, 20, 1300)]
    order = SpanOrder(rows, 8, 0)
    assert [epoch_of(order, p // 500)[p % 500] for p in (700, 20, 1300)] == stream


def test_a_span_is_consecutive_samples_of_one_shard():
    rows = rows_of(1000)
    for span in SpanOrder(rows, 4, 0).epoch(0).spans:
        assert 1 <= len(span) <= LONGEST and list(span) == list(range(span[0], span[-1] + 1))
        assert len({rows[i].shard for i in span}) == 1


@pytest.mark.parametrize(("count", "batch_size"), [(1000, 4), (2000, 16), (333, 8)])
def test_a_place_reads_its_spans_one_after_another(count, batch_size):
    """So that it holds one at a time; a span at a lane's end is read for both neighbours."""
    order = SpanOrder(rows_of(count), batch_size, 0)
    reads: Counter[tuple[int, int]] = Counter()
    for place in range(batch_size):
        names = [order.span(p)[0] for p in range(place, count, batch_size)]
        changes = [name for n, name in enumerate(names) if n == 0 or names[n - 1] != name]
        assert len(changes) == len(set(changes))
        reads.update(changes)
    assert set(reads) == {(0, n) for n in range(len(order.epoch(0).spans))}
    assert sum(reads.values()) <= len(reads) + batch_size


def test_the_span_of_a_position_holds_its_sample():
    order = SpanOrder(rows_of(700), 8, 2)
    assert all(order(p) in order.span(p)[1] for p in range(1500))


def test_a_batch_mixes_the_whole_catalogue():
    """Not the neighbours of one shard: on average two samples are as far apart as by chance."""
    rows, size = rows_of(4000), 32
    order = SpanOrder(rows, size, 0)
    distances = [
        np.abs(np.subtract.outer(batch, batch))[np.triu_indices(size, 1)].mean()
        for step in range(100)
        for batch in [np.array([order(p) for p in range(step * size, (step + 1) * size)])]
    ]
    assert np.mean(distances) == pytest.approx(4000 / 3, rel=0.05)
