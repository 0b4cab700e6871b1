""" "No image" files: one image of many products is left out, a product's own image is not."""

import pytest
from PIL import Image, ImageDraw, ImageFont

from tests.support.catalogue import encoded, photo
from tests.support.selections import caption, decoded
from unidiff_cli.config.prepare import Prepare
from unidiff_cli.data.sample import Cause
from unidiff_cli.data.selection import select


def no_image(words="No image available", shade="#eee", side=300) -> Image.Image:
    """The file that a shop shows where a photo is missing."""
    image = Image.new("RGB", (side, side), shade)
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(side // 12)
    pen.text((side // 8, side // 2), words, fill="#888", font=font)
    pen.rectangle((side // 3, side // 5, side // 2, side // 3), outline="#888", width=side // 50)
    return image


def left_out(rows, options=None, **columns) -> list[int]:
    """The numbers of the rows that are left out as placeholders."""
    selection = select(decoded(rows, **columns), options or Prepare(max_bad=1))
    rejected = selection.decoded.rejected
    assert all(item.reason.cause is Cause.PLACEHOLDER for item in rejected)
    assert sum(count for _, count in selection.placeholders) == len(rejected)
    return [int(item.row.split()[1]) for item in rejected]


def shop(images, products=30):
    """The first rows have the given images, the others photos; each its own caption."""
    given = list(images)
    rest = [photo(n) for n in range(len(given), products)]
    return [(image, caption(n)) for n, image in enumerate([*given, *rest])]


def test_one_file_of_many_products_is_left_out():
    assert left_out(shop([photo(999)] * 15)) == list(range(15))


def test_two_placeholders_are_two():
    rows = shop([photo(998), photo(999)] * 7)
    selection = select(decoded(rows), Prepare(max_bad=1))
    assert [count for _, count in selection.placeholders] == [7, 7]
    assert len(selection.decoded.samples) == 16


def test_copies_of_a_placeholder_are_found():
    copies = [
        encoded(no_image().resize((side, side)), kind, quality=quality)
        for kind, side, quality in (
            ("JPEG", 300, 90),
            ("JPEG", 200, 70),
            ("WEBP", 300, 80),
            ("PNG", 150, 0),
            ("JPEG", 120, 85),
            ("JPEG", 300, 60),
        )
    ]
    assert left_out(shop(copies)) == list(range(6))


def test_copies_are_not_looked_for_where_near_duplicates_are_off():
    copies = [encoded(no_image(), quality=q) for q in (95, 90, 85, 80, 75, 70)]
    assert left_out(shop(copies), Prepare(near_duplicates=0)) == []


def test_a_placeholder_of_one_colour_is_found_and_swatches_are_not():
    greys = [Image.new("RGB", (side, side), (200, 200, 201)) for side in (40, 64, 90, 100, 120, 80)]
    assert left_out(shop(greys)) == list(range(6))
    swatches = [Image.new("RGB", (64, 64), (9 * n, 250 - 9 * n, 90)) for n in range(20)]
    assert left_out(shop(swatches)) == []


@pytest.mark.parametrize(
    "captions",
    [
        [f"Alpha running shirt {size}" for size in "XS S M L XL XXL".split()],
        [f"Alpha running shirt in {color}" for color in "red blue green black grey pink".split()],
        [f"Stuhl Modell Oslo, Größe {n}" for n in range(6)],
        [f"红色连衣裙 {size}码" for size in ("S", "M", "L", "XL", "XXL", "XS")],
        ["the same"] * 6,
    ],
)
def test_variants_that_share_a_photo_are_no_placeholder(captions):
    rows = [(photo(999), text) for text in captions] + shop([], 30)
    assert left_out(rows) == []


def test_captions_of_one_product_may_be_unlike():
    rows = shop([photo(999)] * 8)
    assert left_out(rows, product=lambda n: "P1" if n < 8 else None) == []
    assert left_out(rows, product=lambda n: f"P{n}") == list(range(8))


def test_a_table_with_five_captions_an_image_has_no_placeholder_but_one_that_stands_out():
    texts = [f"{a} {b}" for a in ("man", "dog", "car") for b in ("runs", "sleeps", "waits", "sits")]
    rows = [(photo(n // 5), texts[(5 * n + n // 5) % 12]) for n in range(60)]
    assert left_out(rows) == []
    rows += [(photo(999), caption(n)) for n in range(24)]
    assert left_out(rows) == list(range(60, 84))


def test_few_unlike_captions_are_said_and_kept():
    rows = shop([photo(999)] * 4)
    selection = select(decoded(rows), Prepare())
    assert len(selection.decoded.samples) == 30
    (doubt,) = selection.doubts
    assert "4 rows with unlike captions: 0.jpg" in doubt.fact and not doubt.stops
    assert "prepare.placeholder=4" in doubt.action
    assert left_out(rows, Prepare(placeholder=4)) == [0, 1, 2, 3]


def test_several_such_images_are_one_doubt():
    rows = shop([photo(900 + n // 4) for n in range(12)])
    (doubt,) = select(decoded(rows), Prepare()).doubts
    assert "stands in 4 rows" in doubt.fact and doubt.action.startswith("2 more do so too. ")


def test_a_recipe_keeps_them():
    rows = shop([photo(999)] * 15)
    selection = select(decoded(rows), Prepare(placeholder=0))
    assert len(selection.decoded.samples) == 30 and "15 rows" in selection.doubts[0].fact
    with pytest.raises(ValueError, match="2 is the least"):
        Prepare(placeholder=1)


@pytest.mark.parametrize("placeholders, stops", [(6, False), (40, True)])
def test_many_stop_and_few_warn(placeholders, stops):
    rows = [(photo(999), caption(n)) for n in range(placeholders)]
    rows += [(photo(n % 10 + 100), caption(n)) for n in range(10)]
    options = Prepare(max_bad=0.5)
    (doubt,) = select(decoded(rows), options).doubts
    assert doubt.stops is stops and "prepare.placeholder=0" in doubt.action


# ---------------------------------------------------------------- among classes


def in_classes(images, names=("dress", "shirt"), count=60, options=None, **columns):
    """The doubts where images repeat in classes; the other rows have photos of their own."""
    photos = [*images, *(photo(n) for n in range(len(images), count))]
    rows = [(image, f"a photo of {names[n % len(names)]}") for n, image in enumerate(photos)]
    selection = select(decoded(rows, **columns), options or Prepare())
    assert len(selection.decoded.samples) == count
    return [doubt for doubt in selection.doubts if "One image stands" in doubt.fact]


def test_one_file_in_two_classes_is_asked_for():
    (doubt,) = in_classes([no_image()] * 12)
    assert "One image stands in 12 of 60 rows, with 2 captions: 0.jpg, 1.jpg" in doubt.fact
    assert doubt.stops and "prepare.placeholder=0" in doubt.action


@pytest.mark.parametrize("case", ["in one class", "saved again", "two of them", "in four classes"])
def test_other_repeated_files_of_classes_are_asked_for(case):
    names = ("dress",) if case == "in one class" else ("dress", "shirt", "hat", "bag")
    images = {
        "saved again": [encoded(no_image(), quality=q) for q in (95, 90, 85, 80, 75, 70)],
        "two of them": [no_image(), no_image("Coming soon", "#fff")] * 6,
    }.get(case, [photo(999)] * 8)
    (doubt,) = in_classes(images, names)
    assert doubt.stops and ("1 more do so" in doubt.fact) is (case == "two of them")


@pytest.mark.parametrize(
    "options", [Prepare(placeholder=0), Prepare(max_bad=0.2), Prepare(dedupe="keep", max_bad=0.3)]
)
def test_a_recipe_makes_it_a_warning(options):
    (doubt,) = in_classes([photo(999)] * 8, options=options)
    assert not doubt.stops


def test_few_copies_in_classes_are_fine():
    assert not in_classes([photo(999)] * 4)
    assert not in_classes([photo(999)] * 8, product=lambda n: "P" if n < 8 else f"P{n}")
    assert not in_classes([photo(900 + n // 2) for n in range(20)])
