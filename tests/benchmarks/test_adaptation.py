"""The adaptation benchmark: what its two splits hold out, how its figures add up, and a whole small run."""

import csv
import json

import pytest

from benchmarks import adaptation
from tests.support.catalogue import COLORS, SHAPES, render_thing
from unidiff_cli import Project


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """12 products, seen from the front and, all but the last two, from behind; a split column that must not count."""
    folder = tmp_path_factory.mktemp("adaptation") / "shop"
    (folder / "images").mkdir(parents=True)
    rows = []
    for p in range(12):
        color, shape = list(COLORS)[p % 5], SHAPES[p % 3]
        for v, view in enumerate(("front", "back") if p < 10 else ("front",)):
            render_thing(color, shape, 10 * p + v).save(folder / "images" / f"{p}-{view}.png")
            row = {
                "image": f"images/{p}-{view}.png",
                "caption": f"N{p} {shape} in {color}",
                "product": f"P{p}",
            }
            rows.append(
                row | {"name": f"N{p} {shape}", "color": color, "view": view, "split": "train"}
            )
    with open(folder / "catalog.csv", "w", newline="") as file:
        table = csv.DictWriter(file, rows[0])
        table.writeheader()
        table.writerows(rows)
    return folder


def run(shop, tiny_base, out, *more):
    near = (
        "prepare.near_duplicates=0",
        "prepare.workers=1",
        "evaluate.images=4",
        "train.validate_every=9",
    )
    given = [f"--set={text}" for text in (f"base={tiny_base}", *near)]
    adaptation.main(["--catalog", str(shop), "--out", str(out), "--steps=2", *given, *more])
    rows = adaptation.Shards.open(Project(out / "project").path("shards")).rows()
    return json.loads((out / "figures.json").read_text()), rows


def test_a_product_is_trained_on_by_its_front_and_looked_for_by_the_rest():
    products = [f"p{i}" for i in range(20) for _ in range(3)] + ["only", "side", None]
    views = ["main", "back", "alt"] * 20 + ["front", "back", "back"]
    splits = adaptation.by_view(products, views)
    trained = {p for p, s in zip(products, splits, strict=True) if s == "train"}
    for product, view, split in zip(products, views, splits, strict=True):
        if view in ("main", "front") or product in (
            "side",
            None,
        ):  # without a front image it would be unknown
            assert split == "train"
        else:
            assert split in ("val", "test") and product in trained
    held = {
        s: {p for p, t in zip(products, splits, strict=True) if s == t} for s in ("val", "test")
    }
    assert (
        held["val"] and not held["val"] & held["test"] and len(held["test"]) > 2 * len(held["val"])
    )


def test_views_hold_out_images_and_everything_is_written(shop, tiny_base, tmp_path, capsys):
    found, rows = run(
        shop,
        tiny_base,
        tmp_path,
        "--split=views",
        "--seeds",
        "0",
        "1",
        "--alphas=0.5",
        "--anchor=1",
    )
    assert {(r.split == "train") == (r.attributes["view"] == "front") for r in rows} == {True}
    assert {r.attributes["product"] for r in rows if r.split != "train"} == {
        f"P{p}" for p in range(10)
    }
    models = found["models"]
    assert list(models) == ["base", "tuned", "tuned, alpha 0.5", "anchored", "anchored, alpha 0.5"]
    assert models["base"]["r5_t2i"]["sd"] is None and models["tuned"]["kid"]["sd"] is not None
    assert len(found["seeds"]["tuned"]) == 2 and len(found["seeds"]["base"]) == 1
    assert (tmp_path / "sheet.png").stat().st_size > 1000
    printed = capsys.readouterr().out
    assert printed.startswith("views: 12 / ") and "| tuned, alpha 0.5 |" in printed
    assert str(shop) not in (tmp_path / "figures.json").read_text()


def test_products_hold_out_whole_products(shop, tiny_base, tmp_path):
    _, rows = run(shop, tiny_base, tmp_path, "--split=products")
    sides = {
        s: {r.attributes["product"] for r in rows if r.split == s} for s in ("train", "val", "test")
    }
    assert all(sides.values()) and sum(map(len, sides.values())) == 12  # none on two sides
    assert {r.attributes["view"] for r in rows if r.split == "test"} == {"front", "back"}


def test_mean_and_deviation_over_seeds():
    found = adaptation.summary([{"r5_t2i": 0.2, "minutes": 3.0}, {"r5_t2i": 0.4, "minutes": 3.0}])
    assert found["r5_t2i"]["mean"] == pytest.approx(0.3) and found["r5_t2i"]["sd"] == pytest.approx(
        0.1414, abs=1e-4
    )
    assert "| m | 30.0 ± 14.1 % | 3.0 ± 0.0 |" in adaptation.markdown({"m": found})
    assert adaptation.against({"r5_t2i": 0.6, "r5_i2t": 0.4}, {"r5_t2i": 0.2, "r5_i2t": 0.2}) == {
        "r5_ratio": pytest.approx(2.5)
    }
