"""Image encoders of an export: CLIP's vision tower, and DiffDis where the export has its layers.

The names `clip` and `diffdis` stand in this file only. Nothing heavy is imported before a function
is called, so that a command line and objectives can use the names.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar, Self

from unidiff_cli.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import torch
    from PIL.Image import Image
    from torch import Tensor

    from unidiff_cli.data.batch import Batch
    from unidiff_cli.data.by_shape import Maps
    from unidiff_cli.data.shards import Row, Shards
    from unidiff_cli.models.base import BaseModel, DualEncoder
    from unidiff_cli.progress import Counter
    from unidiff_cli.project.project import Project

# One of the names below.
EncoderName = str
CLIP, DIFFDIS = "clip", "diffdis"


class ImageEncoder(ABC):
    """Images to unit embeddings in the space of a model's captions."""

    name: ClassVar[EncoderName]
    model: DualEncoder

    @property
    def dimension(self) -> int:
        """D, the length of an embedding."""
        return self.model.dimension

    def to(self, device: torch.device) -> Self:
        """The encoder with its model on a device."""
        self.model.to(device)
        return self

    def embed(self, images: Sequence[Image]) -> Tensor:
        """Unit embeddings (N, D) of images, float32, without gradient."""
        return self.embed_pixels(self.pixels(images))

    @abstractmethod
    def pixels(self, images: Sequence[Image]) -> Maps:
        """Images as the encoder reads them, uint8 (N, 3, h, w), perhaps of several shapes.

        Threads may call it.
        """

    @abstractmethod
    def embed_pixels(self, pixels: Maps) -> Tensor:
        """Unit embeddings (N, D) of `pixels`, float32, without gradient."""

    @abstractmethod
    def embed_batch(self, batch: Batch) -> Tensor:
        """`embed` of a batch's images (B, D), from the tensors that a training run has loaded."""

    def embed_images(
        self,
        images: Sequence[Image],
        batch_size: int = 64,
        on_progress: Counter | None = None,
    ) -> np.ndarray:
        """Unit embeddings (N, D) of images, float32."""
        starts = range(0, len(images), batch_size)
        batches = (self.embed(images[start : start + batch_size]) for start in starts)
        return self._joined((batch.cpu().numpy() for batch in batches), len(images), on_progress)

    def embed_rows(
        self,
        shards: Shards,
        rows: Sequence[Row],
        batch_size: int = 64,
        on_progress: Counter | None = None,
    ) -> np.ndarray:
        """Unit embeddings (N, D) of a catalogue's rows, float32."""
        return self._joined(self.embed_stream(shards, rows, batch_size), len(rows), on_progress)

    def embed_stream(
        self, shards: Shards, rows: Sequence[Row], batch_size: int = 64
    ) -> Iterator[np.ndarray]:
        """The same in batches (B, D), whose images are decoded and resized in threads, ahead."""
        from unidiff_cli.data.ahead import ahead
        from unidiff_cli.data.batch import open_image
        from unidiff_cli.data.by_shape import joined_maps

        def pixels(part: Sequence[Row]) -> Maps:
            return self.pixels([open_image(shards, row) for row in part])

        for batch in ahead(pixels, rows, batch_size):
            yield self.embed_pixels(joined_maps(batch)).cpu().numpy()

    def embed_captions(self, captions: Sequence[str], batch_size: int = 64) -> np.ndarray:
        """Unit embeddings (N, D) of captions, float32, by the model's text tower."""
        return embed_captions(self.model, captions, batch_size)

    def _joined(
        self, batches: Iterable[np.ndarray], count: int, on_progress: Counter | None
    ) -> np.ndarray:
        """Batches (B, D) of so many rows as one array (N, D)."""
        import numpy as np

        joined, done = np.empty((count, self.dimension), np.float32), 0
        for batch in batches:
            joined[done : done + len(batch)] = batch
            done += len(batch)
            if on_progress:
                on_progress(done, count)
        return joined


