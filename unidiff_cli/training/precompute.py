"""What a run reads of each image, computed once and kept in the project's `cache/`.

The key of a file holds everything its numbers depend on: the shards' receipt, the sizes and the
autoencoder's weights. Of a latent its posterior's mean and deviation are kept, so that each step
still samples it.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from unidiff_cli.config.schema import Generate
from unidiff_cli.data.batch import open_image
from unidiff_cli.data.shards import Row, Shards
from unidiff_cli.models.guidance_file import guidance_in_force
from unidiff_cli.models.needs import Needs
from unidiff_cli.models.sampler import generate_images
from unidiff_cli.progress import Counter, Progress, labelled
from unidiff_cli.project.arrays import open_array, seal_array
from unidiff_cli.project.files import atomic_file, digest, make_folder, write_json
from unidiff_cli.project.project import Project
from unidiff_cli.system import disk_problem

if TYPE_CHECKING:
    from PIL.Image import Image

    from unidiff_cli.models.base import BaseModel

logger = logging.getLogger("unidiff")

FILE = "precomputed.json"
# CLIP's embeddings before it was trained, tensors of a batch.
FROZEN, FROZEN_TEXT = "frozen_image_embeds", "frozen_text_embeds"
# What is kept of each general caption and its image.
GENERAL = ("latents", "clip_pixels", FROZEN, FROZEN_TEXT)
# Images decoded at a time.
CHUNK = 64


@dataclass(frozen=True)
class Precomputed:
    """Where a run finds what was computed for it."""

    # .npy files by split and by the batch's tensor, a row a sample; no split where images are
    # decoded at each step.
    arrays: Mapping[str, Mapping[str, Path]]
    # Files of the base's own images, by objective and by the batch's tensor, one an image.
    generated: Mapping[str, Mapping[str, list[Path]]]
    # The .npy file of which training rows are near each other by the base, where that is asked for.
    neighbours: Path | None = None

    def write(self, run: Path) -> None:
        """Keeps it in the run's folder, for the other processes of the run."""
        write_json(run / FILE, asdict(self))

    @classmethod
    def read(cls, run: Path) -> Precomputed:
        """What the launching process wrote."""
        plain = json.loads((run / FILE).read_text(encoding="utf-8"))
        arrays = {
            split: {name: Path(file) for name, file in files.items()}
            for split, files in plain["arrays"].items()
        }
        generated = {
            objective: {name: [Path(f) for f in files] for name, files in tensors.items()}
            for objective, tensors in plain["generated"].items()
        }
        neighbours = plain["neighbours"]
        return cls(arrays, generated, neighbours and Path(neighbours))


# ---------------------------------------------------------------- a catalogue's images


def fill_cache(
    project: Project,
    base: BaseModel,
    shards: Shards,
    splits: Mapping[str, Sequence[Row]],
    needs: Needs,
    on_progress: Progress | None = None,
) -> dict[str, dict[str, Path]]:
    """The .npy files of some splits' rows, by split and tensor, computed where they are missing.

    `clip_pixels` uint8 (N, 3, s, s), `latents` float16 (N, 2c, h, w) and `frozen_image_embeds`
    float32 (N, D), as far as they are needed; the base must still have its own weights where the
    last are missing. Raises EnvironmentProblem when the disk is full.
    """
    file_names = {}
    if needs.clip_pixels:
        file_names["clip_pixels"] = "clip_pixels.npy"
    if needs.latents:
        file_names["latents"] = "latents.npy"
    if needs.frozen_image_embeds:
        file_names[FROZEN] = f"{FROZEN}-{base.vision_hash}.npy"
    key, filled = [shards.receipt.hash, base.preprocessing], {}
    for split, rows in splits.items():
        folder = project.folder("cache") / digest([*key, [row.id for row in rows]]) / split
        filled[split] = {name: folder / file for name, file in file_names.items()}
        missing = {name: file for name, file in filled[split].items() if open_array(file) is None}
        if missing:
            counter = labelled(on_progress, f"caching {split}")
            _write_arrays(missing, base, shards, rows, counter)
    return filled


