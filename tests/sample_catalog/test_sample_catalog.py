"""The drawn shop: its images are the colour they say, its catalogue is a catalogue, and both are the same tomorrow."""

import csv
import hashlib
import itertools
import random
import subprocess
import sys
from collections import Counter, defaultdict
from dataclasses import replace

import pytest

from unidiff_cli.errors import UsageError
from unidiff_cli.sample_catalog import (
    COLORS,
    COLUMNS,
    HELD_OUT,
    HOUSE_COLORS,
    HOUSE_CUTS,
    MOST,
    OBJECTS,
    PATTERNS,
    TYPES,
    Look,
    caption,
    draw,
    held_out,
    random_look,
    random_object,
    stock,
    write_catalog,
)
from unidiff_cli.sample_catalog.look import palette

pytest.importorskip("resvg_py")


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


def colour_of(look):
    """The name, of the look's own palette, nearest to its cloth in the image."""
    from PIL import ImageStat

    from unidiff_cli.sample_catalog.fabric import distances
    from unidiff_cli.sample_catalog.studio import silhouette

    cloth = silhouette(look, 64).point([0] * 250 + [255] * 6)
    away = distances(ImageStat.Stat(draw(look, 64), cloth).median, palette(look))
    return min(away, key=away.get)


def test_there_is_enough_to_sell():
    assert len(TYPES) >= 14 and len(COLORS) == 12 and len(PATTERNS) == 6


@pytest.mark.parametrize("type_", TYPES)
def test_every_type_draws_in_every_pattern_and_view(type_):
    rng = random.Random(type_)
    images = {
        draw(
            random_look(rng, type=type_, pattern=p, view=rng.choice(("front", "back"))), 64
        ).tobytes()
        for p in PATTERNS
    }
    assert len(images) == len(PATTERNS)
    image = draw(random_look(rng, type=type_, view="detail"), 64)
    assert image.mode == "RGB" and image.size == (64, 64)


@pytest.mark.parametrize("type_", TYPES)
def test_every_word_of_a_type_changes_the_image(type_):
    kind = TYPES[type_]
    for field, choices in (
        ("sleeve", kind.sleeves),
        ("length", kind.lengths),
        ("neckline", kind.necklines),
    ):
        base = random_look(random.Random(0), type=type_, view="front", setting="studio")
        drawn = {draw(Look(**{**vars(base), field: choice}), 64).tobytes() for choice in choices}
        assert len(drawn) == len(choices), f"{type_}: {field}"


@pytest.mark.parametrize("color", COLORS)
def test_the_garment_is_nearest_to_the_colour_it_is_called(color):
    rng = random.Random(color)
    for type_ in TYPES:
        look = random_look(rng, type=type_, color=color, pattern="plain")
        assert colour_of(look) == color, f"{look}"


@pytest.mark.parametrize("thing", OBJECTS)
def test_an_object_has_the_colour_it_is_called(thing):
    rng = random.Random(thing)
    for color in OBJECTS[thing].colors:
        look = random_object(rng, type=thing, color=color, pattern="plain")
        assert draw(look, 64).mode == "RGB" and draw(look, 64).size == (64, 64)
        assert colour_of(look) == color, f"{look}"


@pytest.mark.parametrize("maker, kinds", ((random_look, TYPES), (random_object, OBJECTS)))
def test_a_thing_is_whole_and_fills_the_frame(maker, kinds):
    from unidiff_cli.sample_catalog.studio import silhouette

    for type_ in kinds:
        look = maker(random.Random(type_), type=type_, view="front")
        left, top, right, bottom = silhouette(look, 128).getbbox()
        assert min(left, top, 128 - right, 128 - bottom) > 0, f"{look}"
        # What sticks out, such as a stem, wheels or a straw, takes its part of the frame too.
        assert max(right - left, bottom - top) > 0.75 * look.scale * 128, f"{look}"


@pytest.mark.parametrize("color", COLORS)
def test_plain_cloth_has_folds_and_a_lamp_on_one_side(color):
    from PIL import ImageStat

    pose = dict(
        view="front", setting="studio", scale=1, angle=0, dx=0, dy=0, mirror=False, length="midi"
    )
    looks = [
        random_look(
            random.Random(1), type="skirt", color=color, pattern="plain", light=light, **pose
        )
        for light in (-0.9, 0.9)
    ]
    # A band across the middle of the skirt: no seam there, so flat dye would spread by its noise alone, 2 levels.
    bands = [draw(look, 128).convert("L").crop((38, 70, 90, 80)) for look in looks]
    assert min(ImageStat.Stat(band).stddev[0] for band in bands) > 4
    left = [ImageStat.Stat(band.crop((0, 0, 26, 10))).mean[0] for band in bands]
    right = [ImageStat.Stat(band.crop((26, 0, 52, 10))).mean[0] for band in bands]
    assert left[0] - right[0] > left[1] - right[1] + 1


