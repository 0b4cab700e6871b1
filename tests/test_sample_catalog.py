"""The drawn shop: its pictures are the colour they say, its catalogue is a catalogue, and both are the same tomorrow."""

import csv
import hashlib
import itertools
import random
import subprocess
import sys

import pytest

from unidiff_cli.errors import UsageError
from unidiff_cli.sample_catalog import (
    COLORS,
    COLUMNS,
    PATTERNS,
    TYPES,
    Look,
    caption,
    draw,
    random_look,
    write_catalog,
)

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


def test_there_is_enough_to_sell():
    assert len(TYPES) >= 14 and len(COLORS) == 12 and len(PATTERNS) == 6


@pytest.mark.parametrize("type_", TYPES)
def test_every_type_draws_in_every_pattern_and_view(type_):
    rng = random.Random(type_)
    pictures = {
        draw(random_look(rng, type=type_, pattern=p, view=rng.choice(("front", "back"))), 64).tobytes()
        for p in PATTERNS
    }
    assert len(pictures) == len(PATTERNS)
    picture = draw(random_look(rng, type=type_, view="detail"), 64)
    assert picture.mode == "RGB" and picture.size == (64, 64)


@pytest.mark.parametrize("type_", TYPES)
def test_every_word_of_a_type_changes_the_picture(type_):
    kind = TYPES[type_]
    for field, choices in (("sleeve", kind.sleeves), ("length", kind.lengths), ("neckline", kind.necklines)):
        base = random_look(random.Random(0), type=type_, view="front", setting="studio")
        drawn = {draw(Look(**{**vars(base), field: choice}), 64).tobytes() for choice in choices}
        assert len(drawn) == len(choices), f"{type_}: {field}"


@pytest.mark.parametrize("color", COLORS)
def test_the_garment_is_nearest_to_the_colour_it_is_called(color):
    from PIL import ImageStat

    from unidiff_cli.sample_catalog.fabric import distances
    from unidiff_cli.sample_catalog.studio import silhouette

    rng = random.Random(color)
    for type_ in TYPES:
        look = random_look(rng, type=type_, color=color, pattern="plain")
        median = ImageStat.Stat(draw(look, 64), silhouette(look, 64).point([0] * 250 + [255] * 6)).median
        away = distances(median)
        assert min(away, key=away.get) == color, f"{look}: {median}"


@pytest.mark.parametrize("color", COLORS)
def test_plain_cloth_has_folds_and_a_lamp_on_one_side(color):
    from PIL import ImageStat

    pose = dict(view="front", setting="studio", scale=1, angle=0, dx=0, dy=0, mirror=False, length="midi")
    looks = [
        random_look(random.Random(1), type="skirt", color=color, pattern="plain", light=light, **pose)
        for light in (-0.9, 0.9)
    ]
    # A band across the middle of the skirt: no seam there, so flat dye would spread by its noise alone, 2 levels.
    bands = [draw(look, 128).convert("L").crop((38, 70, 90, 80)) for look in looks]
    assert min(ImageStat.Stat(band).stddev[0] for band in bands) > 4
    left = [ImageStat.Stat(band.crop((0, 0, 26, 10))).mean[0] for band in bands]
    right = [ImageStat.Stat(band.crop((26, 0, 52, 10))).mean[0] for band in bands]
    assert left[0] - right[0] > left[1] - right[1] + 1


def test_the_same_look_is_the_same_picture_and_another_shade_is_another():
    look = random_look(random.Random(3))
    assert draw(look, 96).tobytes() == draw(look, 96).tobytes()
    assert draw(look, 96).tobytes() != draw(Look(**{**vars(look), "shade": look.shade + 1}), 96).tobytes()


def test_pinned_fields_stay_and_the_rest_is_drawn_as_before():
    free, pinned = random_look(random.Random(5)), random_look(random.Random(5), view="detail", angle=1.5)
    assert pinned == Look(**{**vars(free), "view": "detail", "angle": 1.5})
    assert len({random_look(random.Random(i)) for i in range(50)}) == 50


def test_captions_name_colour_and_type_in_many_ways():
    rng = random.Random(0)
    for look, name in itertools.product((random_look(rng) for _ in range(200)), ("", "Juno")):
        text = caption(look, rng, name and f"{name} {look.type}")
        assert look.color in text and look.type in text and name in text
        assert "  " not in text and " ," not in text and text == text.strip(" ,")
    look = random_look(rng, type="dress", color="red", pattern="striped", sleeve="long", audience="women")
    assert len({caption(look, rng) for _ in range(200)}) > 40


def test_a_catalogue_has_its_columns_and_pictures_and_repeats_itself(tmp_path):
    seen = []
    assert write_catalog(tmp_path / "a", pictures=45, seed=1, progress=lambda *at: seen.append(at)) == 45
    assert seen[-1] == (45, 45) and len(seen) == 45
    rows = table(tmp_path / "a")
    assert tuple(rows[0]) == COLUMNS and len(rows) == 45
    assert len(list((tmp_path / "a" / "images").iterdir())) == 45
    assert all((tmp_path / "a" / row["image"]).is_file() for row in rows)
    assert len({row["caption"] for row in rows}) > 0.95 * len(rows)
    for _, group in itertools.groupby(rows, key=lambda row: row["product"]):
        group = list(group)
        assert len({row["name"] for row in group}) == 1
        assert 1 <= len({row["color"] for row in group}) <= 3
    write_catalog(tmp_path / "b", pictures=45, seed=1)
    write_catalog(tmp_path / "c", pictures=45, seed=2)
    assert digest(tmp_path / "a") == digest(tmp_path / "b") != digest(tmp_path / "c")


def test_the_default_catalogue_sells_every_type_and_colour(tmp_path, monkeypatch):
    import unidiff_cli.sample_catalog as shop

    blank = draw(random_look(random.Random(0)), 8)
    monkeypatch.setattr(shop, "draw", lambda look: blank)
    assert write_catalog(tmp_path) >= 300
    rows = table(tmp_path)
    assert {row["type"] for row in rows} == set(TYPES)
    assert {row["color"] for row in rows} == set(COLORS)
    assert len({row["image"] for row in rows}) == len(rows)
    names = {row["product"]: row["name"] for row in rows}
    assert len(set(names.values())) == len(names)
    assert write_catalog(tmp_path / "large", pictures=2000) == 2000


def test_it_refuses_a_directory_that_holds_something(tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(UsageError, match="not empty"):
        write_catalog(tmp_path, pictures=1)
    with pytest.raises(UsageError, match="is a file"):
        write_catalog(tmp_path / "mine.txt", pictures=1)
    with pytest.raises(UsageError, match="0 pictures"):
        write_catalog(tmp_path / "new", pictures=0)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


def test_the_module_is_light():
    code = "import sys, unidiff_cli.sample_catalog; print([m for m in ('PIL', 'resvg_py', 'numpy', 'torch') if m in sys.modules])"
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()
        == "[]"
    )
