"""Embedding a catalogue's images beside the tower's own forward pass on ready tensors."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.measurement import in_turns, ratio
from benchmarks.parts.extraction import write_photos
from unidiff_cli.data.batch import image_of
from unidiff_cli.models.clip import Clip
from unidiff_cli.models.encoders import ClipEncoder
from unidiff_cli.models.sources import EMBEDDED


@dataclass(frozen=True)
class Photos:
    """The bytes of photos in memory, in the place of shards: a row is a photo's number."""

    files: list[bytes]

    def image_bytes(self, row: int) -> bytes:
        return self.files[row]


@dataclass(frozen=True)
class Embedding:
    """nano's vision tower over `images` photos of 256 to 512 px."""

    images: int = 256
    batch_size: int = 64
    rounds: int = 5

    def measure(self) -> dict[str, float]:
        """Milliseconds an image: ours, one after the other, the tower alone, and the decoding."""
        with tempfile.TemporaryDirectory() as folder:
            files = write_photos(Path(folder), self.images)
            photos = Photos([Path(file).read_bytes() for file in files])
        encoder = ClipEncoder(Clip.read(EMBEDDED / "nano" / "clip"))
        rows = list(range(self.images))
        batches = [rows[start : start + self.batch_size] for start in rows[:: self.batch_size]]

        def pixels(batch: list[int]) -> torch.Tensor:
            return encoder.pixels([image_of(photos.image_bytes(row)) for row in batch])

        ready = [pixels(batch) for batch in batches]
        candidates = {
            "ours": lambda: encoder.embed_rows(photos, rows, self.batch_size),
            "in_turn": lambda: np.concatenate(
                [encoder.embed_pixels(pixels(batch)).numpy() for batch in batches]
            ),
            "tower": lambda: np.concatenate([encoder.embed_pixels(x).numpy() for x in ready]),
            "decoding": lambda: [pixels(batch) for batch in batches],
        }
        spent, results = in_turns(candidates, self.rounds)
        figures = {
            f"{name}_ms_an_image": 1e3 * float(np.median(times)) / self.images
            for name, times in spent.items()
        }
        difference = float(np.abs(results["ours"] - results["tower"]).max())
        return figures | ratio("of_tower", spent["tower"], spent["ours"]) | {"differs": difference}
