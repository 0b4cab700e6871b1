"""Runs in buckets: resumed exactly, their cache, what an export says, and images of its size."""

from collections import Counter

import pytest
import torch

from tests.support.catalogue import encoded, photo
from tests.support.projects import copy_project, load_recipe
from tests.support.runs import assert_resumes_exactly, losses
from unidiff_cli import Project, export, prepare, train
from unidiff_cli.data.by_shape import ByShape
from unidiff_cli.data.shards import Shards
from unidiff_cli.models import loading
from unidiff_cli.objectives import needs_of
from unidiff_cli.training import precompute
from unidiff_cli.training.cache_rows import image_keys, stored_tensors
from unidiff_cli.training.precompute import fill_cache

TINY = ("train.steps=4", "train.batch_size=8", "train.preview_every=2")
BUCKETS, FLIPS = "train.buckets=true", "train.augment.flips=0.5"
# Most are tall, some are square and few wide.
SIZES = [(40, 60), (40, 60), (48, 48), (40, 61), (60, 40)]


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """Photos of several sizes, two of each product."""
    folder = tmp_path_factory.mktemp("tall")
    lines = ["image,caption,product"]
    for n in range(40):
        (folder / f"{n}.png").write_bytes(encoded(photo(n, SIZES[n % len(SIZES)]), "PNG"))
        lines.append(f"{n}.png,thing {n},P{n // 2}")
    (folder / "catalog.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="module")
def in_shapes(tmp_path_factory, shop, tiny_base):
    project = Project(tmp_path_factory.mktemp("shapes") / "project")
    prepare(project, load_recipe(tiny_base), shop)
    return project


@pytest.fixture
def copied(in_shapes, tmp_path):
    return copy_project(in_shapes, tmp_path)


@pytest.fixture
def base(tiny_base):
    made = loading.load_base(str(tiny_base), 32)
    made.use_buckets(True)
    return made


@pytest.mark.slow
def test_a_run_resumes_exactly_and_its_export_says_its_sizes(copied, tmp_path, tiny_base, caplog):
    caplog.set_level("INFO", "unidiff")
    recipe = load_recipe(tiny_base, *TINY, BUCKETS, FLIPS)
    name = assert_resumes_exactly(copied, tmp_path, recipe, last=2)
    figures = copied.receipt("runs", name).figures
    assert set(figures["buckets"]) == {"24x40", "32x32", "40x24"}
    assert any("learns images in 3 sizes: 24x40 (" in r.getMessage() for r in caplog.records)
    stores = {folder.name.split("-")[0] for folder in copied.path("cache", "rows").iterdir()}
    assert stores >= {"clip_pixels", "latents", "mirrored_latents"}
    exported, receipt = export(copied, name, choose_guidance=False)
    assert receipt.figures["buckets"] == figures["buckets"]
    again = loading.load_base(str(copied.path("exports", exported)), 32)
    assert again.buckets == base_buckets(tiny_base) and again.default_size == (24, 40)


def base_buckets(folder):
    made = loading.load_base(str(folder), 32)
    assert made.buckets is None and made.default_size == (32, 32)
    made.use_buckets(True)
    return made.buckets


@pytest.mark.slow
def test_of_square_images_a_run_is_the_same(project, prepared, tmp_path, tiny_base):
    """A catalogue of squares trains bit for bit as without buckets, and fills the same rows."""
    other = copy_project(prepared, tmp_path / "other")
    one, _ = train(project, load_recipe(tiny_base, "train.steps=2"))
    two, _ = train(
        other, load_recipe(tiny_base, "train.steps=2", BUCKETS, "train.cache_latents=true")
    )
    assert losses(project, one) == losses(other, two)
    kept = [sorted(f.name for f in p.path("cache", "rows").iterdir()) for p in (project, other)]
    assert kept[0] == kept[1]


@pytest.mark.parametrize("more", [(), ("train.streaming=true", "train.workers=2")])
@pytest.mark.slow
def test_a_run_without_the_cache_is_the_same(copied, in_shapes, tmp_path, tiny_base, more):
    recipe = load_recipe(tiny_base, *TINY, BUCKETS, "train.cache_latents=false", *more)
    name, _ = train(copied, recipe)
    if more:
        assert len(losses(copied, name)) == 4
        return
    other = copy_project(in_shapes, tmp_path / "other")
    cached, _ = train(other, load_recipe(tiny_base, *TINY, BUCKETS))
    assert losses(copied, name) == pytest.approx(losses(other, cached), rel=5e-3)


def test_the_cache_is_made_once_and_apart_from_the_squares(copied, base, tiny_base, monkeypatch):
    computed, made = Counter(), precompute.values_of

    def counted(model, name, pixels):
        values = made(model, name, pixels)
        computed[name, values.shape[2:]] += len(values)
        return values

    monkeypatch.setattr(precompute, "values_of", counted)
    shards = Shards.open(copied.path("shards"))
    rows, needs = shards.rows(), needs_of(load_recipe(tiny_base).active().values())
    folders = fill_cache(copied, base, shards, rows, needs, mirrored=True)
    shapes = {shape: count for (name, shape), count in computed.items() if name == "latents"}
    assert shapes == {(10, 6): 24, (8, 8): 8, (6, 10): 8}
    computed.clear()
    assert fill_cache(copied, base, shards, rows, needs, mirrored=True) == folders
    assert not computed
    stored = stored_tensors(folders, rows, base)
    latents = stored["latents"].take(range(len(rows)))
    assert isinstance(latents, ByShape) and len(latents) == len(rows)
    # The rows of squares are those of the square bucket; all others are made.
    base.use_buckets(False)
    square = fill_cache(copied, base, shards, rows, needs)["latents"]
    assert square == folders["latents@32x32"] != folders["latents@24x40"]
    assert computed == {("latents", (8, 8)): 32}
    places = [n for n, row in enumerate(rows) if row.width == row.height]
    both = stored_tensors({"latents": square}, rows, base)["latents"].take(places)
    [part] = [part for part in latents.parts if part.shape[2:] == (8, 8)]
    assert torch.equal(both, part) and len(set(image_keys(rows))) == len(rows)
