"""Groups that must stay together: those of products, equal and near-equal images."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from unidiff_cli.data import duplicates


def named(products, contents, pairs) -> list[str]:
    """The name of each image's group."""
    groups = duplicates.groups_of(
        np.array([hash(product) if product else 0 for product in products], np.int64),
        np.array([bytes([content]) for content in contents], "S16"),
        pairs,
        products.__getitem__,
    )
    names = [groups.name(number) for number in groups.numbers]
    assert [groups.name_of(n, product) for n, product in enumerate(products)] == names
    return names


def test_groups_join_products_contents_and_pairs():
    products = ["a", None, "b", None, None, "c", ""]
    contents = [1, 1, 2, 3, 2, 4, 5]
    assert named(products, contents, [(3, 4)]) == ["a", "a", "b", "b", "b", "c", "050000000000"]


ROWS = st.lists(st.tuples(st.sampled_from([None, "", *"abcde"]), st.integers(1, 12)), max_size=25)


@settings(deadline=None)
@given(ROWS.filter(len), st.lists(st.tuples(st.integers(0, 24), st.integers(0, 24)), max_size=4))
def test_a_group_has_the_first_of_its_names(rows, pairs):
    pairs = [(a, b) for a, b in pairs if max(a, b) < len(rows)]
    groups = [{n} for n in range(len(rows))]

    def join(a: int, b: int) -> None:
        both = groups[a] | groups[b]
        for n in both:
            groups[n] = both

    for a, (product, content) in enumerate(rows):
        for b, (other, equal) in enumerate(rows):
            if (product and product == other) or content == equal:
                join(a, b)
    for a, b in pairs:
        join(a, b)
    names = [
        min([rows[n][0] for n in group if rows[n][0]], default=None)
        or min(bytes([rows[n][1]]).ljust(6, b"\0").hex() for n in group)
        for group in groups
    ]
    products, contents = zip(*rows, strict=True)
    assert named(products, contents, pairs) == names
