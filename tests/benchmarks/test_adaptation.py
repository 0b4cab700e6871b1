"""The adaptation benchmark: what its two splits hold out, its arithmetic, and small runs."""

import csv
import json

import pytest

from benchmarks import adaptation
from benchmarks.parts.adaptation_table import markdown, recall_ratio, summarize
from benchmarks.parts.splits import by_view
from tests.support.catalogue import COLORS, SHAPES, render_thing
from unidiff_cli import Project
from unidiff_cli.data.shards import Shards


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """12 products, seen from the front and, all but the last two, from behind.

    It has a split column that must not count.
    """
    folder = tmp_path_factory.mktemp("adaptation") / "shop"
    (folder / "images").mkdir(parents=True)
    rows = []
    for p in range(12):
        color, shape = list(COLORS)[p % 5], SHAPES[p % 3]
        for v, view in enumerate(("front", "back") if p < 10 else ("front",)):
            image = f"images/{p}-{view}.png"
            render_thing(color, shape, 10 * p + v).save(folder / image)
            row = {"image": image, "caption": f"N{p} {shape} in {color}", "product": f"P{p}"}
            row |= {"name": f"N{p} {shape}", "color": color, "view": view, "split": "train"}
            rows.append(row)
    with open(folder / "catalog.csv", "w", newline="") as file:
        table = csv.DictWriter(file, rows[0])
        table.writeheader()
        table.writerows(rows)
    return folder


def run(shop, tiny_base, out, *options):
    """A run of two steps: its figures, and the rows of its project."""
    assignments = (
        f"base={tiny_base}",
        "prepare.near_duplicates=0",
        "prepare.workers=1",
        "evaluate.images=4",
        "train.validate_every=9",
    )
    given = [f"--set={text}" for text in assignments]
    adaptation.main(["--catalog", str(shop), "--out", str(out), "--steps=2", *given, *options])
    rows = Shards.open(Project(out / "project").path("shards")).rows()
    return json.loads((out / "figures.json").read_text()), rows


# ---------------------------------------------------------------- splits


def test_a_product_is_trained_on_by_its_front_and_retrieved_by_the_rest():
    products = [f"p{i}" for i in range(20) for _ in range(3)]
    views = ["main", "back", "alt"] * 20
    splits = by_view(products, views)
    assert {s for s, view in zip(splits, views, strict=True) if view == "main"} == {"train"}
    others = [(p, s) for p, s, v in zip(products, splits, views, strict=True) if v != "main"]
    held_out = {name: {p for p, s in others if s == name} for name in ("val", "test")}
    assert held_out["val"] | held_out["test"] == set(products)
    assert held_out["val"] and not held_out["val"] & held_out["test"]
    assert len(held_out["test"]) > 2 * len(held_out["val"])


def test_without_a_front_image_a_product_is_trained_on():
    products, views = ["only", "side", None], ["front", "back", "back"]
    assert by_view(products, views) == ["train"] * 3


@pytest.mark.slow
def test_products_hold_out_whole_products(shop, tiny_base, tmp_path):
    _, rows = run(shop, tiny_base, tmp_path, "--split=products")
    sides = {
        split: {r.attributes["product"] for r in rows if r.split == split}
        for split in ("train", "val", "test")
    }
    # None is on two sides.
    assert all(sides.values()) and sum(map(len, sides.values())) == 12
    assert {r.attributes["view"] for r in rows if r.split == "test"} == {"front", "back"}


# ---------------------------------------------------------------- a whole run


@pytest.fixture(scope="module")
def views_run(shop, tiny_base, tmp_path_factory):
    """A run of `views` with two seeds, a blend and an anchor: its folder, figures and rows."""
    out = tmp_path_factory.mktemp("views")
    options = ["--split=views", "--seeds", "0", "1", "--alphas=0.5", "--anchor=1"]
    return out, *run(shop, tiny_base, out, *options)


@pytest.mark.slow
def test_views_hold_out_images(views_run):
    _, _, rows = views_run
    for row in rows:
        assert (row.split == "train") == (row.attributes["view"] == "front")
    held_out = {r.attributes["product"] for r in rows if r.split != "train"}
    assert held_out == {f"P{p}" for p in range(10)}


@pytest.mark.slow
def test_every_model_has_its_figures(views_run):
    _, report, _ = views_run
    models = report["models"]
    assert list(models) == ["base", "tuned", "tuned, alpha 0.5", "anchored", "anchored, alpha 0.5"]
    assert models["base"]["r5_t2i"]["sd"] is None and models["tuned"]["kid"]["sd"] is not None
    assert len(report["seeds"]["tuned"]) == 2 and len(report["seeds"]["base"]) == 1
    assert report["images"]["train"] == 12


@pytest.mark.slow
def test_a_sheet_and_the_figures_are_written_without_the_catalogues_path(views_run, shop):
    out, _, _ = views_run
    assert (out / "sheet.png").stat().st_size > 1000
    assert str(shop) not in (out / "figures.json").read_text()


@pytest.mark.slow
def test_a_run_that_is_finished_is_taken_as_it_is(views_run, shop, tiny_base, capsys):
    out, report, _ = views_run
    runs = sorted((out / "project" / "runs").iterdir())
    options = ["--split=views", "--seeds", "0", "1", "--alphas=0.5", "--anchor=1"]
    again, _ = run(shop, tiny_base, out, *options)
    assert sorted((out / "project" / "runs").iterdir()) == runs
    assert again["seeds"] == report["seeds"]
    printed = capsys.readouterr().out
    assert printed.startswith("views: 12 / ") and "| tuned, alpha 0.5 |" in printed


# ---------------------------------------------------------------- arithmetic


def test_mean_and_deviation_over_seeds():
    summary = summarize([{"r5_t2i": 0.2, "minutes": 3.0}, {"r5_t2i": 0.4, "minutes": 3.0}])
    assert summary["r5_t2i"]["mean"] == pytest.approx(0.3)
    assert summary["r5_t2i"]["sd"] == pytest.approx(0.1414, abs=1e-4)
    assert "| m | 30.0 ± 14.1 % | 3.0 ± 0.0 |" in markdown({"m": summary})


def test_recall_is_compared_with_the_bases():
    tuned, base = {"r5_t2i": 0.6, "r5_i2t": 0.4}, {"r5_t2i": 0.2, "r5_i2t": 0.2}
    assert recall_ratio(tuned, base) == {"r5_ratio": pytest.approx(2.5)}
    assert recall_ratio(tuned, {"r5_t2i": 0.0, "r5_i2t": 0.0}) == {}
