"""What 10 thousand, a million and a hundred million products take: the table of docs/scale.md.

    python -m benchmarks.scale --out DIR

Operations are counted on SD 1.5 and CLIP ViT-L/14 at their real size, from configs, on tensors
without memory; no GPU is needed. Seconds are operations over a card's published rate, times the
part of it that a measured training reached (`EFFICIENCY`). Processor times are those of
docs/numbers/speed.md. All other numbers are assumptions, below. Writes OUT/figures.json.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console
from rich.table import Table

IMAGES = (10_000, 1_000_000, 100_000_000)
# Measured, docs/numbers/method.md: `clip-only` at this size and its defaults, on an H200.
MEASURED_SECONDS = 2.0
# Dense bf16, by NVIDIA's data sheets: operations a second.
H100, L4 = 989e12, 121e12
# Measured, docs/numbers/speed.md: a core's seconds for a photo of 12 megapixels, to 512 px. The
# rest of `prepare` for an image (reading, hashing, writing) is less than a third of it.
DECODE, OTHER = 9.9e-3, 3e-3
# Bytes of a prepared image of 512 px in its shard.
STORED = 60_000


@dataclass(frozen=True)
class Machine:
    """Cards of a rate, cores beside them, and dollars an hour for all: assumptions."""

    name: str
    recipe: str
    cards: int
    rate: float
    cores: int
    dollars: float


MACHINES = (
    Machine("1 × 24 GB (L4)", "fashion-24gb", 1, L4, 8, 0.8),
    Machine("8 × 80 GB (H100)", "fashion-80gb", 8, H100, 128, 24.0),
    Machine("64 × 80 GB (H100)", "fashion-80gb", 64, H100, 1024, 192.0),
)


def operations() -> dict[str, float]:
    """Operations of a step by recipe, and of an image in each stage."""
    import torch

    from benchmarks.parts.full_size import write_configs
    from unidiff_cli.models import loading, skeleton
    from unidiff_cli.models.sources import load_recipe
    from unidiff_cli.training.example_batches import batches_in_pairs
    from unidiff_cli.training.footprint import footprint
    from unidiff_cli.training.tensor_memory import TensorMemory

    done: dict[str, float] = {}
    with TemporaryDirectory() as folder:
        base = write_configs(Path(folder))
        for name in ("clip-only", *dict.fromkeys(m.recipe for m in MACHINES)):
            recipe = load_recipe(name, assignments=[base, "train.steps=100"])
            takes = footprint(recipe, batches_in_pairs(recipe))
            done[name] = takes.flops
            print(name, f"{takes.flops / 1e12:,.0f} TFLOP a step", flush=True)
        with skeleton.without_weights():
            model = loading.load_base(recipe.base, recipe.image_size)
            with TensorMemory() as memory, torch.no_grad():
                pixels = torch.zeros(1, 3, 224, 224, dtype=torch.uint8)
                model.encode_images(pixels)
                done["embedded"], memory.flops = memory.flops, 0
                z = torch.zeros(1, *model.latent_shape)
                model.encode_latents(torch.zeros(1, 3, 512, 512, dtype=torch.uint8))
                done["encoded"], memory.flops = memory.flops, 0
                model.denoise(z, torch.zeros(1, dtype=torch.int64), model.encode_text(["thing"]))
                done["denoised"], memory.flops = memory.flops, 0
                model.decode_latents(z)
                done["decoded"] = memory.flops
            # What the cache keeps of an image: float16 mean and deviation, and uint8 pixels.
            done["bytes of latents"] = 2 * z.numel() * 2
            done["bytes of pixels"] = pixels.numel() + 4 * model.dimension
    return done


def estimate(machine: Machine, images: int, done: dict[str, float]) -> dict[str, float]:
    """Seconds of each stage, its dollars in all, and bytes."""
    from unidiff_cli.config.load import read_recipe
    from unidiff_cli.training.sizing import sized

    efficiency = done["clip-only"] / MEASURED_SECONDS / H100
    rate = machine.rate * machine.cards * efficiency
    recipe, _ = sized(read_recipe(machine.recipe), round(0.8 * images))
    steps = recipe.train.total_steps
    seen = min(images, steps * recipe.train.batch_size)
    denoised = min(images, steps * recipe.train.denoise_batch)
    generated = 30 * 2 * done["denoised"] + done["decoded"]
    seconds = {
        "prepare": images * (DECODE + OTHER) / machine.cores,
        "cache": (denoised * done["encoded"] + seen * done["embedded"]) / rate,
        "train": steps * done[machine.recipe] / rate,
        "index": images * done["embedded"] / rate,
        "1,000 images": 1000 * generated / rate,
    }
    hours = sum(seconds.values()) / 3600
    return {
        **seconds,
        "steps": steps,
        "dollars": hours * machine.dollars,
        "shards": images * STORED,
        "cached": denoised * done["bytes of latents"] + seen * done["bytes of pixels"],
        "embeddings": images * 768 * 4,
    }


def duration(seconds: float) -> str:
    """In the unit that suits."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:,.0f} {unit}"
    return f"{max(seconds, 1):.0f} s"


def size(count: float) -> str:
    """Bytes in words."""
    for unit, of in (("TB", 1e12), ("GB", 1e9)):
        if count >= of:
            return f"{count / of:,.1f} {unit}"
    return f"{count / 1e6:,.0f} MB"


def show(figures: dict[str, Any]) -> None:
    """A line for each machine and catalogue."""
    stages = ("prepare", "cache", "train", "index", "1,000 images")
    table = Table("machine", "images", *stages, "$", "shards", "cached", "embeddings")
    for line in figures["lines"]:
        table.add_row(
            line["machine"],
            f"{line['images']:,}",
            *(duration(line[stage]) for stage in stages),
            f"{line['dollars']:,.0f}",
            *(size(line[name]) for name in ("shards", "cached", "embeddings")),
        )
    Console(width=180).print(table)


def main() -> None:
    """Parses the command line and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    done = operations()
    lines = [
        {"machine": machine.name, "images": images, **estimate(machine, images, done)}
        for machine in MACHINES
        for images in IMAGES
    ]
    figures = {"operations": done, "lines": lines}
    (options.out / "figures.json").write_text(json.dumps(figures, indent=2) + "\n")
    show(figures)


if __name__ == "__main__":
    main()
