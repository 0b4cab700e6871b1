"""The safety checker that comes with a base: a verdict on each image, which stays as it is.

In a pipeline of diffusers a flagged image becomes a black one. Here only the verdict is given.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from PIL.Image import Image
from transformers import CLIPImageProcessor

from unidiff_cli.models.reading import read_part, reading

# The folders of the checker and of its image preprocessing, in a pipeline's.
CHECKER, PROCESSOR = "safety_checker", "feature_extractor"
# It warns of black images, which nobody gets here.
logging.getLogger(StableDiffusionSafetyChecker.__module__).setLevel(logging.ERROR)


class SafetyChecker:
    """Says of images whether they show what Stable Diffusion's checker knows as unsafe."""

    def __init__(self, model: Any, processor: Any) -> None:
        self.model, self.processor = model.eval().requires_grad_(False), processor

    @classmethod
    def beside(cls, folder: Path) -> SafetyChecker | None:
        """The one of a pipeline's folder; None where it has none. Raises as `read_model` does."""
        if not (folder / CHECKER / "config.json").is_file():
            return None
        model = read_part(StableDiffusionSafetyChecker, folder / CHECKER)
        with reading("The base's", folder / PROCESSOR):
            return cls(model, CLIPImageProcessor.from_pretrained(folder / PROCESSOR))

    def flags(self, images: Sequence[Image], device: torch.device) -> list[bool]:
        """Whether each image is flagged."""
        inputs = self.processor(images=list(images), return_tensors="pt").pixel_values
        # What it makes black where it flags an image.
        blank = np.zeros((len(images), 1, 1, 3))
        return self.model.to(device)(inputs.to(device), blank)[1]


def checker_bytes(folder: Path) -> int:
    """The bytes that `copy_checker` copies of a pipeline's folder."""
    files = [path for name in (CHECKER, PROCESSOR) for path in (folder / name).rglob("*")]
    return sum(path.stat().st_size for path in files if path.is_file())


def copy_checker(source: Path, folder: Path) -> None:
    """Copies the checker of a pipeline's folder, where it has one, into another folder."""
    for name in (CHECKER, PROCESSOR):
        if (source / CHECKER).is_dir() and (source / name).is_dir():
            shutil.copytree(source / name, folder / name)
