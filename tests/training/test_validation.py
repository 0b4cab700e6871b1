"""Validation measures retrieval as evaluation does, and search by image where it can."""

from types import SimpleNamespace

import numpy as np
import pytest

from tests.support.catalogue import write_catalogue
from tests.support.projects import load_recipe
from unidiff_cli import export, prepare, train
from unidiff_cli.data.shards import Row
from unidiff_cli.errors import UsageError
from unidiff_cli.evaluation.evaluate import evaluate
from unidiff_cli.project import run_log
from unidiff_cli.project.project import Project
from unidiff_cli.training.job import MOST_VALIDATED, rows_of
from unidiff_cli.training.validation import directions


def shop(folder, base, views, *more):
    """A project of 12 products with so many images each."""
    write_catalogue(folder / "shop", products=12, views=views)
    options = ("prepare.splits=[0.4, 0.6, 0]", "train.batch_size=4", "train.steps=1")
    recipe = load_recipe(base, *options, *more, name="clip-only")
    project = Project(folder / "project")
    prepare(project, recipe, folder / "shop")
    return project, recipe


def test_validation_and_evaluation_measure_the_same(tmp_path, tiny_base, caplog):
    """One caption a row, so that both ask the same queries."""
    caplog.set_level("INFO")
    project, recipe = shop(tmp_path, tiny_base, 2, "objectives.image_contrast.weight=1")
    name, receipt = train(project, recipe)
    assert "R@1 (mean of text-to-image and image-to-text and image-to-image)." in caplog.text
    line = next(line for line in run_log.read(project.path("runs", name)) if "validation" in line)
    validated = line["validation"]
    export(project, name)
    metrics = 'evaluate.metrics=["recall","image_recall"]'
    measured = evaluate(project, load_recipe(tiny_base, metrics, "evaluate.split=val"))
    tuned = measured.figures["tuned"]
    shared = {key for key in validated if key in tuned}
    assert {"r1_t2i", "r10_i2t", "map_t2i", "r1_i2i", "r5_i2i", "map_i2i"} <= shared
    for key in shared:
        assert validated[key] == pytest.approx(tuned[key], abs=1e-6), key
    assert "r1_i2i" in receipt.figures["best"]["figures"]


def test_without_two_images_of_a_product_image_search_cannot_judge(tmp_path, tiny_base):
    project, recipe = shop(tmp_path, tiny_base, 1, "train.best_by=image")
    with pytest.raises(UsageError, match="no product of the validation split has two images"):
        train(project, recipe)


def row_of(n, group):
    return Row(str(n), str(n), "val", group, ("a",), {}, content=f"c{n}")


def test_queries_are_counted_by_direction():
    rows = [row_of(n, group) for n, group in enumerate("aabcc")]
    assert directions(rows) == {"r1_t2i": 5, "r1_i2t": 5, "r1_i2i": 4}
    assert directions(rows[1:4]) == {"r1_t2i": 3, "r1_i2t": 3}


@pytest.mark.parametrize("views", [1, 2, 4])
def test_a_large_validation_split_is_thinned_by_whole_products(views):
    """Evenly spaced rows of two views each would be one view of every product."""
    rows = [row_of(n, f"p{n // views}") for n in range(4 * MOST_VALIDATED)]
    taken = rows_of(SimpleNamespace(rows=lambda split: rows), "val")
    assert len(taken) == MOST_VALIDATED
    sizes = np.unique([row.group for row in taken], return_counts=True)[1]
    assert set(sizes) == {views}
    assert taken[-1].row == rows[-1].row and int(taken[-1].id) > 0.95 * len(rows)
