"""Whether generated images show what their prompts ask for.

Colours are measured, types and patterns are judged by the probe.
"""

import random
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from diffusers import StableDiffusionPipeline

from pretraining import probe
from pretraining.colors import lab
from pretraining.images import shrunk
from pretraining.measures.inputs import Photos, sheet
from pretraining.measures.targets import Figures
from unidiff_cli.config.sources import read_yaml
from unidiff_cli.sample_catalog import COLORS, Look, held_out
from unidiff_cli.sample_catalog.captions import PATTERN_WORDS
from unidiff_cli.sample_catalog.fabric import lab as lab_of_color

STEPS = 25
# Classes of the photos that the probe has a word for; several where the class is wider than ours.
KNOWN = {
    "dress": ("dress",),
    "t-shirt": ("t-shirt",),
    "shirt": ("shirt",),
    "shorts": ("shorts",),
    "skirt": ("skirt",),
    "hat": ("hat", "beanie"),
    "pants": ("trousers",),
    "shoes": ("sneaker", "boot"),
    "outwear": ("jacket", "coat"),
    "longsleeve": ("sweater", "shirt"),
    "Hoodies & Sweatshirts": ("hoodie", "sweater"),
    "Pants": ("trousers",),
    "Jackets": ("jacket", "coat"),
    "Tees": ("t-shirt",),
    "Shorts": ("shorts",),
    "Tanks": ("tank top",),
    "Bags": ("bag", "backpack"),
}


class Generator:
    """A pipeline with 25 steps and the guidance scale of its folder's base.yaml."""

    def __init__(self, pipeline: StableDiffusionPipeline, folder: Path):
        self.pipeline, self.steps = pipeline, STEPS
        self.guidance = float(read_yaml(folder / "base.yaml").data["generate"]["guidance"])

    def images(self, prompts: Sequence[str]) -> np.ndarray:
        """One image a prompt, (N, S, S, 3) uint8; prompt i has seed i."""
        parts = []
        for i in range(0, len(prompts), 16):
            batch = list(prompts[i : i + 16])
            seeds = range(i, i + len(batch))
            parts.append(
                self.pipeline(
                    batch,
                    generator=[torch.Generator().manual_seed(seed) for seed in seeds],
                    num_inference_steps=self.steps,
                    guidance_scale=self.guidance,
                    output_type="np",
                ).images
            )
        return (np.concatenate(parts) * 255).round().astype(np.uint8)


def agreement(
    network: torch.nn.Module, pixels: np.ndarray, looks: Sequence[Look], prompts: Sequence[str]
) -> Figures:
    """Share of images whose color, measured, and type, by the probe, are those of the look.

    And of those whose prompt names a pattern that the probe finds.

    Also of plain looks, of those pre-training saw, and of held-out pairs only. Both are judged at
    64 px, whatever the size of the images.
    """
    pixels = shrunk(pixels, probe.SIZE)
    answers = probe.classify(network, pixels)
    type_ = np.array(answers.types) == np.array([look.type for look in looks])
    pattern = np.array(answers.patterns) == np.array([look.pattern for look in looks])
    printed = [
        look.pattern != "plain" and any(word in prompt for word in PATTERN_WORDS[look.pattern])
        for look, prompt in zip(looks, prompts, strict=True)
    ]
    color = np.array([color_of(p) == look.color for p, look in zip(pixels, looks, strict=True)])
    unseen = np.array([held_out(look) for look in looks])
    plain = np.array([look.pattern == "plain" for look in looks])
    return {
        "color": color.mean(),
        "color_plain": color[plain].mean(),
        "color_held_out": color[unseen].mean(),
        "type": type_.mean(),
        "type_seen": type_[~unseen].mean(),
        "type_held_out": type_[unseen].mean(),
        "both": (color & type_).mean(),
        "pattern": pattern[np.array(printed)].mean(),
        "printed": sum(printed),
        "images": len(looks),
        "held_out": int(unseen.sum()),
    }


