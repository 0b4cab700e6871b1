"""What the written folders can do, opened plainly as a user would open them."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image
from transformers import CLIPModel, CLIPProcessor

from pretraining.autoencoder import encode, scaled
from pretraining.clip import embed_images, embed_texts
from pretraining.data import SIZE, Pictures
from unidiff_cli.sample_catalog import COLORS, TYPES

PROMPTS = (
    "blue jeans", "a yellow t-shirt", "green hat", "black dress with white stripes",
    "purple skirt", "white shoes", "a pink jacket", "a photo of a black t-shirt",
)  # fmt: skip


def measure(work: Path, out: Path) -> dict:
    """Figures and a sheet of pictures, written to `work`."""
    photos, unseen = (
        Pictures.load(work / "data" / "photos-test"),
        Pictures.load(work / "data" / "renders-unseen"),
    )
    pipeline = StableDiffusionPipeline.from_pretrained(out / "nano")
    figures = {
        "parameters": {name: count(getattr(pipeline, name)) for name in ("unet", "vae", "text_encoder")}
    }
    figures["psnr_photos"] = psnr(pipeline.vae, photos.pixels[:, 0])
    figures["psnr_renders"] = psnr(pipeline.vae, unseen.pixels[:, 0])
    for name, place in (("clip", out / "nano" / "clip"), ("scorer", out / "nano_scorer")):
        clip, tokenizer = (
            CLIPModel.from_pretrained(place).eval(),
            CLIPProcessor.from_pretrained(place).tokenizer,
        )
        figures["parameters"][name] = count(clip)
        figures[name] = classes(clip, tokenizer, photos) | recalls(clip, tokenizer, unseen)
    figures["majority"] = round(max(Counter(photos.labels).values()) / len(photos), 3)
    figures["generated"] = {
        "colour": obeyed(pipeline, clip, tokenizer, [f"{colour} dress" for colour in COLORS], 8),
        "type": obeyed(pipeline, clip, tokenizer, [f"red {kind}" for kind in TYPES], 4),
    }
    (work / "figures.json").write_text(json.dumps(figures, indent=2))
    sheet(pipeline).save(work / "sheet.png")
    print(json.dumps(figures, indent=2))
    return figures


def count(model: torch.nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


@torch.no_grad()
def psnr(vae, pixels: np.ndarray) -> float:
    """Mean decibels of a picture's round trip."""
    y = torch.cat([vae.decode(z).sample for z in encode(vae, pixels).split(64)]).clamp(-1, 1)
    error = ((y - scaled(pixels.copy())) / 2).square().mean((1, 2, 3))
    return round((-10 * error.log10()).mean().item(), 2)


def classes(clip: CLIPModel, tokenizer, photos: Pictures) -> dict[str, float]:
    """Share of test photos whose nearest class prompt is right, and the same averaged over classes (chance: 0.1)."""
    prompts = {label: words[0] for label, words in zip(photos.labels, photos.captions, strict=True)}
    names = sorted(prompts)
    words = embed_texts(clip, tokenizer, [prompts[n] for n in names])
    guess = (embed_images(clip, photos.pixels[:, 0]) @ words.t()).argmax(1).numpy()
    right = np.array([names.index(label) for label in photos.labels])
    each = [(guess[right == k] == k).mean() for k in range(len(names))]
    return {"classes": round((guess == right).mean().item(), 3), "balanced": round(np.mean(each).item(), 3)}


def recalls(clip: CLIPModel, tokenizer, unseen: Pictures) -> dict[str, float]:
    """Text to image among unseen drawings, the longest caption of each; a tie counts against the right one."""
    scores = (
        embed_texts(clip, tokenizer, [max(words, key=len) for words in unseen.captions])
        @ embed_images(clip, unseen.pixels[:, 0]).t()
    )
    rank = (scores >= scores.diag()[:, None]).sum(1)
    return {f"r@{k}": round((rank <= k).float().mean().item(), 3) for k in (1, 5, 10)}


def obeyed(
    pipeline: StableDiffusionPipeline, clip: CLIPModel, tokenizer, prompts: list[str], each: int
) -> float:
    """Share of generated pictures for which `clip` picks, of all `prompts`, the one they were made from."""
    right = []
    for i, prompt in enumerate(prompts):
        pixels = (generate(pipeline, [prompt] * each, range(each)) * 255).round().astype(np.uint8)
        scores = embed_images(clip, pixels) @ embed_texts(clip, tokenizer, prompts).t()
        right += (scores.argmax(1) == i).tolist()
    return round(np.mean(right).item(), 3)


def generate(
    pipeline: StableDiffusionPipeline, prompts: list[str], seeds, steps: int = 25, guidance: float = 4.0
) -> np.ndarray:
    """(B, 64, 64, 3) in 0..1, one seed a picture."""
    pipeline.set_progress_bar_config(disable=True)
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    size = {"height": SIZE, "width": SIZE, "num_inference_steps": steps, "guidance_scale": guidance}
    return pipeline(prompts, generator=generators, output_type="np", **size).images


def sheet(pipeline: StableDiffusionPipeline, scale: int = 2) -> Image.Image:
    """Above: "red dress", seeds 0 to 7. Below: eight other prompts, seed 0."""
    rows = generate(pipeline, ["red dress"] * 8, range(8)), generate(pipeline, list(PROMPTS), [0] * 8)
    page = np.concatenate([np.concatenate(list(row), axis=1) for row in rows])  # (128, 512, 3)
    return Image.fromarray((page * 255).round().astype(np.uint8)).resize(
        (512 * scale, 128 * scale), Image.Resampling.NEAREST
    )
