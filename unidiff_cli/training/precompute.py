"""What a run reads of each image, computed once and kept in the project's `cache/`.

The key of a file holds everything its numbers depend on: the shards' receipt, the sizes and the
autoencoder's weights. Of a latent its posterior's mean and deviation are kept, so that each step
still samples it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

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

FILE = "precomputed.json"
# CLIP's image embeddings before it was trained, a tensor of a batch.
FROZEN = "frozen_image_embeds"
# Images decoded at a time.
CHUNK = 64


@dataclass(frozen=True)
class Precomputed:
    """Where a run finds what was computed for it."""

    # .npy files by split and by the batch's tensor, a row a sample; no split where images are
    # decoded at each step.
    arrays: Mapping[str, Mapping[str, Path]]
    # Files of latents of the base's own images, by objective, one an image.
    generated: Mapping[str, list[Path]]

    def write(self, run: Path) -> None:
        """Keeps it in the run's folder, for the other processes of the run."""
        write_json(run / FILE, {"arrays": self.arrays, "generated": self.generated})

    @classmethod
    def read(cls, run: Path) -> Precomputed:
        """What the launching process wrote."""
        plain = json.loads((run / FILE).read_text(encoding="utf-8"))
        arrays = {
            split: {name: Path(file) for name, file in files.items()}
            for split, files in plain["arrays"].items()
        }
        generated = {name: [Path(f) for f in files] for name, files in plain["generated"].items()}
        return cls(arrays, generated)


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


def generate_latents(
    project: Project,
    base: BaseModel,
    weights: str,
    captions: Sequence[str],
    options: Generate,
    on_progress: Progress | None = None,
) -> list[Path]:
    """The latents of the base's own images of captions, float16 (1, 2c, h, w) a file and image.

    Image i starts from seed i; those that are missing are generated. `weights` is the hash of the
    base's files: it must still have those weights. What an interrupted call generated is kept.
    Raises EnvironmentProblem when the disk is full.
    """
    # A file an image, so that how many are generated at a time decides nothing: after a run out of
    # memory it is lowered.
    guidance, _ = guidance_in_force(options, base.source)
    depends = ["a file an image", weights, base.image_size, options.steps, *astuple(guidance)]
    folder = project.folder("cache") / digest([*depends, list(captions)]) / "general"
    files = [folder / f"{i:06d}.npy" for i in range(len(captions))]
    missing = [i for i, file in enumerate(files) if open_array(file) is None]
    for start in range(0, len(missing), options.batch_size):
        numbers = missing[start : start + options.batch_size]
        images = generate_images(
            base,
            [captions[i] for i in numbers],
            numbers,
            steps=options.steps,
            guidance=guidance,
            batch_size=options.batch_size,
        )
        latents = _latents(base, list(images))
        try:
            make_folder(folder)
            for i, one in zip(numbers, latents, strict=True):
                with atomic_file(files[i]) as beside, open(beside, "wb") as stream:
                    np.save(stream, one[None])
                    stream.flush()
                    seal_array(beside)
        except OSError as problem:
            raise disk_problem(problem, f"The prior's images in {folder}") from problem
        if on_progress:
            done = len(captions) - len(missing) + start + len(numbers)
            on_progress("generating the prior", done, len(captions))
    return files
