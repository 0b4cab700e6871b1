"""Each family does what its own pipeline does: text, images, and folders that plain code opens."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.support.base import BASES, bases
from tests.support.batches import batch_of
from tests.support.images import images_of
from tests.support.projects import load_recipe
from unidiff_cli.errors import UsageError
from unidiff_cli.models import loading
from unidiff_cli.models.clip import Clip
from unidiff_cli.models.guidance import Guidance
from unidiff_cli.training.module import TrainingModule
from unidiff_cli.training.optimizer import parameter_groups, shared_text_parameters

XL = [pytest.param("sdxl first", marks=pytest.mark.slow), "sdxl second"]
CAPTIONS = ["red dress", "a hat", ""]


def plain_pipeline(folder):
    """The pipeline of a folder as diffusers opens it."""
    from diffusers import DiffusionPipeline

    pipeline = DiffusionPipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


# ---------------------------------------------------------------- text


@pytest.mark.parametrize("name", [pytest.param("sd1", marks=pytest.mark.slow), "sd2"])
@torch.no_grad()
def test_states_are_those_of_the_pipeline(load_tiny, tiny_bases, name):
    text = load_tiny(name).encode_text(CAPTIONS)
    expected, _ = plain_pipeline(tiny_bases(name)).encode_prompt(CAPTIONS, "cpu", 1, False)
    assert torch.allclose(text.states, expected, atol=1e-5)


@pytest.mark.parametrize("name", XL)
@torch.no_grad()
def test_states_pooled_vector_and_zeros_are_those_of_the_sdxl_pipeline(load_tiny, tiny_bases, name):
    text, pipeline = load_tiny(name).encode_text(CAPTIONS), plain_pipeline(tiny_bases(name))
    states, zeros, pooled, pooled_zeros = pipeline.encode_prompt(CAPTIONS[:2])
    assert torch.allclose(text.states[:2], states, atol=1e-5)
    assert torch.allclose(text.pooled[:2], pooled, atol=1e-5)
    # The third caption is empty.
    assert torch.equal(text.states[2], zeros[0]) and torch.equal(text.pooled[2], pooled_zeros[0])
    assert not torch.allclose(text.embeds[2], text.embeds[0], atol=1e-2)


@pytest.mark.slow
@torch.no_grad()
def test_an_empty_caption_is_read_where_the_sdxl_pipeline_reads_it(load_tiny):
    base = load_tiny("sdxl first")
    base.pipeline.register_to_config(force_zeros_for_empty_prompt=False)
    text, pipeline = base.encode_text([""]), base.pipeline
    states, _, pooled, _ = pipeline.encode_prompt("", do_classifier_free_guidance=False)
    assert torch.allclose(text.states, states, atol=1e-5) and states.abs().max() > 0
    assert torch.allclose(text.pooled, pooled, atol=1e-5)


@pytest.mark.parametrize("name", XL)
def test_sizes_are_those_of_the_sdxl_pipeline(load_tiny, name):
    base = load_tiny(name)
    with torch.no_grad():
        added = base.unet_text(base.encode_text(CAPTIONS)).added
    width = base.pipeline.text_encoder_2.config.projection_dim
    expected = base.pipeline._get_add_time_ids(
        (32, 32), (0, 0), (32, 32), torch.float32, text_encoder_projection_dim=width
    )
    assert torch.equal(added["time_ids"], expected.expand(3, 6))


@pytest.mark.slow
@pytest.mark.parametrize("name", BASES)
@torch.no_grad()
def test_embeddings_are_those_of_the_clip_folder(load_tiny, tiny_bases, name):
    base, clip = load_tiny(name), Clip.read(tiny_bases(name) / "clip")
    pixels = base.clip_pixels(images_of(2))
    embeds = base.encode_text(CAPTIONS).embeds
    assert torch.allclose(embeds, clip.encode_text(CAPTIONS).embeds, atol=1e-5)
    assert torch.allclose(base.encode_images(pixels), clip.encode_images(pixels), atol=1e-5)


def test_sd2_reads_the_layer_before_the_last(load_tiny):
    """Its states move with that layer and not with the last one; embeddings move with both."""
    base, moved = load_tiny("sd2"), {}
    with torch.no_grad():
        before = base.encode_text(CAPTIONS)
        for number in (2, 1):
            base.clip.text_model.encoder.layers[number].mlp.fc1.bias.add_(1)
            moved[number] = base.encode_text(CAPTIONS)
    assert torch.equal(moved[2].states, before.states)
    assert not torch.allclose(moved[2].embeds, before.embeds, atol=1e-4)
    assert not torch.allclose(moved[1].states, before.states, atol=1e-4)


# ---------------------------------------------------------------- a CLIP that stands apart


@torch.no_grad()
def test_siglip_embeds_as_plain_transformers_does(tiny_bases):
    from transformers import AutoImageProcessor, AutoTokenizer, SiglipModel

    folder = tiny_bases("sd1 apart") / "clip"
    model, words = SiglipModel.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    clip, images = Clip.read(folder), images_of(2)
    options = {"padding": "max_length", "max_length": 16, "truncation": True}
    tokens = words(["Red dress", "a hat"], return_tensors="pt", **options)
    pixels = AutoImageProcessor.from_pretrained(folder)(images, return_tensors="pt")
    text = model.get_text_features(**tokens).pooler_output
    image = model.get_image_features(**pixels).pooler_output
    text, image = (torch.nn.functional.normalize(x, dim=-1) for x in (text, image))
    assert torch.allclose(clip.encode_text(["Red dress", "a hat"]).embeds, text, atol=1e-5)
    assert torch.allclose(clip.encode_images(clip.clip_pixels(images)), image, atol=1e-5)
    # One place more than a caption may fill.
    assert clip.window.limit == 16


def test_resizing_with_gradient_is_siglips_own(tiny_bases):
    clip = Clip.read(tiny_bases("sd1 apart") / "clip")
    images = images_of(2, side=64)
    pixels = torch.stack([torch.from_numpy(np.array(i)).permute(2, 0, 1) for i in images])
    differences = (clip.clip_resize(pixels.float()) - clip.clip_pixels(images).float()).abs()
    # Of noise; the processor rounds between rows and columns.
    assert differences.max() <= 3 and differences.mean() < 0.5


@pytest.mark.parametrize("name", ["sd1", pytest.param("sdxl", marks=pytest.mark.slow)])
def test_apart_the_denoiser_reads_what_it_did_and_no_gradient_reaches_it(
    load_tiny, tiny_bases, name
):
    folder = tiny_bases("sd1" if name == "sd1" else "sdxl first")
    base, alone = load_tiny(f"{name} apart"), loading.load_base(str(folder), 32)
    text, expected = base.encode_text(CAPTIONS), alone.encode_text(CAPTIONS)
    assert torch.equal(text.states, expected.states) and not text.states.requires_grad
    assert text.embeds.requires_grad and text.embeds.shape != expected.embeds.shape
    assert not base.shares_text and alone.shares_text
    assert base.window.limit == 16 and base.prompt_window.limit == 24


def test_apart_pcgrad_has_nothing_to_part(load_tiny):
    base = load_tiny("sd1 apart")
    recipe = load_recipe(base.source.diffusion)
    assert shared_text_parameters(TrainingModule(base, recipe.active(), seed=0)) == []


def test_a_siglip_is_refused_until_it_is_said_to_stand_apart(tiny_bases):
    clip = str(tiny_bases("sd1 apart") / "clip")
    halves = {"diffusion": str(tiny_bases("sd1")), "clip": clip}
    with pytest.raises(UsageError, match="With text: apart any CLIP or SigLIP will do"):
        loading.load_base(halves, 32)
    assert not loading.load_base({**halves, "text": "apart"}, 32).shares_text


# ---------------------------------------------------------------- training


@pytest.mark.parametrize("name", bases("sdxl second"))
def test_both_readers_reach_the_shared_tower_also_with_checkpointing(load_tiny, name):
    """The same gradient with and without it, of the states, the pooled vector and the embeddings.

    A state that is taken out of a tower by a hook could lose its graph.
    """
    gradients = []
    for checkpointing in (False, True):
        base = load_tiny(name).train()
        base.prepare_for_training(checkpointing)
        text = base.encode_text(CAPTIONS[:2])
        readers = [text.states, text.embeds, *([] if text.pooled is None else [text.pooled])]
        torch.manual_seed(0)
        sum((reader * torch.randn_like(reader)).sum() for reader in readers).backward()
        gradients.append([p.grad for p in base.clip.text_model.parameters()])
    for one, two in zip(*gradients, strict=True):
        assert one is not None and torch.allclose(one, two, atol=1e-4)


@pytest.mark.parametrize("name", XL)
def test_the_tower_that_is_not_shared_stays_as_it_was(load_tiny, name):
    base = load_tiny(name)
    base.encode_text(CAPTIONS[:2]).states.sum().backward()
    other = list(base.own_text.parameters())
    assert other and all(p.grad is None for p in other)
    trained = {id(p) for group in base.parameter_groups().values() for p in group}
    assert not trained & {id(p) for p in other}
    before = base.weights_hash
    with torch.no_grad():
        other[0].add_(1)
    assert base.weights_hash != before


def test_a_joint_step_of_sdxl_reaches_what_trains_and_nothing_else(load_tiny):
    base = load_tiny("sdxl second")
    recipe = load_recipe(base.source.diffusion)
    module = TrainingModule(base, recipe.active(), seed=0).train()
    parameter_groups(module, recipe.train)
    total, parts = module(batch_of(8))
    total.backward()
    assert {"contrastive", "denoise", "consistency"} <= set(parts) and total.isfinite()
    without = [name for name, p in base.named_parameters() if p.grad is None]
    assert without and all(name.startswith(("vae.", "own_text.")) for name in without)


# ---------------------------------------------------------------- images


@pytest.mark.parametrize("name", bases("sd2", "sdxl second"))
@pytest.mark.parametrize(
    ("scale", "negative"),
    [
        pytest.param(1.0, "", marks=pytest.mark.slow),
        (4.0, ""),
        pytest.param(4.0, "blue hat", marks=pytest.mark.slow),
    ],
    ids=["no", "empty", "words"],
)
def test_images_are_those_of_the_pipeline(load_tiny, tiny_bases, name, scale, negative):
    prompts, seeds = ["red dress", "a hat"], [3, 4]
    guidance = Guidance(scale)
    ours = load_tiny(name).generate(prompts, seeds, steps=4, guidance=guidance, negative=negative)
    expected = plain_pipeline(tiny_bases(name))(
        prompts,
        negative_prompt=[negative] * 2 if negative else None,
        generator=[torch.Generator("cpu").manual_seed(seed) for seed in seeds],
        num_inference_steps=4,
        guidance_scale=scale,
        height=32,
        width=32,
    ).images
    assert np.abs(np.int16(ours) - np.int16(expected)).max() <= 1
    assert np.int16(ours).std() > 1


# The public configs of SDXL's and SD 2.1's UNets.
REAL = {
    "sdxl": {
        "block_out_channels": (320, 640, 1280),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "transformer_layers_per_block": (1, 2, 10),
        "attention_head_dim": (5, 10, 20),
        "cross_attention_dim": 768 + 1280,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 1280 + 6 * 256,
        "use_linear_projection": True,
    },
    "sd2": {
        "attention_head_dim": (5, 10, 20, 20),
        "cross_attention_dim": 1024,
        "use_linear_projection": True,
    },
}


@pytest.mark.slow
@pytest.mark.parametrize("name", REAL)
def test_the_real_unets_take_what_the_families_give(name):
    """On the meta device, which has shapes and no numbers."""
    from diffusers import UNet2DConditionModel

    from unidiff_cli.models import unet as passes

    with torch.device("meta"), torch.no_grad():
        unet = UNet2DConditionModel(**REAL[name])
        states = torch.empty(2, 77, REAL[name]["cross_attention_dim"])
        sizes = {"text_embeds": torch.empty(2, 1280), "time_ids": torch.empty(2, 6)}
        text = passes.UnetText(states, sizes if name == "sdxl" else None)
        z, t = torch.empty(2, 4, 64, 64), torch.zeros(2, dtype=torch.long)
        assert passes.whole(unet, z, t, text).shape == z.shape
        for layer in passes.LAYERS:
            half = passes.half_pass(unet, z, t, text, layer)
            assert half.shape[:2] == (2, passes.feature_width(unet, layer))


# ---------------------------------------------------------------- folders

PLAIN = """
import json, sys, torch
from diffusers import DiffusionPipeline
from transformers import CLIPModel, CLIPProcessor
folder = sys.argv[1]
pipe = DiffusionPipeline.from_pretrained(folder)
clip = CLIPModel.from_pretrained(folder + "/clip")
CLIPProcessor.from_pretrained(folder + "/clip")
parts = {name: part for name, part in pipe.components.items() if isinstance(part, torch.nn.Module)}
print(json.dumps({
    "class": type(pipe).__name__,
    "parts": sorted(parts),
    "layers": len(pipe.text_encoder.encoder.layers),
    "bias": pipe.text_encoder.encoder.layers[0].mlp.fc1.bias.sum().item(),
    "clip": clip.text_model.encoder.layers[0].mlp.fc1.bias.sum().item(),
}))
assert not any(name.startswith("unidiff") for name in sys.modules)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "opened"),
    [
        ("sd2", {"class": "StableDiffusionPipeline", "layers": 2}),
        ("sdxl first", {"class": "StableDiffusionXLPipeline", "layers": 2}),
    ],
)
def test_plain_code_opens_a_saved_base_with_the_trained_tower(load_tiny, tmp_path, name, opened):
    base = load_tiny(name)
    with torch.no_grad():
        base.clip.text_model.encoder.layers[0].mlp.fc1.bias.add_(1)
    base.save(tmp_path)
    command = [sys.executable, "-I", "-c", PLAIN, str(tmp_path)]
    said = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert said | opened == said and {"unet", "vae", "text_encoder"} <= set(said["parts"])
    expected = base.clip.text_model.encoder.layers[0].mlp.fc1.bias.sum().item()
    assert said["bias"] == pytest.approx(expected) == said["clip"]