def test_the_same_look_is_the_same_image_and_another_shade_is_another():
    look = random_look(random.Random(3))
    assert draw(look, 96).tobytes() == draw(look, 96).tobytes()
    assert (
        draw(look, 96).tobytes()
        != draw(Look(**{**vars(look), "shade": look.shade + 1}), 96).tobytes()
    )


def test_pinned_fields_stay_and_the_rest_is_drawn_as_before():
    free, pinned = (
        random_look(random.Random(5)),
        random_look(random.Random(5), view="detail", angle=1.5),
    )
    assert pinned == Look(**{**vars(free), "view": "detail", "angle": 1.5})
    assert len({random_look(random.Random(i)) for i in range(50)}) == 50
    # A pinned colour keeps the type, but for the one type it is held out of.
    kept = [
        random_look(random.Random(i)).type == random_look(random.Random(i), color="red").type
        for i in range(200)
    ]
    assert sum(kept) > 150


def test_no_held_out_pair_is_drawn_and_every_word_is_seen_with_most_types():
    looks = [random_look(random.Random(i)) for i in range(10_000)]
    assert not any(map(held_out, looks))
    assert looks[:100] == [random_look(random.Random(i)) for i in range(100)]
    seen = defaultdict(set)
    for look in looks:
        seen[look.color].add(look.type)
        seen[look.pattern].add(look.type)
    assert all(len(seen[word]) >= len(TYPES) - 2 for word in (*COLORS, *PATTERNS))
    assert seen["plain"] == set(TYPES)
    # All that is missing was meant to be.
    assert {(t, w) for w in seen for t in TYPES if t not in seen[w]} == HELD_OUT


def test_held_out_pairs_are_spread_and_come_only_when_both_halves_are_pinned():
    colors = [pair for pair in HELD_OUT if pair[1] in COLORS]
    patterns = [pair for pair in HELD_OUT if pair[1] in PATTERNS]
    assert len(colors) + len(patterns) == len(HELD_OUT) and ("dress", "red") not in HELD_OUT
    for pairs in (colors, patterns):
        assert len({type_ for type_, _ in pairs}) == len(pairs) >= 10
        assert max(sum(word == other for _, other in pairs) for _, word in pairs) <= 2
    rng = random.Random(0)
    for type_, word in HELD_OUT:
        field = "color" if word in COLORS else "pattern"
        assert held_out(random_look(rng, type=type_, **{field: word}))
        assert not any(held_out(random_look(rng, type=type_)) for _ in range(30))
        assert not any(held_out(random_look(rng, **{field: word})) for _ in range(30))


def test_captions_name_colour_and_type_in_many_ways():
    rng = random.Random(0)
    for look, name in itertools.product((random_look(rng) for _ in range(200)), ("", "Juno")):
        text = caption(look, rng, name and f"{name} {look.type}")
        assert look.color in text and look.type in text and name in text
        assert "  " not in text and " ," not in text and text == text.strip(" ,")
    look = random_look(
        rng, type="dress", color="red", pattern="striped", sleeve="long", audience="women"
    )
    assert len({caption(look, rng) for _ in range(200)}) > 40


def test_captions_name_an_object_and_its_colour_as_people_do():
    rng = random.Random(0)
    for look in (random_object(rng) for _ in range(500)):
        text = caption(look, rng)
        assert look.color in text and look.type in text and "orange orange" not in text
        assert "  " not in text and " ," not in text and text == text.strip(" ,")
        assert not any(word in text for word in ("sleeve", "women", "kids", "pair of"))
    said = {
        caption(random_object(rng, type="mug", color="green", pattern="plain"), rng)
        for _ in range(200)
    }
    assert {"green mug", "a green mug", "a photo of a green mug", "green mug on a table"} <= said
    assert "an orange" in {caption(random_object(rng, type="orange"), rng) for _ in range(100)}
    assert random_object(random.Random(4)) == random_object(random.Random(4))
    assert {random_object(rng).type for _ in range(500)} == set(OBJECTS)


def test_nano_is_pre_trained_on_the_same_words_as_ever():
    # Nothing that the house adds may cost random_look or an unnamed caption a draw.
    total = hashlib.sha256()
    for seed in range(300):
        rng = random.Random(seed)
        look = random_object(rng) if seed % 3 == 0 else random_look(rng)
        total.update(caption(look, rng).encode())
    assert total.hexdigest()[:16] == "141cc2b5a2359c16"


@pytest.fixture(scope="module")
def shop():
    """The default shop, as a table: nothing is drawn."""
    return stock()


