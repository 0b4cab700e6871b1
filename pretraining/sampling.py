"""How many steps and how much guidance suit the embedded base, on prompts of another seed.

    python -m pretraining.sampling --out DIR

DIR may hold the probe of pretraining.measure, which otherwise learns first. Prints a table; what is
chosen by it stands in nano's base.yaml.
"""

import argparse
import time
from pathlib import Path

import numpy as np
from diffusers import StableDiffusionPipeline

from pretraining import probe
from pretraining.measures import generation
from pretraining.measures.encoders import Encoder
from pretraining.measures.inputs import random_prompts
from pretraining.renderings import render_looks
from unidiff_cli.evaluation.metrics.kid import kernel_distance
from unidiff_cli.models.sources import EMBEDDED

PROMPTS_SEED = 4_242_424
# Of the renderings that images are compared with, and how many those are.
REAL_SEED, REAL = 4_343_434, 1_000
# Pairs of steps and guidance scale.
TRIED = ((25, 4.0), (12, 4.0), (8, 4.0), (12, 2.0), (12, 3.0), (12, 6.0))


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m pretraining.sampling", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--base", type=Path, default=EMBEDDED, help="holds nano/ and nano_scorer/")
    parser.add_argument("--out", type=Path, required=True, help="where the probe lies or goes")
    parser.add_argument("--prompts", type=int, default=300)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    pipeline = StableDiffusionPipeline.from_pretrained(given.base / "nano")
    pipeline.set_progress_bar_config(disable=True)
    size = pipeline.unet.config.sample_size * pipeline.vae_scale_factor
    network = probe.load_or_train(given.out, pipeline.vae, size, probe.Settings())
    scorer = Encoder(given.base / "nano_scorer")
    looks, prompts = random_prompts(given.prompts, PROMPTS_SEED)
    reference = scorer.features(render_looks(random_prompts(REAL, REAL_SEED)[0], size))
    generator = generation.Generator(pipeline, given.base / "nano")
    print("| steps | guidance | colour | type | pattern | KID | seconds |")
    print("|--:|--:|--:|--:|--:|--:|--:|")
    for generator.steps, generator.guidance in TRIED:
        began = time.monotonic()
        pixels = generator.images(prompts)
        seconds = time.monotonic() - began
        found = generation.agreement(network, pixels, looks, prompts)
        kid = kernel_distance(reference, scorer.features(pixels), np.random.RandomState(0))
        shares = " | ".join(f"{found[name]:.1%}" for name in ("color", "type", "pattern"))
        row = f"{generator.steps} | {generator.guidance:g} | {shares} | {kid:.3f}"
        print(f"| {row} | {seconds:.0f} |", flush=True)


if __name__ == "__main__":
    main()