@pytest.mark.parametrize("name", XL)
@torch.no_grad()
def test_a_saved_sdxl_holds_the_trained_projection_where_it_is_read(load_tiny, tmp_path, name):
    base = load_tiny(name)
    base.clip.text_projection.weight.add_(1)
    base.save(tmp_path)
    text, pipeline = base.encode_text(CAPTIONS[:1]), plain_pipeline(tmp_path)
    states, _, pooled, _ = pipeline.encode_prompt(CAPTIONS[0])
    assert torch.allclose(text.pooled, pooled, atol=1e-5)
    assert torch.allclose(text.states, states, atol=1e-5)


# ---------------------------------------------------------------- what does not fit


def test_a_clip_of_another_family_is_refused(tiny_bases):
    halves = {"diffusion": str(tiny_bases("sd1")), "clip": str(tiny_bases("sd2") / "clip")}
    with pytest.raises(UsageError, match="another shape"):
        loading.load_base(halves, 32)


@pytest.mark.slow
def test_sdxl_takes_either_clip(tiny_bases):
    folder = str(tiny_bases("sdxl first"))
    for name, tower in (("sdxl first", "text_encoder"), ("sdxl second", "text_encoder_2")):
        other = str(tiny_bases(name) / "clip")
        assert loading.load_base({"diffusion": folder, "clip": other}, 32).shared == tower


