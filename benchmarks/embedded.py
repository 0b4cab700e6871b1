"""A project's rows with their embeddings, for measurements of queries on held-out rows."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unidiff_cli.data.shards import Row, Shards
from unidiff_cli.models.clip import Clip
from unidiff_cli.models.encoders import ClipEncoder
from unidiff_cli.models.sources import EMBEDDED
from unidiff_cli.project.project import Project


@dataclass(frozen=True)
class Embedded:
    """The rows of a split, N of them, with the unit embeddings (N, D) of their images."""

    rows: list[Row]
    images: np.ndarray

    @property
    def groups(self) -> np.ndarray:
        """The product of each row, (N,)."""
        return np.array([row.group for row in self.rows], object)

    def values(self, column: str) -> np.ndarray:
        """The attribute of each row, (N,); "" where it has none."""
        return np.array([str(row.attributes.get(column) or "") for row in self.rows], object)


def arguments(description: str) -> argparse.ArgumentParser:
    """A parser of the project's folder, and of --base: CLIP as it was before the training."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("project", type=Path)
    parser.add_argument("--base", action="store_true", help="the embedded base, not the export")
    return parser


def open_encoder(options: argparse.Namespace) -> ClipEncoder:
    """CLIP of the project's export, or of the embedded base."""
    folder = EMBEDDED / "nano" if options.base else Project(options.project).export(None)
    return ClipEncoder(Clip.read(folder / "clip"))


def embed_split(options: argparse.Namespace, encoder: ClipEncoder, split: str | None) -> Embedded:
    """The rows of a split, all where there is none, and their embeddings."""
    shards = Shards.open(Project(options.project).path("shards"))
    rows = shards.rows(split)
    return Embedded(rows, encoder.embed_rows(shards, rows))
