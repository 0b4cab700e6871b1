"""Work in threads ahead of the caller."""

import threading

import pytest

from unidiff_cli.data import ahead as module
from unidiff_cli.data.ahead import AHEAD, PIECE, ahead


@pytest.mark.parametrize("count", [0, 1, PIECE, 3 * PIECE + 1, 100])
def test_every_item_comes_once_and_in_order(count):
    batches = list(ahead(list, range(count), 24))
    assert [item for batch in batches for piece in batch for item in piece] == list(range(count))
    assert all(sum(map(len, batch)) == 24 for batch in batches[:-1])


def test_no_more_than_a_few_batches_are_ahead():
    begun = []
    batches = ahead(lambda items: begun.append(items), range(1_000), PIECE)
    next(batches)
    assert len(begun) <= AHEAD + 1
    batches.close()


def test_the_next_batch_is_worked_on_while_the_caller_holds_one():
    second = threading.Event()
    batches = ahead(lambda items: items[0] and second.set(), range(2 * PIECE + 1), PIECE)
    next(batches)
    assert second.wait(10)
    batches.close()


def test_what_the_work_raises_is_raised():
    with pytest.raises(ZeroDivisionError):
        list(ahead(lambda items: 1 / items[0], range(5), 2))


def test_threads_end_with_the_generator(monkeypatch):
    monkeypatch.setattr(module.machine, "cores", lambda: 2)
    before = threading.active_count()
    batches = ahead(list, range(100), 10)
    next(batches)
    assert threading.active_count() > before
    batches.close()
    assert threading.active_count() == before
