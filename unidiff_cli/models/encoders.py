"""TODO docstring."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image

from unidiff_cli.data.batch import open_image
from unidiff_cli.data.shards import Row, Shards
from unidiff_cli.models import loading, sources
from unidiff_cli.models.clip import Clip
from unidiff_cli.project.project import Project

Progress = Callable[[int, int], None]
EncoderName = Literal["clip", "diffdis"]  # what makes an image's vector


@torch.no_grad()
def embed_images(
    clip: Clip, shards: Shards, rows: Sequence[Row], batch_size: int = 64, on_progress: Progress | None = None,
    by: EncoderName = "clip",
) -> np.ndarray:  # fmt: skip
    """Unit vectors of the rows' images, float32 (N, D), by CLIP or by a base's DiffDis."""
    found = []
    for start in range(0, len(rows), batch_size):
        some = [open_image(shards, row) for row in rows[start : start + batch_size]]
        found.append(clip.embed(some, by).cpu().numpy())
        if on_progress:
            on_progress(min(start + batch_size, len(rows)), len(rows))
    return np.concatenate(found) if found else np.zeros((0, clip.dimension), np.float32)


@torch.no_grad()
def embed_image(clip: Clip, image: Image.Image, by: EncoderName = "clip") -> np.ndarray:
    """The unit vector (D,) of one image."""
    return clip.embed([image], by)[0].cpu().numpy()


@torch.no_grad()
def embed_captions(clip: Clip, captions: Sequence[str], batch_size: int = 64) -> np.ndarray:
    """Unit vectors of captions, float32 (N, D)."""
    found = [
        clip.text(clip.tokenize(captions[start : start + batch_size]))[1].cpu().numpy()
        for start in range(0, len(captions), batch_size)
    ]
    return np.concatenate(found) if found else np.zeros((0, clip.dimension), np.float32)


def available_encoders(folder: Path) -> list[EncoderName]:
    """What an export makes an image's vector with."""
    return ["clip", "diffdis"] if (folder / sources.DUAL_STREAM).is_dir() else ["clip"]


def load_encoder(project: Project, folder: Path, by: EncoderName | None = None) -> Clip:
    """An export's CLIP; the whole base where it also finds, or is asked to find, by DiffDis."""
    if (by or available_encoders(folder)[-1]) == "clip":
        return Clip.read(folder / "clip")
    size = project.receipt("exports", folder.name).settings["image_size"]
    return loading.load_base(str(folder), size)