@pytest.mark.slow
def test_a_second_tower_that_differs_is_refused(tiny_bases, tmp_path):
    clip = Clip.read(tiny_bases("sdxl second") / "clip")
    with torch.no_grad():
        clip.clip.text_projection.weight.add_(1)
    clip.clip.save_pretrained(tmp_path)
    clip.tokenizer.save_pretrained(tmp_path)
    halves = {"diffusion": str(tiny_bases("sdxl second")), "clip": str(tmp_path)}
    with pytest.raises(UsageError, match="differ by up to 1 "):
        loading.load_base(halves, 32)
    base = loading.load_base({**halves, "text": "clip"}, 32)
    assert torch.equal(
        base.pipeline.text_encoder_2.text_projection.weight, clip.clip.text_projection.weight
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "change", "said"),
    [
        ("scheduler/scheduler_config.json", {"prediction_type": "sample"}, "predicts 'sample'"),
        (
            "scheduler/scheduler_config.json",
            {"_class_name": "EDMEulerScheduler", "sigma_min": 0.002, "sigma_max": 80.0},
            "the scheduler EDMEulerScheduler, whose noise is not DDPM's",
        ),
        ("vae/config.json", {"latents_mean": [0.0] * 4}, "latents_mean"),
    ],
)
def test_a_pipeline_that_works_in_another_way_is_refused(tiny_bases, tmp_path, file, change, said):
    base = loading.load_base(str(tiny_bases("sdxl first")), 32)
    base.save(tmp_path)
    config = json.loads((tmp_path / file).read_text())
    (tmp_path / file).write_text(json.dumps(config | change))
    if "_class_name" in change:
        index = json.loads((tmp_path / "model_index.json").read_text())
        index["scheduler"] = ["diffusers", change["_class_name"]]
        (tmp_path / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(UsageError, match=said):
        loading.load_base(str(tmp_path), 32)


@pytest.mark.slow
def test_a_text_encoder_without_a_tensor_is_refused(tiny_bases, tmp_path):
    loading.load_base(str(tiny_bases("sdxl first")), 32).save(tmp_path)
    file = tmp_path / "text_encoder_2" / "model.safetensors"
    tensors = load_file(file)
    del tensors["text_projection.weight"]
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(Exception, match="lacks 1 of its .* text_projection.weight"):
        loading.load_base(str(tmp_path), 32)