def _write_arrays(
    files: Mapping[str, Path],
    base: BaseModel,
    shards: Shards,
    rows: Sequence[Row],
    on_progress: Counter | None,
) -> None:
    """Writes the array of each tensor to its file. Raises EnvironmentProblem on a full disk."""
    folder = next(iter(files.values())).parent
    try:
        make_folder(folder)
        with ExitStack() as stack:
            # Two processes of an ablation may fill the same rows.
            beside = {name: stack.enter_context(atomic_file(f)) for name, f in files.items()}
            arrays: dict[str, np.memmap] = {}
            for start in range(0, len(rows), CHUNK):
                images = [open_image(shards, row) for row in rows[start : start + CHUNK]]
                for name, file in beside.items():
                    values = _values(base, name, images)
                    if name not in arrays:
                        arrays[name] = _new_array(file, values, len(rows))
                    arrays[name][start : start + len(values)] = values
                if on_progress:
                    on_progress(min(start + CHUNK, len(rows)), len(rows))
            for name, array in arrays.items():
                array.flush()
                seal_array(beside[name])
    except OSError as problem:
        raise disk_problem(
            problem,
            f"The cache of {len(rows):,} images in {folder}",
            "Or do without it: --set train.cache_latents=false",
        ) from problem


def _new_array(file: Path, first: np.ndarray, rows: int) -> np.memmap:
    """A file for so many rows like the first ones, its place on the disk taken."""
    array = np.lib.format.open_memmap(file, "w+", first.dtype, (rows, *first.shape[1:]))
    # A full disk is an error here, a crash when mapped.
    with open(file, "r+b") as stream:
        os.posix_fallocate(stream.fileno(), 0, file.stat().st_size)
    return array


def _values(base: BaseModel, name: str, images: Sequence[Image]) -> np.ndarray:
    if name == "clip_pixels":
        return base.clip_pixels(images).numpy()
    if name == FROZEN:
        with torch.no_grad():
            return base.encode_images(base.clip_pixels(images)).float().cpu().numpy()
    return _latents(base, images)


def _latents(base: BaseModel, images: Sequence[Image]) -> np.ndarray:
    """Mean and deviation of images' latents, float16 (N, 2c, h, w)."""
    posterior = base.encode_latents(base.diffusion_pixels(images))
    return torch.cat(posterior, dim=1).half().cpu().numpy()


# ---------------------------------------------------------------- the base's own images


def generate_general(
    project: Project,
    base: BaseModel,
    weights: str,
    captions: Sequence[str],
    options: Generate,
    on_progress: Progress | None = None,
) -> dict[str, list[Path]]:
    """The base's own images of captions, each tensor of GENERAL in files of one row, one an image.

    They are float16 latents (1, 2c, h, w), uint8 pixels (1, 3, s, s) and unit embeddings (1, D) of
    the image and of the caption. Image i starts from seed i; those that are missing are generated.
    `weights` is the hash of the base's files: it must still have those weights. What an interrupted
    call generated is kept. Raises EnvironmentProblem when the disk is full.
    """
    # A file an image, so that how many are generated at a time decides nothing: after a run out of
    # memory it is lowered.
    guidance, _ = guidance_in_force(options, base.source)
    depends: list[Any] = [*GENERAL, weights, base.preprocessing, base.sampler_name]
    depends += [base.image_size, options.steps, *astuple(guidance)]
    folder = project.folder("cache") / digest([*depends, list(captions)]) / "general"
    files = {n: [folder / n / f"{i:06d}.npy" for i in range(len(captions))] for n in GENERAL}
    missing = [
        i for i in range(len(captions)) if any(open_array(files[n][i]) is None for n in GENERAL)
    ]
    cost = _Cost(len(missing), options.steps, base.image_size)
    for start in range(0, len(missing), options.batch_size):
        numbers = missing[start : start + options.batch_size]
        chosen = [captions[i] for i in numbers]
        images = generate_images(
            base,
            chosen,
            numbers,
            steps=options.steps,
            guidance=guidance,
            batch_size=options.batch_size,
        )
        arrays = _general_values(base, list(images), chosen)
        try:
            for name, values in arrays.items():
                make_folder(folder / name)
                for i, one in zip(numbers, values, strict=True):
                    _write_row(files[name][i], one[None])
        except OSError as problem:
            raise disk_problem(problem, f"The prior's images in {folder}") from problem
        cost.say_rest(start + len(numbers))
        if on_progress:
            done = len(captions) - len(missing) + start + len(numbers)
            on_progress("generating the prior", done, len(captions))
    return files


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
    with torch.no_grad():
        text = base.encode_text(captions).embeds.float().cpu().numpy()
    return {name: text if name == FROZEN_TEXT else _values(base, name, images) for name in GENERAL}


def _write_row(file: Path, array: np.ndarray) -> None:
    with atomic_file(file) as beside, open(beside, "wb") as stream:
        np.save(stream, array)
        stream.flush()
        seal_array(beside)