def test_the_default_shop_is_large_and_sells_everything(shop):
    rows, products = [row for row, _ in shop], defaultdict(list)
    for row in rows:
        products[row["product"]].append(row)
    assert len(rows) >= 600 and len(products) >= 250
    assert {row["type"] for row in rows} == set(TYPES) and {row["pattern"] for row in rows} == set(
        PATTERNS
    )
    assert {row["color"] for row in rows} == set(HOUSE_COLORS)
    assert {row["cut"] for row in rows} == {"", *HOUSE_CUTS}
    assert len({group[0]["name"] for group in products.values()}) == len(products)
    for column in ("image", "caption"):
        assert len({row[column] for row in rows}) == len(rows)
    for group in products.values():
        colors = Counter(row["color"] for row in group)
        assert len(colors) <= 2 and set(colors.values()) <= {2, 3}
        assert all(
            ("front", color) in {(row["view"], row["color"]) for row in group} for color in colors
        )
        assert len({(row["name"], row["type"], row["cut"], row["pattern"]) for row in group}) == 1
    second = sum(len({row["color"] for row in group}) == 2 for group in products.values())
    assert 0.1 < second / len(products) < 0.25
    assert sum(row["cut"] != "" for row in rows) > len(rows) / 2
    for row in rows:
        assert all(
            word in row["caption"] for word in (row["name"].split()[0], row["type"], row["color"])
        )


def test_the_shop_sells_what_nano_never_saw(shop):
    seen = [random_look(random.Random(i)) for i in range(5_000)]
    assert len(HOUSE_COLORS) == 12 and {"red", "blue", "green", "black", "white"} <= set(
        HOUSE_COLORS
    )
    assert len(set(HOUSE_COLORS) - {look.color for look in seen}) == 5
    assert not {look.cut for look in seen} - {""}
    assert not {look.background for look in seen} & {look.background for _, look in shop}
    # A word that nano knows has a shade of the house's own.
    assert all(
        HOUSE_COLORS[color] != COLORS[color] for color in HOUSE_COLORS.keys() & COLORS.keys()
    )
    assert 20 < sum(held_out(look) for _, look in shop) < len(shop) / 4


@pytest.mark.parametrize("color", HOUSE_COLORS)
def test_a_house_colour_is_nearest_to_itself(shop, color):
    looks = [
        look
        for _, look in shop
        if (look.color, look.pattern, look.view) == (color, "plain", "front")
    ]
    assert len(looks) > 4
    for look in looks[:8]:
        assert colour_of(look) == color, f"{look}"


@pytest.mark.parametrize(
    "cut, type_", [(cut, type_) for cut, types in HOUSE_CUTS.items() for type_ in types]
)
def test_a_cut_shows_at_nanos_size(shop, cut, type_):
    from PIL import ImageChops

    look = next(
        look
        for _, look in shop
        if (look.type, look.view) == (type_, "front") and look.color != "white"
    )
    look = replace(look, sleeve=look.sleeve and "long", pattern="plain", cut="")
    changed = ImageChops.difference(draw(look, 64), draw(replace(look, cut=cut), 64)).convert("L")
    assert sum(changed.histogram()[40:]) > 0.015 * 64 * 64


def test_a_catalogue_has_its_columns_and_images_and_repeats_itself(tmp_path):
    seen = []
    count = write_catalog(tmp_path / "a", images=25, seed=1, progress=lambda *at: seen.append(at))
    assert 25 <= count < 31 and seen[-1] == (count, count) and len(seen) == count
    rows = table(tmp_path / "a")
    assert tuple(rows[0]) == COLUMNS and rows == [row for row, _ in stock(25, seed=1)]
    assert {f"images/{file.name}" for file in (tmp_path / "a" / "images").iterdir()} == {
        row["image"] for row in rows
    }
    write_catalog(tmp_path / "b", images=25, seed=1)
    assert digest(tmp_path / "a") == digest(tmp_path / "b")
    assert stock(25, seed=1) != stock(25, seed=2)
    assert len(stock(MOST)) >= MOST


def test_it_refuses_a_directory_that_holds_something(tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(UsageError, match="not empty"):
        write_catalog(tmp_path, images=1)
    with pytest.raises(UsageError, match="is a file"):
        write_catalog(tmp_path / "mine.txt", images=1)
    for count in (0, MOST + 1):
        with pytest.raises(UsageError, match=f"{count} images"):
            write_catalog(tmp_path / "new", images=count)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


def test_the_module_is_light():
    code = "import sys, unidiff_cli.sample_catalog; print([m for m in ('PIL', 'resvg_py', 'numpy', 'torch') if m in sys.modules])"
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()
        == "[]"
    )
