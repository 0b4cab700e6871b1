"""A tiny random base, a tiny catalogue, and a project that has gone through the whole chain once."""

import json
import os
import random
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault(
    "OMP_NUM_THREADS", "1"
)  # models this small lose more to threads than they win

COLORS = {
    "red": (200, 30, 30),
    "green": (40, 160, 60),
    "blue": (40, 60, 200),
    "black": (20, 20, 20),
    "yellow": (230, 210, 40),
}
SHAPES = ("dress", "hat", "bag")


def _tokenizer(folder: Path, length: int = 24):
    """A CLIPTokenizer of the 512 byte symbols (each byte with and without </w>) and the two marks."""
    from transformers import CLIPTokenizer
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    symbols = list(bytes_to_unicode().values())
    words = [*symbols, *(s + "</w>" for s in symbols), "<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({w: i for i, w in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\nr e\nre d</w>\n")
    (folder / "vocab.json").write_text(
        json.dumps({w: i for i, w in enumerate([*words[:-2], "re", "red</w>", *words[-2:]])})
    )
    return CLIPTokenizer(
        str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=length
    )


def write_base(folder: Path, seed: int = 0, prediction: str = "v_prediction") -> Path:
    """A random Stable Diffusion folder with clip/ in it: 32 px, some 200k parameters."""
    import torch
    from diffusers import (
        AutoencoderKL,
        DDIMScheduler,
        StableDiffusionPipeline,
        UNet2DConditionModel,
    )
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

    torch.manual_seed(seed)
    tokenizer = _tokenizer(folder / "made")
    size = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
    }
    marks = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.eos_token_id,
    }
    clip = CLIPModel(
        CLIPConfig(
            text_config={
                **size,
                **marks,
                "vocab_size": len(tokenizer),
                "max_position_embeddings": 24,
            },
            vision_config={**size, "image_size": 32, "patch_size": 8},
            projection_dim=16,
        )
    )
    unet = UNet2DConditionModel(
        sample_size=8, block_out_channels=(32, 64), layers_per_block=1, cross_attention_dim=32, attention_head_dim=8, norm_num_groups=8,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
    )  # fmt: skip
    vae = AutoencoderKL(
        block_out_channels=(8, 8, 16), norm_num_groups=4, latent_channels=4, scaling_factor=1.0, mid_block_add_attention=False,
        down_block_types=("DownEncoderBlock2D",) * 3, up_block_types=("UpDecoderBlock2D",) * 3,
    )  # fmt: skip
    scheduler = DDIMScheduler(
        prediction_type=prediction, rescale_betas_zero_snr=prediction == "v_prediction",
        timestep_spacing="trailing", clip_sample=False, beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012,
    )  # fmt: skip
    pipeline = StableDiffusionPipeline(
        vae=vae, text_encoder=clip.text_model, tokenizer=tokenizer, unet=unet, scheduler=scheduler,
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    pipeline.save_pretrained(folder)
    clip.save_pretrained(folder / "clip")
    tokenizer.save_pretrained(folder / "clip")
    CLIPImageProcessor(
        size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
    ).save_pretrained(folder / "clip")
    (folder / "base.yaml").write_text(
        "image_size: 32\n"
        "train: {steps: 6, batch_size: 8, warmup: 2, ema: 0.9, checkpoint_every: 3, validate_every: 3, preview_every: 0,\n"
        "  lr: {vision: 1.0e-3, text: 1.0e-3, unet: 1.0e-3}}\n"
        "generate: {steps: 3, guidance: 2.0}\n"
        "evaluate: {images: 8}\n"
    )
    return folder


def draw_thing(color: str, shape: str, seed: int, side: int = 48) -> Image.Image:
    rng = random.Random(f"{color}{shape}{seed}")
    image = Image.new("RGB", (side, side), tuple(rng.randint(215, 255) for _ in range(3)))
    pen, (x, y) = ImageDraw.Draw(image), (rng.randint(4, 12), rng.randint(4, 12))
    fill = tuple(max(0, min(255, c + rng.randint(-20, 20))) for c in COLORS[color])
    if shape == "dress":
        pen.polygon([(x + 10, y), (x + 20, y), (x + 30, y + 30), (x, y + 30)], fill=fill)
    elif shape == "hat":
        pen.ellipse((x, y + 14, x + 30, y + 24), fill=fill)
        pen.ellipse((x + 8, y + 4, x + 22, y + 20), fill=fill)
    else:
        pen.rectangle((x, y + 8, x + 30, y + 30), fill=fill)
    for _ in range(40):  # a texture of its own, so that no two are near-duplicates
        a, b = rng.randrange(side), rng.randrange(side)
        image.putpixel((a, b), (rng.randrange(256), rng.randrange(256), rng.randrange(256)))
    return image


def write_catalogue(folder: Path, products: int = 30, views: int = 2) -> Path:
    """A table with pictures: `products` things in one colour each, seen `views` times."""
    (folder / "images").mkdir(parents=True)
    lines = ["image,caption,product,color,shape"]
    for p in range(products):
        color, shape = list(COLORS)[p % len(COLORS)], SHAPES[p % len(SHAPES)]
        for v in range(views):
            name = f"images/p{p:03d}-{v}.png"
            draw_thing(color, shape, 10 * p + v).save(folder / name)
            lines.append(f"{name},{color} {shape} number {p},P{p:03d},{color},{shape}")
    (folder / "catalog.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory) -> Path:
    return write_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="session")
def catalogue(tmp_path_factory) -> Path:
    return write_catalogue(tmp_path_factory.mktemp("catalogue") / "shop")


@pytest.fixture(scope="session")
def recipe(tiny_base):
    """The shipped fashion recipe on the tiny base."""
    return load_recipe(tiny_base)


def load_recipe(base: Path, *assignments: str, name: str = "fashion"):
    from unidiff_cli.models.sources import load_recipe

    near = (
        "prepare.near_duplicates=0",
        "prepare.workers=1",
    )  # the tiny pictures are all alike to a hash
    return load_recipe(name, assignments=[f"base={base}", *near, *assignments])


@pytest.fixture(scope="session")
def prepared(tmp_path_factory, catalogue, recipe):
    """A project with shards and nothing else; tests that train copy it."""
    from unidiff_cli import Project, prepare

    project = Project(tmp_path_factory.mktemp("prepared") / "project")
    prepare(project, recipe, catalogue)
    return project


@pytest.fixture(scope="session")
def finished(tmp_path_factory, prepared, recipe):
    """A project after prepare → train → export → index. Read it, do not change it."""
    from unidiff_cli import export, index, train

    project = copy_project(prepared, tmp_path_factory.mktemp("finished"))
    name, _ = train(project, recipe)
    export(project, name)
    index(project)
    return project


def copy_project(project, folder: Path):
    import shutil

    from unidiff_cli import Project

    return Project(shutil.copytree(project.root, folder / "project"))


@pytest.fixture
def project(tmp_path, prepared):
    """A prepared project of one's own."""
    return copy_project(prepared, tmp_path)
