"""retrieve: a picture, a text or both, and the index → the nearest products of the catalogue."""

from __future__ import annotations

import io
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from .. import vectors
from ..batches import picture
from ..errors import UsageError
from ..intake import pictures
from ..project import Project
from ..readers import PICTURES
from ..recipe import Prepare
from ..sampling import sheet
from ..shards import Row, Shards


@dataclass(frozen=True)
class Hit:
    """One answer; `score` is a cosine, `path` the picture in the catalogue."""

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
    by: vectors.By = "clip",
    sheet_to: Path | None = None,
) -> list[Hit]:
    """The k nearest pictures, best first; with both a text and a picture, nearest to the mean of their vectors.

    `by` says what made the pictures' vectors: CLIP's vision tower, or DiffDis where the export has it. `sheet_to` also draws them. Raises UsageError for a query that cannot be read, NotReady for a stale index.
    """
    if not text and image is None:
        raise UsageError(
            "There is nothing to look for.", 'Give a picture or a text: unidiff retrieve "red dress"'
        )
    query = _open(Path(image)) if image is not None else None
    folder = vectors.fresh(project, export)
    shards = Shards.open(project.room("shards"))
    rows = shards.rows()
    matrix = vectors.read(project.room("index"), by)
    clip = vectors.model(project, folder, by if query is not None else "clip")
    vector = np.zeros(clip.dimension, np.float32)
    if text:
        vector += vectors.embed_captions(clip, [text])[0]
    if query is not None:
        vector += vectors.embed_image(clip, query, by)
    vector /= max(float(np.linalg.norm(vector)), 1e-12)
    near, scores = vectors.search(matrix, vector, k)
    hits = [
        _hit(shards, rows[i], rank, float(s)) for rank, (i, s) in enumerate(zip(near, scores, strict=True), 1)
    ]
    if sheet_to is not None:
        found = [picture(shards, rows[i]) for i in near]
        labels = [f"{h.rank}. {h.score:.3f} {h.caption}" for h in hits]
        page = sheet([query, *found], ["query", *labels]) if query else sheet(found, labels)
        page.save(sheet_to)
    return hits


def split_query(words: list[str]) -> tuple[str | None, Path | None]:
    """The text and the picture among a command's words. Raises UsageError for a file that is not there.

    A word that looks like a file (a picture's ending, or a path separator and no blank) is never a text.
    """
    texts, files = [], []
    for word in words:
        looks = Path(word).suffix.lower() in {*PICTURES, ".heic"} or (
            ("/" in word or "\\" in word) and " " not in word
        )
        if Path(word).is_file():
            files.append(Path(word))
        elif looks:
            raise UsageError(
                f"There is no picture {word}.", "A text query has no picture's ending and no path in it."
            )
        else:
            texts.append(word)
    if len(files) > 1:
        raise UsageError(f"{len(files)} pictures were given; one can be looked for at a time.")
    return " ".join(texts) or None, files[0] if files else None


def _open(path: Path) -> Image.Image:
    """The query made ready as prepare makes the catalogue's pictures: upright, on white, sRGB."""
    options = Prepare()
    found = pictures.ready(path, options.max_side, options.max_pixels)
    if isinstance(found, str):
        raise UsageError(f"{path} cannot be read as a picture: {found}.", "Give a JPEG, PNG or WebP file.")
    return Image.open(io.BytesIO(found.data)).convert("RGB")


def _hit(shards: Shards, row: Row, rank: int, score: float) -> Hit:
    path = str(shards.catalogue / row.path) if shards.catalogue and row.path else row.path
    return Hit(rank, round(score, 6), row.id, row.captions[0], path, row.attributes)
