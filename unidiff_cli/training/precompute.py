"""What a run reads of each image, computed once and kept in the project's `cache/`.

Of a latent its posterior's mean and deviation are kept, so that each step still samples it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from unidiff_cli.data.ahead import ahead
from unidiff_cli.data.batch import Transform, open_image
from unidiff_cli.data.by_shape import Maps, chosen_of, joined_maps
from unidiff_cli.data.dataset import MIRRORED
from unidiff_cli.data.reads import Reads
from unidiff_cli.data.row import Row
from unidiff_cli.data.rows import taken
from unidiff_cli.data.shards import Shards
from unidiff_cli.models.needs import Needs
from unidiff_cli.progress import Progress, labelled
from unidiff_cli.project.files import write_json
from unidiff_cli.project.project import Project
from unidiff_cli.project.row_store import PACK, keys_of, write_pack
from unidiff_cli.system import disk_problem
from unidiff_cli.training.cache_rows import (
    FROZEN,
    image_keys,
    missing_rows,
    tensor_and_size,
)
from unidiff_cli.training.share import WHOLE, Share

if TYPE_CHECKING:
    from unidiff_cli.models.base import BaseModel

FILE = "precomputed.json"
# The pixels that each kept tensor is made of.
SOURCES = {
    "clip_pixels": "clip_pixels",
    FROZEN: "clip_pixels",
    "latents": "diffusion_pixels",
    MIRRORED: "diffusion_pixels",
}
# Images decoded at a time, and seconds of work after which what is there is written.
CHUNK, PATIENCE = 64, 30.0


@dataclass(frozen=True)
class Precomputed:
    """Where a run finds what was computed for it."""

    # Folders of rows, by the names of `row_folders`; none where images are decoded at each step.
    arrays: Mapping[str, Path]
    # Files of the base's own images, by objective and by the batch's tensor, one an image.
    generated: Mapping[str, Mapping[str, list[Path]]]
    # The .npy file of which training rows are near each other by the base, where that is asked for.
    neighbours: Path | None = None
    # Folders of the features of captions, by their names; none where the text tower trains.
    text: Mapping[str, Path] = field(default_factory=dict)

    def write(self, run: Path) -> None:
        """Keeps it in the run's folder, for the other processes of the run."""
        write_json(run / FILE, asdict(self))

    @classmethod
    def read(cls, run: Path) -> Precomputed:
        """What the launching process wrote."""
        plain = json.loads((run / FILE).read_text(encoding="utf-8"))
        arrays = {name: Path(folder) for name, folder in plain["arrays"].items()}
        generated = {
            objective: {name: [Path(f) for f in files] for name, files in tensors.items()}
            for objective, tensors in plain["generated"].items()
        }
        neighbours = plain["neighbours"]
        text = {name: Path(folder) for name, folder in plain["text"].items()}
        return cls(arrays, generated, neighbours and Path(neighbours), text)


def fill_cache(
    project: Project,
    base: BaseModel,
    shards: Shards,
    rows: Sequence[Row],
    needs: Needs,
    on_progress: Progress | None = None,
    share: Share = WHOLE,
    mirrored: bool = False,
    reads: Reads | None = None,
) -> dict[str, Path]:
    """The folders of rows by name, those of `rows` computed where they are missing.

    `reads` says which of these a run reads; None: all.

    A row is `clip_pixels` uint8 (3, s, s), `latents` float16 (2c, h, w) and `frozen_image_embeds`
    float32 (D,), as far as they are needed, and with `mirrored` also `mirrored_latents`. The base
    must still have its own weights where embeddings are missing. What an interrupted call computed
    is kept, and of several processes each computes its share. Raises EnvironmentProblem when the
    disk is full.
    """
    folders, missing = missing_rows(project, base, rows, needs, mirrored, share, reads)
    read = None if reads is None else reads.seen | reads.denoised
    numbered = enumerate(image_keys(rows))
    unlike = {key: n for n, key in numbered if read is None or read[n]}
    lacking = [key for key in unlike if any(key in keys for keys in missing.values())]
    left = taken(rows, [unlike[key] for key in lacking])
    counter, done, started = labelled(on_progress, "caching images"), 0, len(unlike) - len(left)
    packs = {name: Pack(folder) for name, folder in folders.items()}
    for batch in ahead(partial(_pixels, base.transforms(), shards, _read(missing)), left, CHUNK):
        keys = lacking[done : done + CHUNK]
        pixels = {name: joined_maps([piece[name] for piece in batch]) for name in batch[0]}
        for name, absent in missing.items():
            if part := [i for i, key in enumerate(keys) if key in absent]:
                tensor = tensor_and_size(name)[0]
                chosen = {SOURCES[tensor]: chosen_of(pixels[SOURCES[tensor]], part)}
                packs[name].add([keys[i] for i in part], values_of(base, tensor, chosen))
        done += len(keys)
        if counter:
            counter(started + done, len(unlike))
    for pack in packs.values():
        pack.write()
    return folders


def _read(missing: Mapping[str, set[str]]) -> list[str]:
    """The kinds of pixels that are read for what is missing."""
    kinds = (SOURCES[tensor_and_size(name)[0]] for name, keys in missing.items() if keys)
    return list(dict.fromkeys(kinds))


def _pixels(
    transforms: Mapping[str, Transform], shards: Shards, names: Sequence[str], rows: Sequence[Row]
) -> dict[str, Maps]:
    images = [open_image(shards, row) for row in rows]
    return {name: transforms[name](images) for name in names}


class Pack:
    """Rows that are computed for a store, written some at a time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._keys: list[str] = []
        self._rows: list[np.ndarray] = []
        self._since = time.monotonic()

    def add(self, keys: Sequence[str], rows: np.ndarray) -> None:
        """Takes rows (n, …) in; many of them, or old ones, are written.

        Raises EnvironmentProblem when the disk is full.
        """
        self._keys += keys
        self._rows.append(rows)
        if len(self._keys) >= PACK - CHUNK or time.monotonic() > self._since + PATIENCE:
            self.write()

    def write(self) -> None:
        """Writes what there is. Raises EnvironmentProblem when the disk is full."""
        if self._keys:
            try:
                write_pack(self.folder, keys_of(self._keys), np.concatenate(self._rows))
            except OSError as problem:
                raise disk_problem(
                    problem,
                    f"The cache in {self.folder}",
                    "Or do without it: --set train.cache_latents=false",
                ) from problem
        self._keys, self._rows, self._since = [], [], time.monotonic()


def values_of(base: BaseModel, name: str, pixels: Mapping[str, Tensor]) -> np.ndarray:
    """The rows (n, …) of a tensor, by the pixels of n images that it is made of."""
    read = pixels[SOURCES[name]]
    if name == "clip_pixels":
        return read.numpy()
    if name == FROZEN:
        with torch.no_grad():
            return base.encode_images(read).float().cpu().numpy()
    if name == MIRRORED:
        read = read.flip(-1)
    # Mean and deviation.
    return torch.cat(base.encode_latents(read), dim=1).half().cpu().numpy()
