"""The base's own images of general captions, generated once and kept in the project's `cache/`."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import astuple
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from unidiff_cli.config.schema import Generate
from unidiff_cli.data.buckets import Size
from unidiff_cli.models.guidance_file import guidance_in_force
from unidiff_cli.models.sampler import generate_images
from unidiff_cli.progress import Progress
from unidiff_cli.project.arrays import open_array, seal_array
from unidiff_cli.project.files import atomic_file, digest, make_folder
from unidiff_cli.project.project import Project
from unidiff_cli.system import disk_problem
from unidiff_cli.training.cache_rows import FROZEN, FROZEN_TEXT
from unidiff_cli.training.precision import as_held, held_in
from unidiff_cli.training.precompute import values_of
from unidiff_cli.training.share import WHOLE, Share

if TYPE_CHECKING:
    from PIL.Image import Image

    from unidiff_cli.models.base import BaseModel

logger = logging.getLogger("unidiff")

# What is kept of each general caption and its image.
GENERAL = ("latents", "clip_pixels", FROZEN, FROZEN_TEXT)


def generate_general(
    project: Project,
    base: BaseModel,
    weights: str,
    captions: Sequence[str],
    options: Generate,
    on_progress: Progress | None = None,
    share: Share = WHOLE,
) -> dict[str, list[Path]]:
    """The base's own images of captions, each tensor of GENERAL in files of one row, one an image.

    They are float16 latents (1, 2c, h, w), uint8 pixels (1, 3, s, s) and unit embeddings (1, D) of
    the image and of the caption. Image i starts from seed i; those that are missing are generated,
    in the precision in which the denoiser is held.
    `weights` is the hash of the base's files: it must still have those weights. What an interrupted
    call generated is kept. Of several processes each generates its share. Raises
    EnvironmentProblem when the disk is full.
    """
    files = general_files(project, base, weights, captions, options)
    guidance, _ = guidance_in_force(options, base.source)
    missing = [i for i in missing_images(files) if share.has(i)]
    cost = _Cost(len(missing), options.steps, base.image_size)
    for start in range(0, len(missing), options.batch_size):
        numbers = missing[start : start + options.batch_size]
        chosen = [captions[i] for i in numbers]
        with as_held(base):
            images = list(
                generate_images(
                    base,
                    chosen,
                    numbers,
                    steps=options.steps,
                    guidance=guidance,
                    size=Size.square(base.image_size),
                    batch_size=options.batch_size,
                )
            )
        arrays = _general_values(base, images, chosen)
        try:
            for name, values in arrays.items():
                make_folder(files[name][0].parent)
                for i, one in zip(numbers, values, strict=True):
                    _write_row(files[name][i], one[None])
        except OSError as problem:
            raise disk_problem(problem, "The prior's images") from problem
        cost.say_rest(start + len(numbers))
        if on_progress:
            done = len(captions) - len(missing) + start + len(numbers)
            on_progress("generating the prior", done, len(captions))
    return files


def general_files(
    project: Project, base: BaseModel, weights: str, captions: Sequence[str], options: Generate
) -> dict[str, list[Path]]:
    """Where `generate_general` keeps what it makes."""
    # A file an image, so that how many are generated at a time decides nothing: after a run out of
    # memory it is lowered.
    guidance, _ = guidance_in_force(options, base.source)
    depends: list[Any] = [*GENERAL, weights, base.preprocessing, base.sampler_name]
    depends += [base.image_size, options.steps, *astuple(guidance)]
    if (held := held_in(base)) != torch.float32:
        depends.append(str(held))
    folder = project.folder("cache") / digest([*depends, list(captions)]) / "general"
    return {n: [folder / n / f"{i:06d}.npy" for i in range(len(captions))] for n in GENERAL}


def missing_images(files: Mapping[str, Sequence[Path]]) -> list[int]:
    """Which of those images are not there, or not whole."""
    return [i for i, of in enumerate(zip(*files.values(), strict=True)) if any(map(_lacks, of))]


def _lacks(file: Path) -> bool:
    return open_array(file) is None


class _Cost:
    """What images that are still to be generated cost, said before the first and after it."""

    def __init__(self, images: int, steps: int, side: int) -> None:
        self.images, self.started, self.said = images, time.monotonic(), False
        if images:
            logger.info(
                f"The base generates {images:,} images of general captions, once: {steps} steps of "
                f"its sampler each, {side} px. They stay in cache/."
            )

    def say_rest(self, done: int) -> None:
        """Once: the seconds an image took, and how long those that are left will take."""
        if self.said or done == self.images:
            return
        self.said = True
        seconds = (time.monotonic() - self.started) / done
        logger.info(
            f"{seconds:.2g} seconds an image: about {seconds * (self.images - done) / 60:.1f} "
            "minutes more. Fewer: --set objectives.prior.images=N"
        )


def _general_values(
    base: BaseModel, images: Sequence[Image], captions: Sequence[str]
) -> dict[str, np.ndarray]:
    """Each tensor of GENERAL of some images and their captions."""
    # Squares, also where the catalogue's images are in buckets.
    pixels = {
        "clip_pixels": base.clip_pixels(images),
        "diffusion_pixels": base.diffusion_pixels(images),
    }
    with torch.no_grad():
        text = base.encode_text(captions).embeds.float().cpu().numpy()
    return {
        name: text if name == FROZEN_TEXT else values_of(base, name, pixels) for name in GENERAL
    }


def _write_row(file: Path, array: np.ndarray) -> None:
    with atomic_file(file) as beside, open(beside, "wb") as stream:
        np.save(stream, array)
        stream.flush()
        seal_array(beside)
