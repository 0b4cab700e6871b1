"""The scorer: a small frozen CLIP, neither the tuned model nor its base, that judges images."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from PIL.Image import Image

from unidiff_cli.models.clip import Clip
from unidiff_cli.models.encoders import embed_captions
from unidiff_cli.models.sources import SCORER
from unidiff_cli.models.weights import weights_hash

FOLDER = SCORER


class Scorer(Clip):
    """The extractor that comes with unidiff, which also embeds captions.

    Its features (N, d) are the image tower's pooled output (KID); its embeddings (N, D) are their
    projection beside captions (CLIP score).
    """

    name = FOLDER.name
    caution = ", not Inception: comparable only within this report"
    # Buffers of Clip.
    clip_mean: torch.Tensor
    clip_std: torch.Tensor

    def __init__(self, *parts: Any) -> None:
        from cleanfid.resize import make_resizer

        super().__init__(*parts)
        self.requires_grad_(False)
        self.image_size: int = self.clip.config.vision_config.image_size
        self.feature_size: int = self.clip.config.vision_config.hidden_size
        self.millions = sum(p.numel() for p in self.clip.parameters()) / 1e6
        self.weights_hash = weights_hash(self.clip)
        # clean-fid's resize ("On Aliased Resizing", arXiv 2104.11222): antialiased, each channel in
        # float. At the scorer's own size: clean-fid's own pipeline hands an extractor 299 px
        # whatever it wants.
        self._resize = make_resizer("PIL", False, "bicubic", (self.image_size, self.image_size))

    def features(self, images: Iterable[Image | np.ndarray]) -> np.ndarray:
        """Features (N, d), float32, of RGB images; the centre square of each is seen."""
        return self.embed_images(list(images))[0]

    @torch.no_grad()
    def embed_images(
        self, images: Sequence[Image | np.ndarray], batch_size: int = 64
    ) -> tuple[np.ndarray, np.ndarray]:
        """Features (N, d) and unit embeddings (N, D), float32, of RGB images' centre squares."""
        features = [np.empty((0, self.feature_size), np.float32)]
        embeds = [np.empty((0, self.dimension), np.float32)]
        for start in range(0, len(images), batch_size):
            batch = images[start : start + batch_size]
            resized = [self._resize(_centre_square(np.asarray(image))) for image in batch]
            # (B, 3, s, s), 0..255.
            x = torch.from_numpy(np.stack(resized)).permute(0, 3, 1, 2).to(self.device)
            for columns, part in zip((features, embeds), self.image_features(x), strict=True):
                columns.append(part.cpu().numpy())
        return np.concatenate(features), np.concatenate(embeds)

    def embed_captions(self, captions: Sequence[str]) -> np.ndarray:
        """Unit embeddings (N, D), float32; a caption longer than the scorer reads is truncated."""
        return embed_captions(self, captions)

    def count_truncated(self, captions: Sequence[str]) -> int:
        """How many captions are longer than the scorer reads."""
        lengths = [len(ids) for ids in self.tokenizer(list(captions), verbose=False).input_ids]
        return sum(length > self.tokenizer.model_max_length for length in lengths)


def _centre_square(image: np.ndarray) -> np.ndarray:
    """The centre square of (H, W, 3)."""
    side = min(image.shape[:2])
    top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
    return image[top : top + side, left : left + side]