def garment_mask(rgb: np.ndarray, far: float = 12.0) -> np.ndarray:
    """Where an image (S, S, 3) uint8 is not its background: a mask (S, S).

    The background is whatever is nearer than `far`, in CIELAB, to one in twenty pixels of the rim.
    On true renderings the mask covers the cloth with an intersection over union of 0.83; taking
    shadows out as well made it no better.
    """
    rim = np.ones(rgb.shape[:2], bool)
    rim[3:-3, 3:-3] = False
    colors = lab(rgb.astype(float))
    background = colors[rim][::6]  # (R, 3)
    gaps = np.linalg.norm(colors[:, :, None] - background, axis=-1)  # (S, S, R)
    twentieth = max(1, len(background) // 20)
    return np.partition(gaps, twentieth, axis=-1)[..., twentieth] > far


def color_of(rgb: np.ndarray) -> str:
    """The color word of the garment in an image (S, S, 3) uint8.

    Each of its pixels votes for the nearest of COLORS. Pixels near the middle weigh more, as
    hangers, shelves and props are at the edge. Where no garment can be seen, everything votes.
    """
    cloth = garment_mask(rgb)
    cloth = cloth if cloth.any() else np.ones_like(cloth)
    y, x = np.mgrid[: rgb.shape[0], : rgb.shape[1]] - (len(rgb) - 1) / 2
    weight = np.exp(-(x**2 + y**2) / (2 * 20**2))[cloth]
    palette = np.array([lab_of_color(color) for color in COLORS.values()])  # (12, 3)
    nearest = np.linalg.norm(lab(rgb[cloth].astype(float))[:, None] - palette, axis=-1).argmin(1)
    return list(COLORS)[np.bincount(nearest, weight, len(palette)).argmax()]


def probe_on_photos(network: torch.nn.Module, sets: Mapping[str, Photos], out: Path) -> Figures:
    """The probe's accuracy on 100 photos of classes it has a word for.

    Writes probe-photos.png with its answers.
    """
    pairs = [
        (row.get("class") or row["category"], pixels)
        for name in ("photos", "luma")
        if name in sets
        for row, pixels in zip(sets[name].rows, sets[name].pixels, strict=True)
    ]
    pairs = [(class_, pixels) for class_, pixels in pairs if class_ in KNOWN]
    pairs = random.Random(0).sample(pairs, min(100, len(pairs)))
    classes, pixels = [class_ for class_, _ in pairs], np.stack([p for _, p in pairs])
    answers = probe.classify(network, pixels)
    rows = list(zip(answers.types, answers.sure, classes, strict=True))
    words = [f"{answer} {s:.0%} ({class_})" for answer, s, class_ in rows]
    sheet(pixels, words, 10).save(out / "probe-photos.png")
    return {"probe_photos": float(np.mean([answer in KNOWN[class_] for answer, _, class_ in rows]))}


def sheets(
    generator: Generator,
    network: torch.nn.Module,
    looks: Sequence[Look],
    prompts: Sequence[str],
    generated: np.ndarray,
    out: Path,
) -> None:
    """Writes red-dress.png (seeds 0 to 7), generated.png and measured.png.

    The latter two show 64 images: over their prompts, and over what was measured of them.
    """
    red = generator.images(["red dress"] * 8)
    sheet(red, [f"red dress, seed {i}" for i in range(8)], 8).save(out / "red-dress.png")
    # Types come round: equal steps would meet few of them.
    chosen = np.random.default_rng(0).permutation(len(prompts))[:64]
    pixels = generated[chosen]
    sheet(pixels, [prompts[i] for i in chosen], 8, side=192).save(out / "generated.png")
    answers, small = probe.classify(network, pixels), shrunk(pixels, probe.SIZE)
    words = [
        f"{color_of(p)} {pattern} {type_} (of {looks[i].color} {looks[i].pattern} {looks[i].type})"
        for i, p, type_, pattern in zip(chosen, small, answers.types, answers.patterns, strict=True)
    ]
    sheet(pixels, words, 8, side=192).save(out / "measured.png")
