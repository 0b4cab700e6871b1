"""Each model family through the whole chain: trained, resumed, exported, generated, retrieved."""

import numpy as np
import pytest
import torch
from PIL import Image

from tests.support.base import BASES
from tests.support.projects import TINY, load_recipe
from tests.support.runs import assert_resumes_exactly
from tests.support.single_file import write_single_file
from unidiff_cli import Project, export, generate, index, prepare, retrieve, train
from unidiff_cli.models import loading
from unidiff_cli.models.sources import load_recipe as load_any_recipe

# SD 1.x goes this way in most other tests.
FAMILIES = [name for name in BASES if name != "sd1"]


def prepared_with(recipe, catalogue, folder):
    project = Project(folder / "project")
    prepare(project, recipe, catalogue)
    return project


@pytest.mark.slow
def test_a_joint_step_moves_the_shared_tower_and_the_export_opens(tiny_bases, tmp_path, catalogue):
    """One step of SDXL, from which nothing else moves."""
    from diffusers import StableDiffusionXLPipeline

    folder = tiny_bases("sdxl second")
    recipe = load_recipe(
        folder, "train.steps=1", "train.warmup=0", "train.measure_gradients_every=1"
    )
    project = prepared_with(recipe, catalogue, tmp_path)
    train(project, recipe)
    name, _ = export(project, choose_guidance=False)
    base, tuned = (loading.load_base(str(f), 32) for f in (folder, project.path("exports", name)))
    before = dict(base.named_parameters())
    moved = [key for key, p in tuned.named_parameters() if not torch.equal(p, before[key])]
    for part in ("unet.", "clip.vision_model.", "clip.text_model.", "clip.text_projection."):
        assert any(key.startswith(part) for key in moved), part
    assert not any(key.startswith(("vae.", "own_text.")) for key in moved)
    pipeline = StableDiffusionXLPipeline.from_pretrained(project.path("exports", name))
    weight = tuned.clip.text_projection.weight
    assert torch.equal(pipeline.text_encoder_2.text_projection.weight, weight)


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_the_whole_chain(tiny_bases, tmp_path, catalogue, name):
    recipe = load_recipe(
        tiny_bases(name),
        "train.steps=4",
        "train.checkpoint_every=2",
        "train.gradient_checkpointing=true",
        "train.chunk=4",
        "train.measure_gradients_every=2",
        f"train.pcgrad={str('apart' not in name).lower()}",
    )
    project = prepared_with(recipe, catalogue, tmp_path)
    assert_resumes_exactly(project, tmp_path, recipe, last=2)
    made, _ = export(project)
    index(project)
    [folder] = generate(project, ["red dress"], count=2)
    images = [np.asarray(Image.open(folder / f"{n}.png")) for n in range(2)]
    assert all(image.shape == (32, 32, 3) and image.std() > 1 for image in images)
    assert retrieve(project, "red dress")
    assert loading.load_base(str(project.path("exports", made)), 32)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sd2", "sdxl first"])
def test_diffdis_beside_any_family(tiny_bases, tmp_path, catalogue, name):
    recipe = load_recipe(tiny_bases(name), "train.steps=2", name="diffdis")
    project = prepared_with(recipe, catalogue, tmp_path)
    train(project, recipe)
    made, _ = export(project, choose_guidance=False)
    assert loading.load_base(str(project.path("exports", made)), 32).added


@pytest.mark.slow
def test_a_run_from_a_single_file(tiny_bases, tmp_path, catalogue):
    folder = tiny_bases("sdxl first")
    pipeline = loading.load_base(str(folder), 32).pipeline
    file = write_single_file(pipeline, tmp_path / "model.safetensors")
    base = f"base={{diffusion: {file}, clip: {folder}/clip, config: {folder}}}"
    small = ("train.steps=2", "train.batch_size=8", "train.denoise_batch=0", "train.chunk=0")
    recipe = load_any_recipe("joint", assignments=[base, *TINY, *small, "image_size=32"])
    project = prepared_with(recipe, catalogue, tmp_path)
    train(project, recipe)
    name, _ = export(project, choose_guidance=False)
    card = (project.path("exports", name) / "README.md").read_text()
    assert "model.safetensors" in card and str(tmp_path) not in card
