"""The cache of a run, filled by several processes at a time."""

import pytest

from tests.support.projects import load_recipe
from unidiff_cli.data.shards import Shards
from unidiff_cli.models import loading
from unidiff_cli.project.files import make_folder
from unidiff_cli.training import filling
from unidiff_cli.training.provenance import Provenance


@pytest.mark.slow
def test_two_processes_fill_what_one_would(project, prepared, tiny_base, monkeypatch):
    recipe = load_recipe(
        tiny_base, "train.trains=[vision, denoiser]", "objectives.prior={images: 6}"
    )
    shards = Shards.open(project.path("shards"))
    provenance = Provenance.of(recipe, shards.receipt.hash)
    folder = project.path("runs", "001-x")
    make_folder(folder)
    provenance.write(folder, recipe)
    base = loading.load_base(recipe.base, recipe.image_size)
    arguments = (project, "001-x", recipe, base, shards, provenance.weights)
    monkeypatch.setattr(filling, "CHUNK", 0)
    said = []
    made = filling.precomputed(*arguments, lambda *of: said.append(of), processes=2)
    assert said
    # Nothing was left to this process, which would have said so.
    assert {label for label, *_ in said} == {"caching on all GPUs, MB"}
    assert filling.precomputed(*arguments, processes=1) == made
    packs = [len(list(folder.glob("*.keys.npy"))) for folder in made.arrays.values()]
    assert packs == [2] * len(packs)
