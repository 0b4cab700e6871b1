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
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTextModelWithProjection

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
        self.other = SECOND if self.shared == FIRST else FIRST
        # Never trained; here it moves with the base and counts in its weights.
        self.other_text: Any = getattr(self.pipeline, self.other).requires_grad_(False).eval()
        for tower in (self.clip.text_model, self._other_tower):
            watch(tower, layers_read(tower) - 1)

    @property
    def _other_tower(self) -> Any:
        """The other encoder without its projection, where it has one."""
        return self.other_text.text_model if self.other == SECOND else self.other_text

    def encode_text(self, captions: Sequence[str]) -> TextFeatures:
        """States of both towers, the second's pooled vector, and embeddings of the shared one.

        Of the empty caption states and vector are 0 where the pipeline says so
        (force_zeros_for_empty_prompt): SDXL learned without a caption by zeros, and its pipeline
        guides from them.
        """
        clip = self.clip
        states, pooled = self._read(clip.text_model, self.shared, captions)
        projected = clip.text_projection(pooled)
        with torch.no_grad():
            other_states, other_pooled = self._read(self._other_tower, self.other, captions)
        if self.other == FIRST:
            both, vector = [other_states, states], projected
        else:
            both, vector = [states, other_states], self.other_text.text_projection(other_pooled)
        text = TextFeatures(torch.cat(both, dim=-1), unit(projected), vector)
        return self._zeroed(text, captions)

    def _read(self, tower: Any, name: str, captions: Sequence[str]) -> tuple[Tensor, Tensor]:
        """States (n, L, d) before a tower's last layer, and its pooled output (n, d)."""
        ids = token_ids(tokenizer_of(self.pipeline, name), captions).to(self.device)
        return hidden_states(tower, ids)

    def _zeroed(self, text: TextFeatures, captions: Sequence[str]) -> TextFeatures:
        empty = torch.tensor([not caption for caption in captions], device=self.device)
        if not self.pipeline.config.force_zeros_for_empty_prompt or not empty.any():
            return text
        assert text.pooled is not None
        states = text.states.masked_fill(empty.view(-1, 1, 1), 0)
        return TextFeatures(states, text.embeds, text.pooled.masked_fill(empty.view(-1, 1), 0))

    def unet_text(self, text: TextFeatures) -> UnetText:
        """With the sizes that the pipeline gives by default: nothing scaled up, nothing cropped."""
        assert text.pooled is not None
        side = self.image_size
        # Height and width of the original, the corner of the crop, height and width of the image.
        sizes = torch.tensor([[side, side, 0, 0, side, side]], dtype=torch.float32)
        sizes = sizes.to(self.device).expand(len(text.pooled), 6)
        return UnetText(text.states, {"text_embeds": text.pooled, "time_ids": sizes})

    def _decisive(self) -> list[nn.Module]:
        return [*super()._decisive(), self.other_text]
