"""What the embedded base can do, opened as its user opens it, on images it never learned from.

    python -m benchmarks.nano --photos DIR --luma DIR --grocery DIR --out DIR

--photos is clothing-dataset-small, --luma a shop's product photos, --grocery the Grocery Store Dataset: folders of
images/ and captions.jsonl. Writes OUT/figures.json and sheets to check the figures by eye, and prints them beside
their targets. Nothing here is fitted to the base but the probe (see probe.py), which never sees a generated image.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline
from PIL import Image, ImageDraw, ImageFont
from rich.console import Console
from transformers import CLIPModel, CLIPProcessor

from benchmarks import Bound, table
from pretraining import data, probe
from pretraining.data import SIZE, UNSEEN, UNSEEN_SEED, VIEWS, Images, fit, lab
from unidiff_cli.config.sources import read_yaml
from unidiff_cli.evaluation.metrics.kid import kernel_distance
from unidiff_cli.sample_catalog import COLORS, HELD_OUT, TYPES, Look, caption, held_out, random_look
from unidiff_cli.sample_catalog.captions import (
    PATTERN_WORDS,
    SETTING_WORDS,
    SLEEVE_WORDS,
    VIEW_WORDS,
)
from unidiff_cli.sample_catalog.fabric import lab as lab_of

Figures = dict[str, float]

TARGETS: dict[str, Bound] = {
    "autoencoder.luma_psnr_db": (28.0, True),
    "autoencoder.luma_hue_error_degrees": (8.0, False),
    "autoencoder.photos_psnr_db": (28.0, True),
    "autoencoder.photos_hue_error_degrees": (8.0, False),
    "clip.photos": (0.65, True),
    "clip.text_to_image_r@1": (0.60, True),
    "generation.color": (0.90, True),
    "generation.probe_unseen": (0.95, True),
    "generation.type": (0.85, True),
    "generation.type_held_out": (0.75, True),
    "speed.eight_images_seconds": (6.0, False),
    "speed.loading_seconds": (1.5, False),
}
# Seeds of the looks that prompts and matched renderings are made of: beyond pre-training's and the probe's.
PROMPTS_SEED, REAL_SEED, OTHER_SEED = 3_000_000, 4_000_000, 5_000_000
STEPS = 25

# What a shop calls a thing, in the words people use for it; several words count together (their mean).
CATEGORIES = {
    "Hoodies & Sweatshirts": ("hoodie", "sweatshirt"), "Pants": ("pants", "trousers"), "Jackets": ("jacket",),
    "Tees": ("t-shirt",), "Shorts": ("shorts",), "Bras & Tanks": ("tank top", "sports bra"), "Tanks": ("tank top",),
    "Bags": ("bag", "backpack"), "Fitness Equipment": ("ball", "fitness equipment"), "Watches": ("watch", "clock"),
}  # fmt: skip
GROUPS = {
    "fruit": ("fruit", "apple", "banana", "pear", "lemon", "orange"),
    "vegetable": ("vegetable", "carrot", "cucumber", "tomato"),
    "package": ("package", "milk carton", "juice carton", "bottle"),
}
KNOWN = {  # classes of the photos that the probe has a word for; several where the class is wider than ours
    "dress": ("dress",), "t-shirt": ("t-shirt",), "shirt": ("shirt",), "shorts": ("shorts",), "skirt": ("skirt",),
    "hat": ("hat", "beanie"), "pants": ("trousers",), "shoes": ("sneaker", "boot"), "outwear": ("jacket", "coat"),
    "longsleeve": ("sweater", "shirt"), "Hoodies & Sweatshirts": ("hoodie", "sweater"), "Pants": ("trousers",),
    "Jackets": ("jacket", "coat"), "Tees": ("t-shirt",), "Shorts": ("shorts",), "Tanks": ("tank top",),
    "Bags": ("bag", "backpack"),
}  # fmt: skip


def measure(
    base: Path,
    photos: Path,
    luma: Path | None,
    grocery: Path | None,
    out: Path,
    training: Path | None = None,
    quick: bool = False,
    renders: int = 14_000,
) -> dict[str, Figures]:
    """All figures by part, also in `out`/figures.json, with sheets beside it.

    `base` holds nano/ and nano_scorer/; `training` the arrays it learned from (`pretraining.data.Images`), without
    which the first `renders` drawings are drawn again. `quick` is for a test: a few images of everything.
    """
    out.mkdir(parents=True, exist_ok=True)
    nano, figures = base / "nano", {}

    def note(part: str, found: Figures) -> None:  # at once: the next part may take half an hour
        figures[part] = {name: round(float(value), 4) for name, value in found.items()}
        (out / "figures.json").write_text(json.dumps(figures, indent=2) + "\n")

    pipeline = StableDiffusionPipeline.from_pretrained(nano)
    pipeline.set_progress_bar_config(disable=True)
    clip, scorer = ((CLIPModel.from_pretrained(place).eval(), CLIPProcessor.from_pretrained(place))
                    for place in (nano / "clip", base / "nano_scorer"))  # fmt: skip
    parts = {name: getattr(pipeline, name) for name in ("unet", "vae", "text_encoder")}
    parts |= {"clip": clip[0], "scorer": scorer[0]}
    note(
        "parameters",
        {name: sum(p.numel() for p in part.parameters()) for name, part in parts.items()},
    )
    pool = photographs(photos, luma, grocery, limit=24 if quick else None)
    drawn, captions = drawings(range(UNSEEN_SEED, UNSEEN_SEED + (48 if quick else UNSEEN)))
    note("autoencoder", autoencoder(pipeline.vae, pool, drawn, out))
    note("clip", prompted(*clip, pool) | retrieval(*clip, drawn, captions))
    note("scorer", prompted(*scorer, pool) | retrieval(*scorer, drawn, captions))

    settings = probe.Settings(images=256, epochs=1) if quick else probe.Settings()
    network = probe.trained(out, pipeline.vae, settings)
    judge = probe.unseen_share(network, pipeline.vae, settings) | photographed_types(
        network, pool, out
    )
    looks, prompts = zip(*subjects(8 if quick else 600, PROMPTS_SEED), strict=True)
    real_looks, _ = zip(*subjects(64 if quick else 1_000, REAL_SEED), strict=True)
    other_looks, _ = zip(*subjects(len(looks), OTHER_SEED), strict=True)
    real, other = probe.render(real_looks), probe.render(other_looks)
    generated = generate(pipeline, prompts, nano)
    np.savez(out / "generated.npz", pixels=generated, prompts=prompts)
    ceiling = {
        f"{name}_ceiling": share for name, share in obeyed(network, real, real_looks).items()
    }
    note("generation", judge | obeyed(network, generated, looks) | ceiling)
    drawn_sheets(pipeline, network, looks, prompts, generated, nano, out)

    learned = learned_from(training, 200 if quick else renders)
    note(
        "likeness",
        distance(scorer, generated, real, other) | copies(scorer, generated, real, learned, out),
    )
    note("speed", speed(pipeline, nano, times=1 if quick else 3))
    return figures


# ---------------------------------------------------------------- images


def photographs(
    photos: Path, luma: Path | None, grocery: Path | None, limit: int | None
) -> dict[str, tuple]:
    """For each set its rows and its images (N, 64, 64, 3) uint8: test photos, main product views, test groceries."""
    chosen = {
        "photos": (photos, "split", "test"),
        "luma": (luma, "view", "main"),
        "grocery": (grocery, "split", "test"),
    }
    pool = {}
    for name, (folder, key, value) in chosen.items():
        if folder is None:
            continue
        lines = (folder / "captions.jsonl").read_text(encoding="utf-8").splitlines()
        rows = [row for row in map(json.loads, lines) if row[key] == value]
        rows = random.Random(0).sample(rows, min(limit or len(rows), len(rows)))
        pool[name] = rows, np.stack([opened(folder / row["image"]) for row in rows])
    return pool


def opened(path: Path) -> np.ndarray:
    """(64, 64, 3) uint8, as CLIP's processor fits it."""
    with Image.open(path) as file:
        return fit(file)


