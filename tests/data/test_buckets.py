"""The sizes of buckets, which image gets which, and maps of several shapes."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unidiff_cli.data.buckets import Buckets, Size, check_size, grouped
from unidiff_cli.data.by_shape import ByShape, chosen_of, in_order, joined_maps, put
from unidiff_cli.errors import UsageError

# Side and the autoencoder's factor: nano, SD 1.x, SD 2.x, SDXL, and one that no step divides.
BASES = [(64, 4), (512, 8), (768, 8), (1024, 8), (520, 8)]


@pytest.mark.parametrize(("side", "factor"), BASES)
def test_sizes_are_about_the_square_s_area_from_tall_to_wide(side, factor):
    buckets = Buckets.of(side, factor)
    square, *others = buckets.sizes
    assert square == (side, side) and len(set(buckets.sizes)) == len(buckets.sizes)
    assert {Size(height, width) for width, height in others} == set(others)
    assert max(size.height / size.width for size in others) == 2
    for size in others:
        assert size.width % buckets.step == size.height % buckets.step == 0
        assert buckets.step % factor == 0 and 0.75 * side**2 < size.area <= side**2


@given(st.integers(1, 4000), st.integers(1, 4000), st.sampled_from(BASES))
def test_no_image_is_scaled_up_more_than_for_the_square(width, height, base):
    side, factor = base
    size = Buckets.of(side, factor).nearest(width, height)
    assert max(size.width / width, size.height / height) <= side / min(width, height) + 1e-9


@given(st.floats(0.5, 2), st.sampled_from(BASES[:4]))
def test_little_of_an_image_is_cropped(aspect, base):
    size = Buckets.of(*base).nearest(round(3000 * aspect), 3000)
    kept = min(aspect, size.width / size.height) / max(aspect, size.width / size.height)
    assert kept > 0.9


def test_sizes_of_stable_diffusion():
    found = [str(size) for size in Buckets.of(512, 8).sizes]
    assert found[:7] == [
        "512x512", "480x544", "544x480", "448x576", "576x448", "416x608", "608x416",
    ]  # fmt: skip
    assert Buckets.of(512, 8).nearest(1000, 1500) == (416, 608)


@pytest.mark.parametrize("text", ["512", "512x", "0x5", "5x5x5", "-8x8", "x", "8 by 8"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(UsageError, match="is no size"):
        Size.parse(text)


@pytest.mark.parametrize(
    ("size", "why"),
    [
        ("500x512", "multiples of 8"),
        ("256x768", "at most 2 times"),
        ("128x128", "0.25 to 2 times"),
        ("1024x1024", "0.25 to 2 times"),
    ],
)
def test_sizes_that_a_base_does_not_generate(size, why):
    with pytest.raises(UsageError, match=why) as raised:
        check_size(Size.parse(size), 512, 8)
    assert "Such as: 512x512" in str(raised.value)


@pytest.mark.parametrize("size", ["512x512", "512×768", " 768X512", "400x600", "256x256"])
def test_sizes_that_a_base_generates(size):
    check_size(Size.parse(size), 512, 8)


# ---------------------------------------------------------------- maps of several shapes


def maps_of(numbers):
    """Maps that hold their own number, the odd ones taller."""
    groups = grouped(number % 2 for number in numbers)
    parts = [
        torch.stack([torch.full((1, 2 + odd, 2), float(numbers[n])) for n in rows])
        for odd, rows in groups.items()
    ]
    return ByShape(parts, list(groups.values()))


def numbers_in(maps):
    return in_order([part[:, 0, 0, 0] for part in maps.parts], maps.rows).tolist()


def test_rows_of_several_shapes_keep_their_order():
    one, other = [3, 2, 5], [4, 7, 6, 8]
    whole = joined_maps([maps_of(one), maps_of(other)])
    assert numbers_in(whole) == [*one, *other] and len(whole) == 7
    assert chosen_of(whole, [5, 3])[:, 0, 0, 0].tolist() == [6, 4]
    with pytest.raises(ValueError, match="several shapes"):
        chosen_of(whole, [0, 1])
    put(whole, [1, 4], maps_of([12, 17]))
    assert numbers_in(whole) == [3, 12, 5, 4, 17, 6, 8]


def test_maps_of_one_shape_are_one_tensor():
    pair = torch.rand(2, 1, 2, 2)
    assert torch.equal(joined_maps([pair, pair]), torch.cat([pair, pair]))
    assert in_order([pair], [[0, 1]]) is pair