class ClipEncoder(ImageEncoder):
    """The vision tower."""

    name = CLIP

    def __init__(self, model: DualEncoder) -> None:
        self.model = model

    def pixels(self, images: Sequence[Image]) -> Maps:
        return self.model.clip_pixels(images)

    def embed_batch(self, batch: Batch) -> Tensor:
        assert batch.clip_pixels is not None
        return self.embed_pixels(batch.clip_pixels)

    def embed_pixels(self, pixels: Maps) -> Tensor:
        import torch

        assert isinstance(pixels, torch.Tensor)
        with torch.no_grad():
            return self.model.encode_images(pixels)


class DiffdisEncoder(ImageEncoder):
    """DiffDis's stream: a text embedding sampled from pure noise for an image's latents."""

    name = DIFFDIS
    model: BaseModel

    def __init__(self, model: BaseModel) -> None:
        """Raises UsageError for a model without DiffDis layers."""
        from unidiff_cli.models.dual_stream import DualStream

        stream = DualStream.of(model)
        if stream is None:
            raise UsageError(
                "This model has no DiffDis layers.",
                "Train them first: unidiff train --recipe diffdis",
            )
        self.model, self.stream = model, stream

    def pixels(self, images: Sequence[Image]) -> Maps:
        return self.model.learned_pixels(images)

    def embed_pixels(self, pixels: Maps) -> Tensor:
        from unidiff_cli.data.by_shape import in_order, parts_of

        parts = parts_of(pixels)
        embeds = [self._embed(self.model.encode_latents(part).mean) for part, _ in parts]
        return in_order(embeds, [rows for _, rows in parts])

    def embed_batch(self, batch: Batch) -> Tensor:
        from unidiff_cli.data.by_shape import in_order
        from unidiff_cli.models.denoise_pass import posteriors_of

        parts = posteriors_of(self.model, batch)
        embeds = [self._embed(posterior().mean) for _, posterior in parts]
        return in_order(embeds, [rows for rows, _ in parts])

    def _embed(self, latents: Tensor) -> Tensor:
        return self.stream.sample(self.model, latents)


def embed_captions(model: DualEncoder, captions: Sequence[str], batch_size: int = 64) -> np.ndarray:
    """Unit embeddings (N, D) of captions by a model's text tower, float32."""
    import numpy as np
    import torch

    with torch.no_grad():
        parts = [
            model.encode_text(captions[start : start + batch_size]).embeds.cpu().numpy()
            for start in range(0, len(captions), batch_size)
        ]
    return np.concatenate(parts) if parts else np.zeros((0, model.dimension), np.float32)


def available_encoders(folder: Path) -> list[EncoderName]:
    """The image encoders of an export, CLIP first."""
    from unidiff_cli.models.sources import DUAL_STREAM

    return [CLIP, DIFFDIS] if (folder / DUAL_STREAM).is_dir() else [CLIP]


def encoder_of(model: BaseModel, name: EncoderName = CLIP) -> ImageEncoder:
    """An image encoder of a model in memory. Raises UsageError for one the model has not."""
    return ClipEncoder(model) if name == CLIP else DiffdisEncoder(model)


def load_encoder(project: Project, folder: Path, name: EncoderName = CLIP) -> ImageEncoder:
    """An image encoder of an export, on the CPU; of CLIP alone where that is enough.

    Raises UsageError for an encoder that the export has not.
    """
    return load_encoders(project, folder, [name])[name]


def load_encoders(
    project: Project, folder: Path, names: Sequence[EncoderName] | None = None
) -> dict[EncoderName, ImageEncoder]:
    """Several image encoders of an export, by name, all that it has by default; on the CPU.

    They share one model. Raises UsageError for an encoder that the export has not.
    """
    from unidiff_cli.models.clip import Clip
    from unidiff_cli.models.loading import load_base

    names = available_encoders(folder) if names is None else names
    if set(names) == {CLIP}:
        return {CLIP: ClipEncoder(Clip.read(folder / "clip"))}
    size = project.receipt("exports", folder.name).settings["image_size"]
    base = load_base(str(folder), size)
    return {name: encoder_of(base, name) for name in names}
