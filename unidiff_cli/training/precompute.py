"""What a run reads of each image, computed once and kept in the project's `cache/`.

A row is kept by the image's bytes, in a folder for everything else that its numbers depend on: the
sizes and the weights. So a new image costs a row, whatever else changed in the catalogue. Of a
latent its posterior's mean and deviation are kept, so that each step still samples it.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from unidiff_cli.data.ahead import ahead
from unidiff_cli.data.batch import Transform, open_image
from unidiff_cli.data.dataset import MIRRORED
from unidiff_cli.data.row import Row
from unidiff_cli.data.rows import column_of, taken
from unidiff_cli.data.shards import Shards
from unidiff_cli.models.needs import Needs
from unidiff_cli.progress import Progress, labelled
from unidiff_cli.project.files import digest, write_json
from unidiff_cli.project.project import Project
from unidiff_cli.project.row_store import PACK, RowStore, keys_of, write_pack
from unidiff_cli.system import disk_problem
from unidiff_cli.training.share import WHOLE, Share

if TYPE_CHECKING:
    from unidiff_cli.models.base import BaseModel

FILE = "precomputed.json"
# CLIP's embeddings before it was trained, tensors of a batch.
FROZEN, FROZEN_TEXT = "frozen_image_embeds", "frozen_text_embeds"
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

    # Folders of rows by the batch's tensor; none where images are decoded at each step.
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


def image_keys(rows: Sequence[Row]) -> Iterator[str]:
    """The sha256 of each row's image, in hex; of its id in shards that do not know it."""
    for content, name in zip(column_of(rows, "content"), column_of(rows, "id"), strict=True):
        yield content or hashlib.sha256(name.encode()).hexdigest()


def row_folder(project: Project, name: str, depends: Any) -> Path:
    """The folder of the rows of a name, all of which depend on the same."""
    return project.folder("cache") / "rows" / f"{name}-{digest(depends)}"


def row_folders(
    project: Project, base: BaseModel, needs: Needs, mirrored: bool = False
) -> dict[str, Path]:
    """The folders of the rows of each tensor that is needed."""
    depends = {}
    if needs.clip_pixels:
        depends["clip_pixels"] = base.clip_preprocessing
    if needs.latents:
        depends["latents"] = base.latent_preprocessing
        if mirrored:
            depends[MIRRORED] = base.latent_preprocessing
    if needs.frozen_image_embeds:
        depends[FROZEN] = [*base.clip_preprocessing, base.vision_hash]
    return {name: row_folder(project, name, key) for name, key in depends.items()}


def fill_cache(
    project: Project,
    base: BaseModel,
    shards: Shards,
    rows: Sequence[Row],
    needs: Needs,
    on_progress: Progress | None = None,
    share: Share = WHOLE,
    mirrored: bool = False,
) -> dict[str, Path]:
    """The folders of rows by tensor, those of `rows` computed where they are missing.

    A row is `clip_pixels` uint8 (3, s, s), `latents` float16 (2c, h, w) and `frozen_image_embeds`
    float32 (D,), as far as they are needed, and with `mirrored` also `mirrored_latents`. The base
    must still have its own weights where embeddings are missing. What an interrupted call computed
    is kept, and of several processes each computes its share. Raises EnvironmentProblem when the
    disk is full.
    """
    folders = row_folders(project, base, needs, mirrored)
    unlike = {key: n for n, key in enumerate(image_keys(rows))}
    missing = {name: missing_keys(folder, list(unlike), share) for name, folder in folders.items()}
    lacking = [key for key in unlike if any(key in keys for keys in missing.values())]
    left = taken(rows, [unlike[key] for key in lacking])
    counter, done, started = labelled(on_progress, "caching images"), 0, len(unlike) - len(left)
    packs = {name: Pack(folder) for name, folder in folders.items()}
    for batch in ahead(partial(_pixels, base.transforms(), shards, _read(missing)), left, CHUNK):
        keys = lacking[done : done + CHUNK]
        pixels = {name: torch.cat([piece[name] for piece in batch]) for name in batch[0]}
        for name, absent in missing.items():
            if part := [i for i, key in enumerate(keys) if key in absent]:
                chosen = {of: x[part] for of, x in pixels.items()}
                packs[name].add([keys[i] for i in part], values_of(base, name, chosen))
        done += len(keys)
        if counter:
            counter(started + done, len(unlike))
    for pack in packs.values():
        pack.write()
    return folders


def _read(missing: Mapping[str, set[str]]) -> list[str]:
    """The kinds of pixels that are read for what is missing."""
    return list({SOURCES[name]: None for name, keys in missing.items() if keys})


def _pixels(
    transforms: Mapping[str, Transform], shards: Shards, names: Sequence[str], rows: Sequence[Row]
) -> dict[str, Tensor]:
    images = [open_image(shards, row) for row in rows]
    return {name: transforms[name](images) for name in names}


def tidy_cache(folders: Mapping[str, Path], keys: Iterable[str]) -> None:
    """Deletes what these folders hold beyond bounds; `keys` are all that are still of use.

    No other process may use them meanwhile.
    """
    live = keys_of(set(keys))
    for folder in folders.values():
        RowStore(folder).tidy(live)


def missing_keys(folder: Path, keys: Sequence[str], share: Share = WHOLE) -> set[str]:
    """Which of some keys a store lacks, of this process's share."""
    places = RowStore(folder).places(keys_of(keys))
    lacking = (key for key, place in zip(keys, places, strict=True) if place < 0)
    return {key for key in lacking if share.has(int(key[:8], 16))}


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