def drawings(seeds: Iterable[int]) -> tuple[np.ndarray, list[str]]:
    """The drawings pre-training makes of these seeds (N, 64, 64, 3) uint8, and the longest caption of each."""
    with ProcessPoolExecutor(2) as pool:
        pairs = list(pool.map(data.drawn, seeds, chunksize=32))
    return np.stack([pixels for pixels, _ in pairs]), [max(words, key=len) for _, words in pairs]


def subjects(count: int, seed: int) -> list[tuple[Look, str]]:
    """Looks and prompts for them, in the catalogue's own phrasings: every type as often, every fourth a held-out pair.

    A prompt that names a view is drawn again, and so is one for a held-out pair that leaves the pattern unsaid. Two
    calls with other seeds give images of one distribution.
    """
    kept_out, found = sorted(HELD_OUT), []
    for i in range(count):
        rng, fixed, said = random.Random(seed + i), {"type": probe.NAMES[i % len(TYPES)]}, ("",)
        if i % 4 == 3:
            type_, half = kept_out[i // 4 % len(kept_out)]
            fixed = {"type": type_, "color" if half in COLORS else "pattern": half}
            said = PATTERN_WORDS.get(half, said)
        while True:
            look = random_look(rng, **fixed)
            words = caption(look, rng)
            seen = any(view in words for view in VIEW_WORDS.values() if view)
            if not seen and any(word in words for word in said):
                break
        found.append((look, words))
    return found


def page(
    pixels: Sequence[np.ndarray], words: Sequence[str], columns: int, scale: int = 2
) -> Image.Image:
    """Images (64, 64, 3) uint8 in rows, each over its words."""
    side, below = SIZE * scale, 30
    rows = -(-len(pixels) // columns)
    sheet = Image.new("RGB", (columns * side, rows * (side + below)), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    for i, (image, text) in enumerate(zip(pixels, words, strict=True)):
        x, y = i % columns * side, i // columns * (side + below)
        sheet.paste(Image.fromarray(image).resize((side, side), Image.Resampling.NEAREST), (x, y))
        half = len(text) // 2 + text[len(text) // 2 :].find(" ") if len(text) > 20 else len(text)
        pen.text(
            (x + 2, y + side), f"{text[:half]}\n{text[half:].strip()}", fill="black", font=font
        )
    return sheet


# ---------------------------------------------------------------- autoencoder


def autoencoder(
    vae: AutoencoderKL, pool: dict[str, tuple], drawn: np.ndarray, out: Path
) -> Figures:
    """Decibels and degrees of hue that a round trip costs, and autoencoder-*.png: originals over reconstructions."""
    figures = {}
    sets = {name: pixels for name, (_, pixels) in pool.items() if name != "grocery"} | {
        "drawings": drawn
    }
    for name, pixels in sets.items():
        again = probe.through(vae, pixels)
        figures[f"{name}_psnr_db"] = psnr(pixels, again)
        figures[f"{name}_hue_error_degrees"] = hue_error(pixels, again)
        some = np.linspace(0, len(pixels) - 1, 12).astype(int)
        rows = np.concatenate((pixels[some], again[some]))
        page(rows, ["original"] * 12 + ["reconstructed"] * 12, 12).save(
            out / f"autoencoder-{name}.png"
        )
    return figures


def psnr(x: np.ndarray, y: np.ndarray) -> float:
    """Mean over images of the peak signal-to-noise ratio of uint8 (N, H, W, 3), in decibels."""
    error = np.square(x.astype(np.float32) - y).mean((1, 2, 3)) / 255**2
    return float((-10 * np.log10(np.maximum(error, 1e-10))).mean())


def hue_error(x: np.ndarray, y: np.ndarray, saturation: float = 0.3, value: float = 0.2) -> float:
    """Mean turn of the hue, in degrees 0..180, over the pixels of `x` that have one: HSV saturation and value above these."""
    h, s, v = hsv(x)
    turn = np.abs(h - hsv(y)[0])
    clear = (s > saturation) & (v > value)
    return float(np.minimum(turn, 360 - turn)[clear].mean()) if clear.any() else 0.0


def hsv(rgb: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Hue in degrees, saturation and value 0..1 of uint8 (..., 3)."""
    r, g, b = np.moveaxis(rgb.astype(np.float32) / 255, -1, 0)
    top, low = np.maximum(np.maximum(r, g), b), np.minimum(np.minimum(r, g), b)
    span = np.where(top > low, top - low, 1)
    h = np.select([top == r, top == g], [(g - b) / span, 2 + (b - r) / span], 4 + (r - g) / span)
    return np.where(top > low, h * 60 % 360, 0), (top - low) / np.maximum(top, 1e-6), top


# ---------------------------------------------------------------- CLIP


@torch.no_grad()
def image_vectors(
    clip: CLIPModel, processor: CLIPProcessor, pixels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Pooled features (N, d) and unit embeddings (N, D) of uint8 images (N, 64, 64, 3)."""
    # Fitted already as the processor fits; what is left is its scale.
    mean, std = (
        np.float32(getattr(processor.image_processor, name)) for name in ("image_mean", "image_std")
    )
    features, embeds = [], []
    for i in range(0, len(pixels), 128):
        x = torch.from_numpy((pixels[i : i + 128] / np.float32(255) - mean) / std).permute(
            0, 3, 1, 2
        )
        pooled = clip.vision_model(pixel_values=x).pooler_output
        features.append(pooled)
        embeds.append(torch.nn.functional.normalize(clip.visual_projection(pooled), dim=-1))
    return torch.cat(features).numpy(), torch.cat(embeds).numpy()


@torch.no_grad()
def text_vectors(clip: CLIPModel, processor: CLIPProcessor, captions: Sequence[str]) -> np.ndarray:
    """Unit embeddings (N, D)."""
    words = processor.tokenizer(list(captions), padding=True, truncation=True, return_tensors="pt")
    return torch.nn.functional.normalize(
        clip.get_text_features(**words).pooler_output, dim=-1
    ).numpy()


def prompted(clip: CLIPModel, processor: CLIPProcessor, pool: dict[str, tuple]) -> Figures:
    """Share of photos whose nearest prompt is their class: of the test photos, and without ever having seen the set."""
    figures: Figures = {}
    for name, key, prompts in (
        ("photos", "class", {row["class"]: (row["caption"],) for row in pool["photos"][0]}),
        (
            "luma_color",
            "color",
            {c: [f"a photo of a {c} {kind}" for kind in TYPES] for c in COLORS},
        ),
        (
            "luma_category",
            "category",
            {k: [f"a photo of a {w}" for w in words] for k, words in CATEGORIES.items()},
        ),
        (
            "grocery_group",
            "group",
            {k: [f"a photo of a {w}" for w in words] for k, words in GROUPS.items()},
        ),
    ):
        if name.split("_")[0] not in pool:
            continue
        rows, pixels = pool[name.split("_")[0]]
        there = [i for i, row in enumerate(rows) if row[key] in prompts]
        classes = sorted({rows[i][key] for i in there})
        means = np.stack([text_vectors(clip, processor, prompts[c]).mean(0) for c in classes])
        means /= np.linalg.norm(means, axis=1, keepdims=True)
        guess = (image_vectors(clip, processor, pixels[there])[1] @ means.T).argmax(1)
        figures |= {
            f"{name}{suffix}": v
            for suffix, v in shares(
                guess, np.array([classes.index(rows[i][key]) for i in there])
            ).items()
        }
    return figures


def shares(guess: np.ndarray, right: np.ndarray) -> Figures:
    """Share of right guesses, its mean over classes, and what a blind guess and the most frequent class would give."""
    classes = np.unique(right)
    return {
        "": (guess == right).mean(),
        "_balanced": np.mean([(guess[right == k] == k).mean() for k in classes]),
        "_chance": 1 / len(classes),
        "_majority": max(Counter(right.tolist()).values()) / len(right),
    }


def retrieval(
    clip: CLIPModel, processor: CLIPProcessor, pixels: np.ndarray, captions: list[str]
) -> Figures:
    """Recall at 1, 5 and 10 among unseen drawings, both ways."""
    scores = text_vectors(clip, processor, captions) @ image_vectors(clip, processor, pixels)[1].T
    return (
        {"reader_r@1": reader(captions)}
        | {
            f"{way}_r@{k}": share
            for way, s in (("text_to_image", scores), ("image_to_text", scores.T))
            for k, share in recall(s).items()
        }
        | {"drawings": len(pixels)}
    )


def reader(captions: Sequence[str]) -> float:
    """R@1 of who understands each caption of the unseen drawings and sees every attribute it names: many drawings fit one.

    He picks one of those that fit at random, so 1/how many, averaged. Audiences cannot be seen and count for nothing.
    """
    looks = [data.look_of(random.Random(UNSEEN_SEED + i)) for i in range(len(captions))]
    words = {
        "pattern": PATTERN_WORDS, "sleeve": {k: (v,) for k, v in SLEEVE_WORDS.items()}, "setting": SETTING_WORDS,
        "view": {k: (v,) for k, v in VIEW_WORDS.items()},
        "length": {look.length: (look.length,) for look in looks}, "neckline": {look.neckline: (look.neckline,) for look in looks},
    }  # fmt: skip
    found = []
    for look, text in zip(looks, captions, strict=True):
        said = [f for f, of in words.items() if any(w and w in text for w in of[getattr(look, f)])]
        fields = ("type", "color", *said)
        fit = sum(all(getattr(other, f) == getattr(look, f) for f in fields) for other in looks)
        found.append(1 / fit)
    return float(np.mean(found))


def recall(scores: np.ndarray, ks: Sequence[int] = (1, 5, 10)) -> dict[int, float]:
    """Share of rows whose own column (the diagonal) is among the k best; a tie counts against it."""
    rank = (scores >= np.diag(scores)[:, None]).sum(1)
    return {k: float((rank <= k).mean()) for k in ks}


# ---------------------------------------------------------------- generation


def guidance(nano: Path) -> float:
    """The base's own guidance."""
    return float(read_yaml(nano / "base.yaml").data["generate"]["guidance"])


def generate(
    pipeline: StableDiffusionPipeline,
    prompts: Sequence[str],
    nano: Path,
    seeds: Sequence[int] | None = None,
) -> np.ndarray:
    """One image a prompt (N, 64, 64, 3) uint8, in 25 steps with the base's guidance; prompt i has seed i."""
    seeds, parts = seeds or range(len(prompts)), []
    for i in range(0, len(prompts), 16):
        generators = [torch.Generator().manual_seed(s) for s in seeds[i : i + 16]]
        parts.append(
            pipeline(
                list(prompts[i : i + 16]),
                generator=generators,
                num_inference_steps=STEPS,
                guidance_scale=guidance(nano),
                output_type="np",
            ).images
        )
    return (np.concatenate(parts) * 255).round().astype(np.uint8)


def garment(rgb: np.ndarray, far: float = 12.0) -> np.ndarray:
    """Where an image (64, 64, 3) uint8 is not its background: a mask (64, 64).

    The background is whatever is nearer than `far`, in CIELAB, to one in twenty pixels of the rim. On true renderings
    the mask covers the cloth with an intersection over union of 0.83; taking shadows out as well made it no better.
    """
    rim = np.ones(rgb.shape[:2], bool)
    rim[3:-3, 3:-3] = False
    seen = lab(rgb.astype(float))
    some = seen[rim][::6]  # (R, 3)
    gaps = np.linalg.norm(seen[:, :, None] - some, axis=-1)  # (64, 64, R)
    twentieth = max(1, len(some) // 20)
    return np.partition(gaps, twentieth, axis=-1)[..., twentieth] > far


def color_of(rgb: np.ndarray) -> str:
    """The color word of the garment in an image (64, 64, 3) uint8: each of its pixels votes for the nearest of COLORS.

    Pixels near the middle weigh more, as hangers, shelves and props are at the edge. Where there is no garment to be
    seen, everything votes.
    """
    cloth = garment(rgb)
    cloth = cloth if cloth.any() else np.ones_like(cloth)
    y, x = np.mgrid[: rgb.shape[0], : rgb.shape[1]] - (SIZE - 1) / 2
    weight = np.exp(-(x**2 + y**2) / (2 * 20**2))[cloth]
    palette = np.array([lab_of(color) for color in COLORS.values()])  # (12, 3)
    nearest = np.linalg.norm(lab(rgb[cloth].astype(float))[:, None] - palette, axis=-1).argmin(1)
    return list(COLORS)[np.bincount(nearest, weight, len(palette)).argmax()]


def obeyed(network: torch.nn.Module, pixels: np.ndarray, looks: Sequence[Look]) -> Figures:
    """Share of images whose color, measured, and type, by the probe, are those of the look; also of held-out pairs only."""
    kinds = probe.answers(network, pixels)[0]
    kind = np.array([a == look.type for a, look in zip(kinds, looks, strict=True)])
    color = np.array([color_of(p) == look.color for p, look in zip(pixels, looks, strict=True)])
    kept_out = np.array([held_out(look) for look in looks])
    plain = np.array([look.pattern == "plain" for look in looks])
    return {
        "color": color.mean(), "color_plain": color[plain].mean(), "color_held_out": color[kept_out].mean(),
        "type": kind.mean(), "type_seen": kind[~kept_out].mean(), "type_held_out": kind[kept_out].mean(),
        "both": (color & kind).mean(), "images": len(looks), "held_out": int(kept_out.sum()),
    }  # fmt: skip


def photographed_types(network: torch.nn.Module, pool: dict[str, tuple], out: Path) -> Figures:
    """The probe's share on 100 photos of classes it has a word for, and probe-photos.png with its answers."""
    rows = [(row.get("class") or row["category"], p) for name in ("photos", "luma") if name in pool
            for row, p in zip(*pool[name], strict=True)]  # fmt: skip
    rows = [(kind, p) for kind, p in rows if kind in KNOWN]
    rows = random.Random(0).sample(rows, min(100, len(rows)))
    pixels = np.stack([p for _, p in rows])
    said, sure = probe.answers(network, pixels)
    page(
        pixels, [f"{a} {s:.0%} ({k})" for a, s, (k, _) in zip(said, sure, rows, strict=True)], 10
    ).save(out / "probe-photos.png")
    return {"probe_photos": np.mean([a in KNOWN[k] for a, (k, _) in zip(said, rows, strict=True)])}


def drawn_sheets(
    pipeline: StableDiffusionPipeline,
    network: torch.nn.Module,
    looks: Sequence[Look],
    prompts: Sequence[str],
    generated: np.ndarray,
    nano: Path,
    out: Path,
) -> None:
    """red-dress.png (seeds 0 to 7), generated.png (64 over their prompts) and measured.png (64, what was measured of them)."""
    red = generate(pipeline, ["red dress"] * 8, nano)
    page(red, [f"red dress, seed {i}" for i in range(8)], 8).save(out / "red-dress.png")
    some = np.random.default_rng(0).permutation(len(prompts))[
        :64
    ]  # types come round: equal steps would meet few
    page(generated[some], [prompts[i] for i in some], 8, scale=3).save(out / "generated.png")
    kinds = probe.answers(network, generated[some])[0]
    words = [f"{color_of(p)} {kind} (of {looks[i].color} {looks[i].type})"
             for i, p, kind in zip(some, generated[some], kinds, strict=True)]  # fmt: skip
    page(generated[some], words, 8, scale=3).save(out / "measured.png")


# ---------------------------------------------------------------- likeness


def distance(scorer: tuple, generated: np.ndarray, real: np.ndarray, other: np.ndarray) -> Figures:
    """KID of generated images against unseen renderings, beside that of `other`, as many unseen renderings again."""
    seen = image_vectors(*scorer, real)[0]
    rng = np.random.RandomState(0)
    return {
        "kid": kernel_distance(seen, image_vectors(*scorer, generated)[0], rng),
        "kid_real": kernel_distance(seen, image_vectors(*scorer, other)[0], rng),
    }


def learned_from(training: Path | None, renders: int) -> np.ndarray:
    """What the training arrays show the denoiser (N, 64, 64, 3) uint8; without them, the first drawings again."""
    if training is None:
        return drawings(range(renders))[0]
    files = sorted(f for f in training.glob("*.npy") if not f.stem.endswith(("unseen", "test")))
    return np.concatenate(
        [
            np.concatenate(np.moveaxis(Images.load(f.with_suffix("")).pixels[:, :VIEWS], 1, 0))
            for f in files
        ]
    )


def copies(
    scorer: tuple, generated: np.ndarray, real: np.ndarray, learned: np.ndarray, out: Path
) -> Figures:
    """How near generated images come to the training images, beside how near unseen renderings do.

    By the scorer's embedding (1 - cosine) and by pixels (root mean square at 32 px, 0..1), of the image or its mirror image,
    as training mirrors. A model that copies is nearer than unseen renderings are, at the low quantiles. copies.png
    shows the 8 nearest pairs by pixels.
    """
    figures: Figures = {}
    theirs = image_vectors(*scorer, learned)[1]
    for name, pixels in (("generated", generated), ("unseen", real)):
        both = np.stack((pixels, pixels[:, :, ::-1]), 1).reshape(
            -1, *pixels.shape[1:]
        )  # each beside its mirror
        cosine = (image_vectors(*scorer, both)[1] @ theirs.T).max(1).reshape(-1, 2).max(1)
        gap, where = nearest_pixels(both, learned)
        side = gap.reshape(-1, 2).argmin(1)
        gap, where = (a.reshape(-1, 2)[np.arange(len(pixels)), side] for a in (gap, where))
        for q in (1, 5, 50):
            figures[f"{name}_feature_gap_q{q}"] = np.percentile(1 - cosine, q)
            figures[f"{name}_pixel_gap_q{q}"] = np.percentile(gap, q)
        figures[f"{name}_pixel_gap_least"] = gap.min()
        if name == "generated":
            worst = gap.argsort()[:8]
            pairs = np.concatenate((pixels[worst], learned[where[worst]]))
            words = [f"generated, {gap[i]:.3f}" for i in worst] + ["nearest it learned from"] * len(
                worst
            )
            page(pairs, words, len(worst)).save(out / "copies.png")
    return figures


def nearest_pixels(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each image of `x` (N, 64, 64, 3) uint8 the root mean square to the nearest of `y`, 0..1, and which it is.

    Between means of 2 x 2 pixels: a copy that is a pixel aside or a little softer is a copy, and it takes a quarter of the time.
    """

    def small(images: np.ndarray) -> torch.Tensor:  # (N, 3072)
        z = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float().div_(255)
        return torch.nn.functional.avg_pool2d(z, 2).flatten(1)

    x = small(x)
    best, where = torch.full((len(x),), torch.inf), torch.zeros(len(x), dtype=torch.long)
    for i in range(0, len(y), 2048):
        part = small(y[i : i + 2048])
        square = x.square().sum(1)[:, None] + part.square().sum(1) - 2 * x @ part.t()
        low, at = square.min(1)
        where = torch.where(low < best, at + i, where)
        best = torch.minimum(low, best)
    return (best.clamp(min=0) / x.shape[1]).sqrt().numpy(), where.numpy()


# ---------------------------------------------------------------- speed

LOADING = """
import sys, time
import torch, transformers
from diffusers import StableDiffusionPipeline
import transformers.models.clip.modeling_clip, diffusers.models.unets.unet_2d_condition, diffusers.models.autoencoders.autoencoder_kl
start = time.perf_counter()
StableDiffusionPipeline.from_pretrained(sys.argv[1])
print(time.perf_counter() - start)
"""


def speed(pipeline: StableDiffusionPipeline, nano: Path, times: int) -> Figures:
    """Median seconds for 8 images on two threads, after a warm-up, and for opening the base in a fresh interpreter."""
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        spent = []
        for _ in range(times + 1):
            start = time.perf_counter()
            generate(pipeline, ["red dress"] * 8, nano)
            spent.append(time.perf_counter() - start)
    finally:
        torch.set_num_threads(threads)
    loads = [
        float(
            subprocess.run(
                [sys.executable, "-c", LOADING, nano], capture_output=True, text=True, check=True
            ).stdout
        )
        for _ in range(times)
    ]
    return {
        "eight_images_seconds": statistics.median(spent[1:]),
        "loading_seconds": statistics.median(loads),
        "load_average": os.getloadavg()[
            0
        ],  # of the machine: above 2, something else ran on the two cores
    }


# ---------------------------------------------------------------- the command


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.nano", description=__doc__.splitlines()[0]
    )
    parser.add_argument(
        "--base", type=Path, default=Path("unidiff_cli/bases"), help="holds nano/ and nano_scorer/"
    )
    parser.add_argument("--photos", type=Path, required=True, help="clothing-dataset-small")
    parser.add_argument(
        "--luma", type=Path, help="product photos; their figures are left out without it"
    )
    parser.add_argument("--grocery", type=Path, help="the Grocery Store Dataset, likewise")
    parser.add_argument(
        "--out", type=Path, required=True, help="figures.json, the sheets, the probe"
    )
    parser.add_argument(
        "--training", type=Path, help="the arrays nano learned from; else they are drawn again"
    )
    parser.add_argument(
        "--renders", type=int, default=14_000, help="how many drawings nano learned from"
    )
    parser.add_argument(
        "--quick", action="store_true", help="a few images of everything: proves that it runs"
    )
    Console(width=110).print(table(measure(**vars(parser.parse_args())), TARGETS))


if __name__ == "__main__":
    main()
