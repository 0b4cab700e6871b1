"""Stable Diffusion XL with CLIP ViT-L/14 or OpenCLIP ViT-bigG/14: two text towers, one shared.

The UNet attends to the states of both towers before their last layer, side by side and without a
norm, and reads one vector more: the second tower's projected end token, not of unit length. The
CLIP of a base has one of the two towers. That one trains, in retrieval and in generation; the other
stays as it was (docs/decisions/2026-11-27-the-two-towers-of-sdxl.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from diffusers import StableDiffusionXLPipeline
from torch import Tensor
from transformers import CLIPTextModel, CLIPTextModelWithProjection

from unidiff_cli.data.buckets import Size
from unidiff_cli.models.base import TextFeatures
from unidiff_cli.models.clip import token_ids, unit
from unidiff_cli.models.latent_diffusion import LatentDiffusion
from unidiff_cli.models.pipeline import Halves, Layout, tokenizer_of
from unidiff_cli.models.sources import Source
from unidiff_cli.models.text_tower import hidden_states, layers_read, watch
from unidiff_cli.models.unet import UnetText

FIRST, SECOND = "text_encoder", "text_encoder_2"


class StableDiffusionXl(LatentDiffusion):
    """Stable Diffusion XL: two text encoders, a pooled vector, and sizes beside the timestep."""

    layout: ClassVar[Layout] = Layout(
        StableDiffusionXLPipeline,
        {FIRST: CLIPTextModel, SECOND: CLIPTextModelWithProjection},
        {"image_encoder": None, "feature_extractor": None, "add_watermarker": False},
    )

    def __init__(self, halves: Halves, source: Source, image_size: int) -> None:
        super().__init__(halves, source, image_size)
        for name in self.layout.text_encoders:
            tower, _ = self._tower(name)
            watch(tower, layers_read(tower) - 1)

    def encode_text(self, captions: Sequence[str]) -> TextFeatures:
        """States of both towers, the second's pooled vector, and embeddings of the CLIP.

        Of the empty caption states and vector are 0 where the pipeline says so
        (force_zeros_for_empty_prompt): SDXL learned without a caption by zeros, and its pipeline
        guides from them.
        """
        read = {name: self._read(name, captions) for name in self.layout.text_encoders}
        states = torch.cat([states for states, _ in read.values()], dim=-1)
        if self.shared is None:
            embeds = super().encode_text(captions).embeds
        else:
            embeds = unit(read[self.shared][1])
        return self._zeroed(TextFeatures(states, embeds, read[SECOND][1]), captions)

    def _read(self, name: str, captions: Sequence[str]) -> tuple[Tensor, Tensor]:
        """States (n, L, d) before a tower's last layer, and its projected end token (n, p).

        Without a projection the end token (n, d) itself. Without gradient where the tower is not
        shared.
        """
        tower, projection = self._tower(name)
        ids = token_ids(tokenizer_of(self.pipeline, name), captions).to(self.device)
        with torch.set_grad_enabled(torch.is_grad_enabled() and name == self.shared):
            states, pooled = hidden_states(tower, ids)
            return states, projection(pooled) if projection else pooled

    def _tower(self, name: str) -> tuple[Any, Any]:
        """One of the text encoders, and its projection where it has one."""
        if name == self.shared:
            return self.clip.text_model, self.clip.text_projection
        encoder = self.own_text[name]
        return (encoder.text_model, encoder.text_projection) if name == SECOND else (encoder, None)

    def _zeroed(self, text: TextFeatures, captions: Sequence[str]) -> TextFeatures:
        empty = torch.tensor([not caption for caption in captions], device=self.device)
        if not self.pipeline.config.force_zeros_for_empty_prompt or not empty.any():
            return text
        assert text.pooled is not None
        states = text.states.masked_fill(empty.view(-1, 1, 1), 0)
        return TextFeatures(states, text.embeds, text.pooled.masked_fill(empty.view(-1, 1), 0))

    def unet_text(self, text: TextFeatures, size: Size | None = None) -> UnetText:
        """With the sizes that the pipeline gives by default: nothing scaled up, nothing cropped.

        So images in buckets are generated as they were learned.
        """
        assert text.pooled is not None
        width, height = size or Size.square(self.image_size)
        # Height and width of the original, the corner of the crop, height and width of the image.
        sizes = torch.tensor([[height, width, 0, 0, height, width]], dtype=torch.float32)
        sizes = sizes.to(self.device).expand(len(text.pooled), 6)
        return UnetText(text.states, {"text_embeds": text.pooled, "time_ids": sizes})
