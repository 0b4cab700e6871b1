"""A diffusers export loads in a process that never imports unidiff, and does the same there."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tests.support.catalogue import render_thing
from tests.support.projects import copy_project, load_recipe
from unidiff_cli import export, generate, train
from unidiff_cli.models import loading
from unidiff_cli.models.encoders import load_encoder
from unidiff_cli.project.receipt import Receipt

PLAIN = """
import sys, numpy as np, torch
from PIL import Image
from diffusers import StableDiffusionPipeline
from transformers import CLIPModel, CLIPProcessor
folder, query, out = sys.argv[1:]
pipe = StableDiffusionPipeline.from_pretrained(folder)
parts = (pipe.unet, pipe.vae, pipe.text_encoder)
assert {str(p.dtype) for part in parts for p in part.parameters()} == {"torch.float32"}
image = pipe("red dress", num_inference_steps=3, guidance_scale=2.0, height=32, width=32,
             generator=torch.Generator("cpu").manual_seed(7)).images[0]
image.save(out + "/plain.png")
model = CLIPModel.from_pretrained(folder + "/clip")
processor = CLIPProcessor.from_pretrained(folder + "/clip")
texts, images = ["red dress", "a"], [Image.open(query)]
with torch.no_grad():
    inputs = processor(text=texts, images=images, return_tensors="pt", padding=True)
    embeds = model(**inputs)
np.savez(out + "/plain.npz", text=embeds.text_embeds, image=embeds.image_embeds)
assert not any(name.startswith("unidiff") for name in sys.modules)
"""


@pytest.fixture(scope="module")
def plain(finished, tmp_path_factory):
    """A folder with what plain diffusers and transformers make of the export."""
    folder = tmp_path_factory.mktemp("plain")
    render_thing("red", "dress", 5).save(folder / "query.png")
    command = [sys.executable, "-I", "-c", PLAIN, finished.export(), folder / "query.png", folder]
    subprocess.run([str(word) for word in command], check=True, cwd=folder)
    return folder


def test_plain_transformers_gives_the_same_embeddings(finished, plain):
    encoder = load_encoder(finished, finished.export())
    expected = np.load(plain / "plain.npz")
    texts = encoder.embed_captions(["red dress", "a"])
    images = encoder.embed_images([Image.open(plain / "query.png")])
    assert np.allclose(texts, expected["text"], atol=1e-5)
    assert np.allclose(images, expected["image"], atol=1e-5)


def test_plain_diffusers_generates_the_same_image(finished, plain, tmp_path):
    project = copy_project(finished, tmp_path)
    [folder] = generate(project, ["red dress"], count=1, seed=7)
    ours, expected = (
        np.asarray(Image.open(file)).astype(int) for file in (folder / "0.png", plain / "plain.png")
    )
    assert abs(ours - expected).max() <= 1


def test_its_towers_and_denoiser_moved_and_its_autoencoder_did_not(finished, tiny_base):
    folder, base = finished.export(), loading.load_base(str(tiny_base), 32)
    tuned = loading.load_base(str(folder), 32)
    hashes = tuned.weights_hash, Receipt.read(folder).figures["weights_hash"]
    assert hashes[0] == hashes[1] != base.weights_hash
    before = dict(base.named_parameters())
    moved = [name for name, p in tuned.named_parameters() if not (p == before[name]).all()]
    for tower in ("unet", "vision", "text_model"):
        assert any(tower in name for name in moved), tower
    assert not any(name.startswith("vae") for name in moved)


def test_it_holds_no_pickle(finished):
    suffixes = {file.suffix for file in finished.export().rglob("*") if file.is_file()}
    assert suffixes <= {".safetensors", ".json", ".md", ".yaml", ".txt"}


def test_text_encoder_keys_have_the_prefix_that_transformers_4_reads(finished):
    from safetensors import safe_open

    with safe_open(finished.export() / "text_encoder" / "model.safetensors", "pt") as file:
        assert all(key.startswith("text_model.") for key in file.keys())  # noqa: SIM118


def test_it_can_be_a_base_again(finished, tmp_path, prepared):
    project = copy_project(prepared, tmp_path)
    name, _ = train(project, load_recipe(finished.export(), "train.steps=2"))
    second, first = export(project, name)[1], Receipt.read(finished.export())
    assert second.figures["weights_hash"] != first.figures["weights_hash"]
