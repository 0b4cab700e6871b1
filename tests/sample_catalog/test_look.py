"""Random looks: pinned fields stay, held-out pairs never come, every other pair does."""

import random
from collections import defaultdict
from dataclasses import replace

from unidiff_cli.sample_catalog import (
    COLORS,
    HELD_OUT,
    OBJECTS,
    PATTERNS,
    TYPES,
    held_out,
    random_look,
    random_object,
)


def test_there_is_enough_to_sell():
    assert len(TYPES) >= 14 and len(COLORS) == 12 and len(PATTERNS) == 6


def test_pinned_fields_stay_and_the_rest_is_chosen_as_before():
    free = random_look(random.Random(5))
    pinned = random_look(random.Random(5), view="detail", angle=1.5)
    assert pinned == replace(free, view="detail", angle=1.5)


def test_another_seed_is_another_look():
    assert len({random_look(random.Random(i)) for i in range(50)}) == 50


def test_a_pinned_colour_keeps_the_type():
    """But for the one type that the colour is held out of."""
    same = [
        random_look(random.Random(i)).type == random_look(random.Random(i), color="red").type
        for i in range(200)
    ]
    assert sum(same) > 150


def test_no_held_out_pair_comes_and_every_word_is_seen_with_most_types():
    looks = [random_look(random.Random(i)) for i in range(10_000)]
    assert not any(map(held_out, looks))
    assert looks[:100] == [random_look(random.Random(i)) for i in range(100)]
    types = defaultdict(set)
    for look in looks:
        types[look.color].add(look.type)
        types[look.pattern].add(look.type)
    assert all(len(types[word]) >= len(TYPES) - 2 for word in (*COLORS, *PATTERNS))
    assert types["plain"] == set(TYPES)
    # All that is missing was meant to be.
    assert {(t, word) for word in types for t in TYPES if t not in types[word]} == HELD_OUT


def test_held_out_pairs_are_spread():
    colors = [pair for pair in HELD_OUT if pair[1] in COLORS]
    patterns = [pair for pair in HELD_OUT if pair[1] in PATTERNS]
    assert len(colors) + len(patterns) == len(HELD_OUT) and ("dress", "red") not in HELD_OUT
    for pairs in (colors, patterns):
        assert len({type_ for type_, _ in pairs}) == len(pairs) >= 10
        assert max(sum(word == other for _, other in pairs) for _, word in pairs) <= 2


def test_a_held_out_pair_comes_only_when_both_halves_are_pinned():
    rng = random.Random(0)
    for type_, word in HELD_OUT:
        field = "color" if word in COLORS else "pattern"
        assert held_out(random_look(rng, type=type_, **{field: word}))
        assert not any(held_out(random_look(rng, type=type_)) for _ in range(30))
        assert not any(held_out(random_look(rng, **{field: word})) for _ in range(30))


def test_objects_repeat_by_seed_and_all_come():
    assert random_object(random.Random(4)) == random_object(random.Random(4))
    rng = random.Random(0)
    assert {random_object(rng).type for _ in range(500)} == set(OBJECTS)
