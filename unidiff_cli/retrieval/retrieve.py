"""retrieve: an image, a text or both, and the index → the nearest products of the catalogue."""

from __future__ import annotations

import io
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from unidiff_cli.config.schema import Prepare
from unidiff_cli.data import images
from unidiff_cli.data.batch import open_image
from unidiff_cli.data.locations import locate
from unidiff_cli.data.sample import IMAGE_SUFFIXES, Reason
from unidiff_cli.data.shards import Row, Shards
from unidiff_cli.errors import UsageError
from unidiff_cli.models import encoders
from unidiff_cli.project.project import Project
from unidiff_cli.reports.contact_sheet import contact_sheet
from unidiff_cli.retrieval import index


@dataclass(frozen=True)
class Hit:
    """One answer; `score` is a cosine, `path` the image in the catalogue."""

    rank: int
    score: float
    id: str
    caption: str
    path: str
    attributes: dict[str, Any]

    def plain(self) -> dict[str, Any]:
        return asdict(self)


def retrieve(
    project: Project,
    text: str | None = None,
    image: str | Path | None = None,
    *,
    k: int = 10,
    export: str | None = None,
    by: encoders.EncoderName = "clip",
    sheet_to: Path | None = None,
) -> list[Hit]:
    """The k nearest images, best first; with both a text and an image, nearest to the mean of their vectors.

    `by` says what made the images' vectors: CLIP's vision tower, or DiffDis where the export has it. `sheet_to` also draws them. Raises UsageError for a query that cannot be read, NotReady for a stale index.
    """
    if not text and image is None:
        raise UsageError(
            "There is nothing to look for.",
            'Give an image or a text: unidiff retrieve "red dress"',
        )
    query = _open(Path(image)) if image is not None else None
    folder = index.fresh(project, export)
    shards = Shards.open(project.path("shards"))
    rows = shards.rows()
    matrix = index.read(project.path("index"), by)
    clip = encoders.load_encoder(project, folder, by if query is not None else "clip")
    vector = np.zeros(clip.dimension, np.float32)
    if text:
        vector += encoders.embed_captions(clip, [text])[0]
    if query is not None:
        vector += encoders.embed_image(clip, query, by)
    vector /= max(float(np.linalg.norm(vector)), 1e-12)
    near, scores = index.search(matrix, vector, k)
    hits = [
        _hit(shards, rows[i], rank, float(s))
        for rank, (i, s) in enumerate(zip(near, scores, strict=True), 1)
    ]
    if sheet_to is not None:
        found = [open_image(shards, rows[i]) for i in near]
        labels = [f"{h.rank}. {h.score:.3f} {h.caption}" for h in hits]
        page = (
            contact_sheet([query, *found], ["query", *labels])
            if query
            else contact_sheet(found, labels)
        )
        page.save(sheet_to)
    return hits


def split_query(words: list[str]) -> tuple[str | None, Path | None]:
    """The text and the image among a command's words. Raises UsageError for a file that is not there.

    A word that looks like a file (an image's ending, or a path separator and no blank) is never a text.
    """
    texts, files = [], []
    for word in words:
        looks = Path(word).suffix.lower() in {*IMAGE_SUFFIXES, ".heic"} or (
            ("/" in word or "\\" in word) and " " not in word
        )
        if Path(word).is_file():
            files.append(Path(word))
        elif looks:
            raise UsageError(
                f"There is no image {word}.",
                "A text query has no image's ending and no path in it.",
            )
        else:
            texts.append(word)
    if len(files) > 1:
        raise UsageError(f"{len(files)} images were given; one can be looked for at a time.")
    return " ".join(texts) or None, files[0] if files else None


def _open(path: Path) -> Image.Image:
    """The query made ready as prepare makes the catalogue's images: upright, on white, sRGB."""
    options = Prepare()
    found = images.prepare_image(locate(path), options.max_side, options.max_pixels)
    if isinstance(found, Reason):
        raise UsageError(
            f"{path} cannot be read as an image: {found.text}.", "Give a JPEG, PNG or WebP file."
        )
    return Image.open(io.BytesIO(found.data)).convert("RGB")


def _hit(shards: Shards, row: Row, rank: int, score: float) -> Hit:
    path = str(shards.catalogue / row.path) if shards.catalogue and row.path else row.path
    return Hit(rank, round(score, 6), row.id, row.captions[0], path, row.attributes)
