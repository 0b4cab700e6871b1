"""What the samples of a block of a hard batch have in common: a colour, or being near by the base.

Where a catalogue has a column of colours its values are the keys. Else the base's own image
embeddings are clustered (k-means, Lloyd 1982), once, and the clusters are the keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from unidiff_cli.data import attributes
from unidiff_cli.data.attributes import COLOURS, class_columns, column_for
from unidiff_cli.data.row import Row
from unidiff_cli.data.rows import column_of
from unidiff_cli.data.shards import Shards
from unidiff_cli.models.encoders import encoder_of
from unidiff_cli.progress import Progress, labelled
from unidiff_cli.project.arrays import open_array, seal_array
from unidiff_cli.project.files import atomic_file, digest, make_folder
from unidiff_cli.project.project import Project
from unidiff_cli.system import disk_problem
from unidiff_cli.training.cache_rows import image_keys

if TYPE_CHECKING:
    from unidiff_cli.models.base import BaseModel

# Clusters hold about so many blocks each, and there are at most so many of them.
BLOCKS, MOST = 3, 256
# Rounds of k-means, and the images that its centres are found from.
ROUNDS, SAMPLE = 20, 50_000


@dataclass(frozen=True)
class Blocks:
    """The key of each training row: samples of one block have the same. `by` names what it is."""

    keys: Sequence[str | int | None]
    by: str

    @classmethod
    def of(cls, shards: Shards, neighbours: Path | None = None) -> Blocks | None:
        """By the colours of the training split, else by the file of `fill_neighbours`, if given."""
        rows = shards.rows("train")
        known = attributes.from_figures(shards.receipt.figures)
        classes = class_columns(column_of(rows, "attributes"), known)
        if colour := column_for(classes, COLOURS):
            return cls(classes[colour], f"the column '{colour}'")
        if neighbours is None:
            return None
        keys = open_array(neighbours)
        assert keys is not None and len(keys) == len(rows)
        return cls(keys.tolist(), "the base's image embeddings")

    def sentence(self, size: int) -> str:
        """What batches are made of; `size` are the samples of a block."""
        values = len({key for key in self.keys if key is not None})
        return f"Batches hold blocks of {size} samples alike by {self.by} ({values} groups)."


def fill_neighbours(
    project: Project,
    base: BaseModel,
    shards: Shards,
    rows: Sequence[Row],
    block: int,
    on_progress: Progress | None = None,
) -> Path:
    """The .npy file of each row's cluster, int64 (N,), computed where it is missing.

    The base must still have its own weights. Raises EnvironmentProblem when the disk is full.
    """
    count = min(MOST, max(2, len(rows) // (BLOCKS * block)))
    depends = [base.clip_preprocessing, base.vision_hash, list(image_keys(rows))]
    folder = project.folder("cache") / digest(["neighbours", *depends, count])
    file = folder / "neighbours.npy"
    if open_array(file) is not None:
        return file
    counter = labelled(on_progress, "finding neighbours")
    embeds = encoder_of(base).embed_rows(shards, rows, on_progress=counter)
    try:
        make_folder(folder)
        with atomic_file(file) as beside, open(beside, "wb") as stream:
            np.save(stream, clusters(embeds, count))
            stream.flush()
            seal_array(beside)
    except OSError as problem:
        raise disk_problem(problem, f"The neighbours of {len(rows):,} images") from problem
    return file


def clusters(embeds: np.ndarray, count: int, seed: int = 0) -> np.ndarray:
    """The number of the nearest of `count` centres of unit embeddings (N, D), int64 (N,).

    Spherical k-means: centres are unit means, cosines decide. A centre without images stays.
    """
    random = np.random.default_rng(seed)
    embeds = embeds.astype(np.float64)
    sample = embeds[random.permutation(len(embeds))[:SAMPLE]]
    centres = sample[:count].copy()
    for _ in range(ROUNDS):
        nearest = (sample @ centres.T).argmax(1)
        sums = np.zeros_like(centres)
        np.add.at(sums, nearest, sample)
        filled = np.linalg.norm(sums, axis=1) > 0
        centres[filled] = sums[filled] / np.linalg.norm(sums[filled], axis=1, keepdims=True)
    return (embeds @ centres.T).argmax(1)
