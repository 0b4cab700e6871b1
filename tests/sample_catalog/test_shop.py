"""The sample shop: it sells everything, nano never saw it, and it is the same tomorrow."""

import csv
import hashlib
import random
from collections import Counter, defaultdict

import pytest

from tests.support.source import run_python
from unidiff_cli.errors import UsageError
from unidiff_cli.sample_catalog import (
    COLORS,
    HOUSE_COLORS,
    HOUSE_CUTS,
    PATTERNS,
    TYPES,
    held_out,
    random_look,
    stock,
    write_catalog,
)
from unidiff_cli.sample_catalog.shop import COLUMNS, MOST

pytest.importorskip("resvg_py")


@pytest.fixture(scope="module")
def shop():
    """The default shop, as a table: nothing is rendered."""
    return stock()


@pytest.fixture(scope="module")
def products(shop):
    """The rows of each product of the default shop."""
    groups = defaultdict(list)
    for row, _ in shop:
        groups[row["product"]].append(row)
    return list(groups.values())


def test_the_default_shop_is_large_and_sells_everything(shop, products):
    rows = [row for row, _ in shop]
    assert len(rows) >= 600 and len(products) >= 250
    assert {row["type"] for row in rows} == set(TYPES)
    assert {row["pattern"] for row in rows} == set(PATTERNS)
    assert {row["color"] for row in rows} == set(HOUSE_COLORS)
    assert {row["cut"] for row in rows} == {"", *HOUSE_CUTS}
    assert sum(row["cut"] != "" for row in rows) > len(rows) / 2


def test_every_image_caption_and_name_is_one_of_a_kind(shop, products):
    assert len({group[0]["name"] for group in products}) == len(products)
    for column in ("image", "caption"):
        assert len({row[column] for row, _ in shop}) == len(shop)


def test_a_product_is_one_design_in_one_or_two_colours(products):
    for group in products:
        colors = Counter(row["color"] for row in group)
        assert len(colors) <= 2 and set(colors.values()) <= {2, 3}
        fronts = {row["color"] for row in group if row["view"] == "front"}
        assert fronts == set(colors)
        assert len({(row["name"], row["type"], row["cut"], row["pattern"]) for row in group}) == 1
    second = sum(len({row["color"] for row in group}) == 2 for group in products)
    assert 0.1 < second / len(products) < 0.25


def test_a_caption_names_the_product(shop):
    for row, _ in shop:
        words = (row["name"].split()[0], row["type"], row["color"])
        assert all(word in row["caption"] for word in words)


def test_the_shop_sells_what_nano_never_saw(shop):
    looks = [random_look(random.Random(i)) for i in range(5_000)]
    assert len(HOUSE_COLORS) == 12
    assert {"red", "blue", "green", "black", "white"} <= set(HOUSE_COLORS)
    assert len(set(HOUSE_COLORS) - {look.color for look in looks}) == 5
    assert {look.cut for look in looks} == {""}
    assert not {look.background for look in looks} & {look.background for _, look in shop}
    # A word that nano knows has a shade of the house's own.
    shared = HOUSE_COLORS.keys() & COLORS.keys()
    assert all(HOUSE_COLORS[color] != COLORS[color] for color in shared)
    assert 20 < sum(held_out(look) for _, look in shop) < len(shop) / 4


# ---------------------------------------------------------------- on disk


def digest(directory):
    """One hash of every file in a directory."""
    total = hashlib.sha256()
    for file in sorted(directory.rglob("*")):
        if file.is_file():
            total.update(file.name.encode() + file.read_bytes())
    return total.hexdigest()


def table(directory):
    with open(directory / "catalog.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_catalogue_has_its_columns_and_images(tmp_path):
    calls = []
    count = write_catalog(tmp_path, images=25, seed=1, progress=lambda *at: calls.append(at))
    assert 25 <= count < 31 and calls[-1] == (count, count) and len(calls) == count
    rows = table(tmp_path)
    assert tuple(rows[0]) == COLUMNS and rows == [row for row, _ in stock(25, seed=1)]
    files = {f"images/{file.name}" for file in (tmp_path / "images").iterdir()}
    assert files == {row["image"] for row in rows}


def test_a_catalogue_repeats_itself(tmp_path):
    for name in "ab":
        write_catalog(tmp_path / name, images=25, seed=1)
    assert digest(tmp_path / "a") == digest(tmp_path / "b")
    assert stock(25, seed=1) != stock(25, seed=2)


def test_the_largest_shop_has_names_for_all():
    assert len(stock(MOST)) >= MOST


def test_it_refuses_a_directory_that_holds_something(tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(UsageError, match="not empty"):
        write_catalog(tmp_path, images=1)
    with pytest.raises(UsageError, match="is a file"):
        write_catalog(tmp_path / "mine.txt", images=1)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("count", [0, MOST + 1])
def test_it_refuses_a_count_without_names(tmp_path, count):
    with pytest.raises(UsageError, match=f"{count} images"):
        write_catalog(tmp_path / "new", images=count)
    assert not (tmp_path / "new").exists()


def test_the_module_is_light():
    code = (
        "import sys, unidiff_cli.sample_catalog\n"
        "heavy = ('PIL', 'resvg_py', 'numpy', 'torch')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    assert run_python(code).strip() == "[]"
