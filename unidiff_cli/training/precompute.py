"""Images and latents as a base wants them, made once and kept in the project's `cache/`.

The key holds everything the numbers depend on: the shards' receipt, the sizes and the autoencoder's weights. What
is kept of a latent is its posterior's mean and deviation, so each step still samples it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from unidiff_cli.config.schema import Generate
from unidiff_cli.data.batch import open_image
from unidiff_cli.data.shards import Row, Shards
from unidiff_cli.errors import EnvironmentProblem
from unidiff_cli.models.sampler import generate_images
from unidiff_cli.models.weights import weights_hash
from unidiff_cli.project.files import atomic_file, digest
from unidiff_cli.project.project import Project

if TYPE_CHECKING:
    from unidiff_cli.models.families.stable_diffusion import StableDiffusion as Base
    from unidiff_cli.models.forward import Needs


FROZEN = "frozen_image_embeds"  # what CLIP made of the images before it was trained
CHUNK = 64  # images decoded at a time


def folder(project: Project, base: Base, shards_hash: str, rows: Sequence[Row]) -> Path:
    """Where these rows' arrays are kept."""
    sizes = [base.clip_processor.to_dict(), base.image_size, weights_hash(base.vae)]
    return project.path(
        "cache", digest([shards_hash, [row.id for row in rows], sizes]), rows[0].split
    )


def fill_cache(
    project: Project,
    base: Base,
    shards: Shards,
    shards_hash: str,
    rows: Sequence[Row],
    needs: Needs,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> dict[str, Path]:
    """The .npy files of one split's rows, made where they are not there yet.

    `clip_pixels` uint8 (N, 3, s, s), `latents` float16 (N, 2c, h, w) and `frozen_image_embeds` float32 (N, D), as far as they
    are needed; the base must still have its own weights where the last are not there yet.
    Raises EnvironmentProblem when the disk is full.
    """
    asked = {"clip_pixels": needs.pixels, "latents": needs.latents, FROZEN: needs.frozen_images}
    place = folder(project, base, shards_hash, rows)
    files = {name: place / f"{name}.npy" for name, wanted in asked.items() if wanted}
    if FROZEN in files:
        clip = base.clip
        files[FROZEN] = (
            place / f"{FROZEN}-{weights_hash(clip.vision_model, clip.visual_projection)}.npy"
        )
    missing = [name for name, file in files.items() if not file.exists()]
    if not missing:
        return files
    place.mkdir(parents=True, exist_ok=True)
    try:
        with ExitStack() as stack:
            # Two processes of an ablation may fill the same rows.
            beside = {name: stack.enter_context(atomic_file(files[name])) for name in missing}
            _write_arrays(beside, base, shards, rows, on_progress)
    except OSError as problem:
        raise EnvironmentProblem(
            f"The cache of {len(rows):,} images cannot be written to {place}: {problem.strerror}.",
            "Free some space, or turn it off: --set train.cache_latents=false",
        ) from problem
    return files


def _write_arrays(
    files: dict[str, Path],
    base: Base,
    shards: Shards,
    rows: Sequence[Row],
    on_progress: Callable[[str, int, int], None] | None,
) -> None:
    """Writes the array of each name to its file, CHUNK images at a time."""
    arrays: dict[str, np.memmap] = {}
    for start in range(0, len(rows), CHUNK):
        images = [open_image(shards, row) for row in rows[start : start + CHUNK]]
        for name, file in files.items():
            values = _values(base, name, images)
            if name not in arrays:
                shape = (len(rows), *values.shape[1:])
                arrays[name] = np.lib.format.open_memmap(file, "w+", values.dtype, shape)
                # A full disk is an error here, a crash when mapped.
                with open(file, "r+b") as stream:
                    os.posix_fallocate(stream.fileno(), 0, file.stat().st_size)
            arrays[name][start : start + len(values)] = values
        if on_progress:
            on_progress(f"caching {rows[0].split}", min(start + CHUNK, len(rows)), len(rows))
    for array in arrays.values():
        array.flush()


def generate_prior(
    project: Project,
    base: Base,
    weights: str,
    captions: Sequence[str],
    options: Generate,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> list[Path]:
    """The latents of the base's own images of captions, float16 (1, 2c, h, w) a file and image, drawn where not there yet.

    Image i starts from seed i. `weights` is the base's stamp: the base must still have those. What an interrupted call
    drew is kept. Raises EnvironmentProblem when the disk is full.
    """
    # A file an image, so that how many are drawn at a time decides nothing: after a run out of memory it is lowered.
    drawn_with = ["a file an image", weights, base.image_size, options.steps, options.guidance]
    place = project.path("cache", digest([*drawn_with, list(captions)]), "prior")
    files = [place / f"{i:06d}.npy" for i in range(len(captions))]
    missing = [i for i, file in enumerate(files) if not file.exists()]
    for start in range(0, len(missing), options.batch_size):
        some = missing[start : start + options.batch_size]
        prompts = [captions[i] for i in some]
        images = generate_images(
            base,
            prompts,
            some,
            steps=options.steps,
            guidance=options.guidance,
            batch_size=options.batch_size,
        )
        latents = _values(base, "latents", list(images))
        try:
            place.mkdir(parents=True, exist_ok=True)
            for i, one in zip(some, latents, strict=True):
                with atomic_file(files[i]) as beside, open(beside, "wb") as stream:
                    np.save(stream, one[None])
        except OSError as problem:
            raise EnvironmentProblem(
                f"The prior's images cannot be written to {place}: {problem.strerror}.",
                "Free some space.",
            ) from problem
        if on_progress:
            on_progress(
                "drawing the prior", len(captions) - len(missing) + start + len(some), len(captions)
            )
    return files


def _values(base: Base, name: str, images: list) -> np.ndarray:
    if name == "clip_pixels":
        return base.clip_pixels(images).numpy()
    if name == FROZEN:
        with torch.no_grad():
            return base.image(base.clip_pixels(images).to(base.device)).float().cpu().numpy()
    return torch.cat(base.encode(base.diffusion_pixels(images)), dim=1).half().cpu().numpy()
