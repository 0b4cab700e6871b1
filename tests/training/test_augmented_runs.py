"""Runs with hard batches and changed samples: resumed exactly, said, refused where they clash."""

import logging
import shutil

import numpy as np
import pytest

from tests.support.projects import copy_project, load_recipe
from tests.support.recipes import problems
from tests.support.runs import assert_resumes_exactly, losses
from unidiff_cli import Project, prepare, train
from unidiff_cli.config.load import read_recipe
from unidiff_cli.errors import UsageError
from unidiff_cli.training.blocks import clusters

TINY = ("train.steps=4", "train.batch_size=8", "objectives.consistency=null")
ALL = (
    "train.alike=0.5",
    "train.augment.captions=0.5",
    "train.augment.colours=0.4",
    "train.augment.crops=0.3",
    "train.augment.flips=0.5",
)
VIEWS = "objectives.image_contrast.weight=1"


def prepared_as(folder, catalogue, recipe, colour, kind):
    """The tiny shop with other names for its columns of colours and shapes, prepared."""
    shop = shutil.copytree(catalogue, folder / "shop")
    table = (shop / "catalog.csv").read_text()
    (shop / "catalog.csv").write_text(table.replace("color,shape", f"{colour},{kind}", 1))
    project = Project(folder / "project")
    prepare(project, recipe, shop)
    return project


@pytest.fixture(scope="module")
def shop(tmp_path_factory, catalogue, recipe):
    """A shop with a column of colours and one of kinds."""
    return prepared_as(tmp_path_factory.mktemp("kinds"), catalogue, recipe, "color", "category")


@pytest.fixture
def copied(shop, tmp_path):
    return copy_project(shop, tmp_path)


@pytest.mark.parametrize("more", [(), (VIEWS,)], ids=["alone", "views"])
def test_a_run_resumes_exactly_and_says_what_it_does(copied, tmp_path, tiny_base, caplog, more):
    caplog.set_level(logging.INFO, "unidiff")
    recipe = load_recipe(tiny_base, *TINY, *ALL, *more)
    name = assert_resumes_exactly(copied, tmp_path, recipe, last=2)
    told = [record.getMessage() for record in caplog.records]
    assert "Batches hold blocks of 4 samples alike by the column 'color' (5 groups)." in told
    assert any(line.startswith("50% of captions are made of the columns") for line in told)
    assert any(line.startswith("40% of images are seen in other colours") for line in told)
    figures = copied.receipt("runs", name).figures
    assert figures["blocks"] == "the column 'color'"
    assert figures["augmentation"] == {"kind": "category", "colour": "color", "details": []}


def test_each_change_alone_changes_a_run_from_its_first_step(copied, tiny_base):
    runs = {}
    for change in (None, *ALL):
        recipe = load_recipe(tiny_base, *TINY, "train.steps=1", *([change] if change else []))
        runs[change] = losses(copied, train(copied, recipe)[0])[1]
    assert len(set(runs.values())) == len(runs)


@pytest.mark.slow
def test_mirrored_images_train_alike_with_the_cache_and_without(copied, tmp_path, tiny_base):
    found = []
    for cached in (True, False):
        project = copy_project(copied, tmp_path / str(cached))
        changes = ("train.augment.flips=0.5", f"train.cache_latents={str(cached).lower()}")
        found.append(losses(project, train(project, load_recipe(tiny_base, *TINY, *changes))[0]))
    assert found[0] == pytest.approx(found[1], rel=5e-3)


@pytest.mark.parametrize("key", ["colours", "crops"])
def test_a_change_that_no_term_sees_is_refused(copied, tiny_base, key):
    recipe = load_recipe(tiny_base, f"train.augment.{key}=0.5", name="sd-only")
    with pytest.raises(UsageError, match=f"train.augment.{key} changes what CLIP sees"):
        train(copied, recipe)


@pytest.mark.slow
def test_without_colours_the_bases_neighbours_make_the_blocks(
    tmp_path, catalogue, tiny_base, caplog
):
    caplog.set_level(logging.INFO, "unidiff")
    recipe = load_recipe(tiny_base, *TINY, "train.alike=0.5", "train.cache_latents=false")
    project = prepared_as(tmp_path, catalogue, recipe, "tint", "shape")
    assert_resumes_exactly(project, tmp_path, recipe, last=2)
    assert any("alike by the base's image embeddings" in r.getMessage() for r in caplog.records)


@pytest.mark.parametrize("key", ["no_duplicates", "streaming"])
def test_two_orders_are_refused(key):
    changes = [f"train.{key}=true", "train.cache_latents=false", "train.alike=0.5"]
    sentences = problems(read_recipe, "joint", assignments=changes)
    expected = f"it decides the order of samples, as {key} does: turn one off."
    assert len(sentences) == 1 and sentences[0].endswith(f"train.alike: {expected}")


def test_clusters_are_of_near_embeddings():
    numbers = np.random.default_rng(0)
    centres = np.eye(4, 8)[numbers.permutation(np.repeat(np.arange(4), 25))]
    embeds = centres + 0.05 * numbers.standard_normal((100, 8))
    embeds /= np.linalg.norm(embeds, axis=1, keepdims=True)
    found = clusters(embeds, 12)
    for cluster in np.unique(found):
        assert len(np.unique(centres[found == cluster], axis=0)) == 1
    assert np.array_equal(found, clusters(embeds, 12))
