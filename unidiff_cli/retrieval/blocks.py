"""Embeddings that an unfinished `index` computed, so that the next one goes on from there."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from unidiff_cli.data.parts import Part
from unidiff_cli.data.row import Row
from unidiff_cli.data.rows import column_of, taken
from unidiff_cli.data.shards import Shards
from unidiff_cli.models.encoders import ImageEncoder
from unidiff_cli.progress import Counter
from unidiff_cli.project.arrays import open_array, seal_array
from unidiff_cli.project.files import atomic_file, digest, make_folder
from unidiff_cli.project.project import Project

logger = logging.getLogger("unidiff")

FOLDER = "unfinished-index"
# Images of a block, which is what a kill loses at most, and of a batch, of which it has several.
BLOCK, BATCH = 512, 64


class Blocks:
    """Embeddings in files of the cache, named by the export and by the bytes of the images.

    They are there until the index that they belong to is whole.
    """

    def __init__(self, project: Project, export: str) -> None:
        """`export` is the hash of the export's receipt."""
        self._project, self._export = project, export
        self._folder = project.path("cache", FOLDER)

    def embed(
        self,
        encoder: ImageEncoder,
        shards: Shards,
        rows: Sequence[Row],
        numbers: np.ndarray,
        into: np.ndarray,
        on_progress: Counter | None = None,
    ) -> None:
        """Embeds the rows of some numbers (M,) into the embeddings of all rows (N, D).

        A block at a time; blocks that are there are not embedded again.
        """
        rows = taken(rows, numbers)
        parts = {start: rows[start : start + BLOCK] for start in range(0, len(rows), BLOCK)}
        files = {start: self._file(encoder.name, part) for start, part in parts.items()}
        missing = []
        for start, part in parts.items():
            block = open_array(files[start])
            if block is None:
                missing.append(start)
            else:
                into[numbers[start : start + len(part)]] = block
        absent = [n for start in missing for n in range(start, start + len(parts[start]))]
        left = taken(rows, absent)
        if done := len(rows) - len(left):
            logger.info("%s images were embedded by a command that was stopped.", f"{done:,}")
        batches = encoder.embed_stream(shards, left, BATCH)
        for start in missing:
            size = len(parts[start])
            block, filled = np.empty((size, encoder.dimension), np.float32), 0
            while filled < size:
                batch = next(batches)
                block[filled : filled + len(batch)] = batch
                filled += len(batch)
                done += len(batch)
                if on_progress:
                    on_progress(done, len(rows))
            into[numbers[start : start + size]] = block
            # A catalogue of one block loses no more than that.
            if len(parts) > 1:
                self._write(files[start], block)

    def fill(
        self,
        encoder: ImageEncoder,
        shards: Shards,
        rows: Sequence[Row],
        part: Part,
        on_progress: Counter | None = None,
    ) -> int:
        """Embeds the blocks of a part that are not there yet, for `embed` to find; how many images.

        Several processes may fill a part each at a time.
        """
        blocks = [rows[start : start + BLOCK] for start in range(0, len(rows), BLOCK)]
        own = [block for number, block in enumerate(blocks) if part.holds(number)]
        total, done, made = sum(map(len, own)), 0, 0
        for block in own:
            file = self._file(encoder.name, block)
            if open_array(file) is None:
                embeddings = np.concatenate(list(encoder.embed_stream(shards, block, BATCH)))
                self._write(file, embeddings)
                made += len(block)
            done += len(block)
            if on_progress:
                on_progress(done, total)
        return made

    def delete(self) -> None:
        """Deletes every block, of other exports and catalogues too."""
        for file in self._folder.glob("*.npy"):
            file.unlink(missing_ok=True)
        with suppress(OSError):
            self._folder.rmdir()

    def _file(self, encoder: str, rows: Sequence[Row]) -> Path:
        contents = list(column_of(rows, "content"))
        return self._folder / f"{digest([self._export, encoder, contents])}.npy"

    def _write(self, file: Path, block: np.ndarray) -> None:
        self._project.folder("cache")
        make_folder(self._folder)
        with atomic_file(file) as beside, open(beside, "wb") as stream:
            np.save(stream, block)
            stream.flush()
            seal_array(beside)
