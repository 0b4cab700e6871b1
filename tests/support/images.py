"""What `generate` makes, without a model, and images of noise."""

import numpy as np
from PIL import Image

from unidiff_cli.generation.record import GenerationRecord


def generated_record(seed: int) -> GenerationRecord:
    """The record of an image of a seed."""
    values = {"prompt": "dress", "negative": "", "export": "001", "weights_hash": "x"}
    numbers = {"seed": seed, "steps": 1, "guidance": 1.0, "size": 512}
    return GenerationRecord(**values, **numbers, scheduler="DDIM")


def images_of(count, side=40):
    """Square RGB images of noise, always the same."""
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (count, side, side, 3)).astype(np.uint8)
    return [Image.fromarray(each) for each in pixels]
