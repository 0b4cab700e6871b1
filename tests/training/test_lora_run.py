"""A run that trains adapters, from its checkpoints to both of its exports."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.support.projects import copy_project, load_recipe
from tests.support.runs import (
    TRAINED,
    assert_equal_gradients,
    assert_resumes_exactly,
    gradients_of_one_and_two,
)
from unidiff_cli import export, generate, index, retrieve, train
from unidiff_cli.errors import RecipeError, UsageError
from unidiff_cli.models import loading
from unidiff_cli.models.low_rank import LowRank, layer_of
from unidiff_cli.project.checkpoints import BEST, tensors

LORA = ("train.lora.rank=4", "train.lora.lr_factor=20", "train.lora.vision.rank=2")
# What reads the base before training: all that may hold a second CLIP.
HELD = ("objectives.anchor.weight=1", "train.cache_latents=false")


def lora_recipe(tiny_base, *more, name="fashion"):
    return load_recipe(tiny_base, *LORA, *more, name=name)


@pytest.fixture(scope="module")
def trained(tmp_path_factory, prepared, tiny_base):
    """A project with a joint run by adapters, exported merged and as an adapter."""
    project = copy_project(prepared, tmp_path_factory.mktemp("lora"))
    name, _ = train(project, lora_recipe(tiny_base))
    for format in ("diffusers", "adapter"):
        export(project, name, format=format, choose_guidance=False)
    return project


def run_of(project):
    return project.path("runs", "001-fashion")


# ---------------------------------------------------------------- training


def test_checkpoints_hold_the_adapters_and_their_moments_alone(trained, tiny_base):
    checkpoint = run_of(trained) / "checkpoints" / "step-000006"
    for part in ("weights", "averaged"):
        assert all(layer_of(name) for name in tensors(checkpoint, part))
    names = {layer_of(name) for name in tensors(checkpoint, "optimizer")}
    assert names == {layer_of(name) for name in tensors(checkpoint, "weights")} - {""}
    towers = ("clip.vision_model.", "clip.text_model.", "unet.")
    assert all(any(name.startswith(tower) for name in names) for tower in towers)


@pytest.mark.parametrize(
    "more", [HELD, pytest.param(("train.lora.dora=true",), marks=pytest.mark.slow)]
)
def test_a_run_that_is_cut_and_resumed_equals_one_that_is_not(project, tmp_path, tiny_base, more):
    recipe = lora_recipe(tiny_base, "train.measure_gradients_every=2", *more)
    name = assert_resumes_exactly(project, tmp_path, recipe, last=5)
    whole = tmp_path / "whole" / "project"
    files = [
        folder / "runs" / name / "checkpoints" / "step-000006" / "averaged.safetensors"
        for folder in (project.root, whole)
    ]
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("more", [(), ("train.lora.dora=true",)], ids=["lora", "dora"])
def test_gradients_of_two_processes_are_those_of_one(tmp_path, tiny_base, more):
    options = ("train.lora.rank=4", "train.chunk=2", "objectives.anchor.weight=1", *more)
    gradients = gradients_of_one_and_two(TRAINED, tmp_path, tiny_base, *options)
    assert all(layer_of(name) for name in gradients[0])
    assert_equal_gradients(*gradients)


# ---------------------------------------------------------------- exports


def test_the_merged_export_computes_what_base_and_adapters_do(trained, tiny_base):
    merged = loading.load_base(str(trained.export()), 32)
    base = loading.load_base(str(tiny_base), 32)
    averaged = tensors(run_of(trained) / "checkpoints" / BEST, "averaged")
    LowRank.of_tensors(base, lora_recipe(tiny_base).train.lora, averaged)
    with torch.no_grad():
        for each in (merged, base):
            each.eval()
        texts = [each.encode_text(["red dress"]).states for each in (merged, base)]
        noise = torch.randn(1, *base.latent_shape, generator=torch.Generator().manual_seed(0))
        t, text = torch.tensor([500]), base.encode_text(["red dress"])
        images = [each.denoise(noise, t, text) for each in (merged, base)]
        before = loading.load_base(str(tiny_base), 32).encode_text(["red dress"]).states
    torch.testing.assert_close(*texts, atol=2e-5, rtol=0)
    torch.testing.assert_close(*images, atol=2e-5, rtol=0)
    assert (texts[0] - before).abs().max() > 1e-3


def test_the_merged_export_goes_on_as_any_other(trained, tmp_path, tiny_base):
    project = copy_project(trained, tmp_path)
    index(project)
    assert retrieve(project, "red dress", k=2) and generate(project, ["red dress"], count=1)
    half = export(project, alpha=0.5, choose_guidance=False)[0]
    tuned, blend, base = (
        loading.load_base(str(folder), 32).state_dict()
        for folder in (trained.export(), project.path("exports", half), tiny_base)
    )
    for key, weight in blend.items():
        torch.testing.assert_close(weight, (tuned[key] + base[key]) / 2, atol=1e-6, rtol=1e-5)


def plain_outputs(folder, adapter=None, base=None):
    """What plain diffusers, transformers and peft compute: an image, a text's and an image's
    embeddings."""
    from diffusers import StableDiffusionPipeline
    from peft import PeftModel
    from transformers import CLIPModel, CLIPTokenizer

    pipe = StableDiffusionPipeline.from_pretrained(folder)
    clip = CLIPModel.from_pretrained(f"{folder}/clip")
    if adapter:
        pipe.load_lora_weights(adapter)
        clip = PeftModel.from_pretrained(clip, f"{adapter}/clip")
    pipe.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(7)
    options = {"height": 32, "width": 32, "num_inference_steps": 3, "guidance_scale": 2.0}
    image = pipe("red dress", generator=generator, output_type="np", **options).images[0]
    tokens = CLIPTokenizer.from_pretrained(f"{folder}/clip")(["red dress"], return_tensors="pt")
    pixels = torch.randn(1, 3, 32, 32, generator=generator)
    with torch.no_grad():
        out = clip(**tokens, pixel_values=pixels)
    return image, out.text_embeds.numpy(), out.image_embeds.numpy()


def assert_same_outputs(ours, theirs, base):
    for ours_one, theirs_one, base_one in zip(ours, theirs, base, strict=True):
        np.testing.assert_allclose(theirs_one, ours_one, atol=2e-4)
        assert abs(ours_one - base_one).max() > 2e-3


def test_plain_peft_and_diffusers_open_the_adapter_and_compute_the_same(trained, tiny_base):
    adapter = trained.path("exports", "adapter", "001-fashion")
    files = {p.relative_to(adapter).as_posix() for p in adapter.rglob("*") if p.is_file()}
    names = ("adapter_config.json", "adapter_model.safetensors", "preprocessor_config.json")
    clip = {f"clip/{name}" for name in names}
    assert files == {"README.md", "receipt.json", "pytorch_lora_weights.safetensors", *clip}
    keys = load_file(adapter / "pytorch_lora_weights.safetensors")
    assert {key.split(".")[0] for key in keys} == {"unet", "text_encoder"}
    size = sum(p.stat().st_size for p in adapter.rglob("*.safetensors"))
    assert size < 0.5 * sum(p.stat().st_size for p in trained.export().rglob("*.safetensors"))
    assert "load_lora_weights" in (adapter / "README.md").read_text()
    assert_same_outputs(
        plain_outputs(trained.export()),
        plain_outputs(tiny_base, adapter),
        plain_outputs(tiny_base),
    )


@pytest.mark.slow
def test_an_adapter_of_dora_opens_too(project, tiny_base):
    kinds = "train.lora.targets=[attention, linear, convolutions]"
    recipe = lora_recipe(tiny_base, "train.lora.dora=true", kinds, "train.lora.alpha=6")
    name, _ = train(project, recipe)
    for format in ("diffusers", "adapter"):
        export(project, name, format=format, choose_guidance=False)
    adapter = project.path("exports", "adapter", name)
    assert json.loads((adapter / "clip" / "adapter_config.json").read_text())["use_dora"]
    assert_same_outputs(
        plain_outputs(project.export()), plain_outputs(tiny_base, adapter), plain_outputs(tiny_base)
    )
    with pytest.raises(UsageError, match="A blend of DoRA's weights with the base's is no DoRA"):
        export(project, name, alpha=0.5, format="adapter")
    assert not project.path("exports", "adapter", f"{name}-a0.5").exists()


def test_a_blended_adapter_is_the_blended_export(trained, tmp_path, tiny_base):
    project = copy_project(trained, tmp_path)
    options = {"alpha_clip": 0.5, "alpha_denoiser": 0.25}
    name, _ = export(project, choose_guidance=False, **options)
    export(project, format="adapter", **options)
    adapter = project.path("exports", "adapter", name)
    ours, theirs = plain_outputs(project.export()), plain_outputs(tiny_base, adapter)
    for ours_one, theirs_one in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(theirs_one, ours_one, atol=2e-4)


# ---------------------------------------------------------------- what is refused


def test_a_run_without_adapters_is_no_adapter(finished, tmp_path):
    project = copy_project(finished, tmp_path)
    with pytest.raises(UsageError, match="trained the weights themselves"):
        export(project, format="adapter")


def test_towers_without_adapters_train_their_weights_and_no_adapter_holds_them(project, tiny_base):
    recipe = lora_recipe(tiny_base, "train.lora.towers=[denoiser]", "train.steps=1", *HELD)
    name, _ = train(project, recipe)
    weights = tensors(run_of(project) / "checkpoints" / "step-000001", "weights")
    assert {layer_of(key) == "" for key in weights if key.startswith("clip.")} == {True}
    assert all(layer_of(key) for key in weights if key.startswith("unet."))
    with pytest.raises(UsageError, match="also trained vision and text without adapters"):
        export(project, name, format="adapter")


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ("objectives.anchor.kind=weights", "anchor holds the base's weights"),
        ("train.lora.towers=[vision]", r"Of train.lora.towers \(vision\) none trains"),
        ("train.lora.targets=[to_z]", "train.lora.targets names 'to_z'"),
    ],
)
def test_what_does_not_go_with_adapters_is_refused(project, tiny_base, more, sentence):
    with pytest.raises(UsageError, match=sentence):
        train(project, lora_recipe(tiny_base, more, name="sd-only"))


@pytest.mark.parametrize(
    ("setting", "problem"),
    [
        ("train.lora.rank=0", "train.lora.rank is 0; input should be greater than or equal to 1."),
        ("train.lora.targets=[]", "train.lora.targets"),
        ("train.lora.rnk=2", r"no key in train.lora named 'rnk'. Did you mean 'rank'\?"),
    ],
)
def test_settings_that_mean_nothing_are_refused_in_a_sentence(tiny_base, setting, problem):
    with pytest.raises(RecipeError, match=problem) as caught:
        load_recipe(tiny_base, setting)
    assert len(caught.value.problems) == 1
