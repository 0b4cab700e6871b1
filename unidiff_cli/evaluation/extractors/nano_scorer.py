"""The scorer: a small frozen CLIP, neither the tuned model nor its base, that judges images."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from PIL.Image import Image

from unidiff_cli.errors import UsageError
from unidiff_cli.models.clip import Clip, read_clip
from unidiff_cli.models.encoders import embed_captions
from unidiff_cli.models.sources import SCORER, resolve_base
from unidiff_cli.models.weights import weights_hash

FOLDER = SCORER
# The relative distance of weights, below which one CLIP comes from the other.
RELATED = 0.3


class Scorer(Clip):
    """The extractor that comes with unidiff, which also embeds captions.

    Its features (N, d) are the image tower's pooled output (KID); its embeddings (N, D) are their
    projection beside captions (CLIP score).
    """

    # Its folder or hub id says more where it is not the embedded one.
    name: str = FOLDER.name
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


def refuse_related(judge: Scorer, base: Any) -> None:
    """Raises UsageError where the scorer is the CLIP of a base, or one that was tuned from it.

    Such a judge has what is being tuned, so it is not independent. Weights that training moved are
    a few per cent away; those of another training share nothing.
    """
    clip = read_clip(resolve_base(base)[1].clip)
    if _distance(judge.clip.vision_model, clip.vision_model) < RELATED:
        raise UsageError(
            f"evaluate.scorer names {judge.name}, which has the weights of the base being tuned: "
            "it is not independent.",
            "Name another CLIP, or leave evaluate.scorer empty for nano_scorer.",
        )


def _distance(one: torch.nn.Module, other: torch.nn.Module) -> float:
    """‖a − b‖ / ‖b‖ over all matrices; inf where the shapes differ.

    Scales and offsets begin alike in every training.
    """
    a, b = (
        {name: x.detach().cpu().float() for name, x in module.named_parameters() if x.ndim > 1}
        for module in (one, other)
    )
    if {name: x.shape for name, x in a.items()} != {name: x.shape for name, x in b.items()}:
        return float("inf")
    apart = sum(float((a[name] - b[name]).square().sum()) for name in a)
    return (apart / sum(float(x.square().sum()) for x in b.values())) ** 0.5
