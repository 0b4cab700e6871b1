"""Stable Diffusion 1.x and 2.x with their CLIP: one text tower, read by both.

SD 1.x attends to all states of CLIP ViT-L/14 after the final layer norm. SD 2.x attends to those of
OpenCLIP ViT-H/14 before its last layer, after the same norm: the text encoder in its folder has one
layer less than the CLIP. So the number of layers in the folder says which is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import torch
from diffusers import StableDiffusionPipeline
from torch import Tensor
from transformers import CLIPTextModel

from unidiff_cli.data.buckets import Size
from unidiff_cli.models.base import TextFeatures
from unidiff_cli.models.clip import token_ids, unit
from unidiff_cli.models.latent_diffusion import LatentDiffusion
from unidiff_cli.models.pipeline import Halves, Layout
from unidiff_cli.models.safety import CHECKER, PROCESSOR
from unidiff_cli.models.sources import Source
from unidiff_cli.models.text_tower import hidden_states, layers_read, watch
from unidiff_cli.models.unet import UnetText


class StableDiffusion(LatentDiffusion):
    """Stable Diffusion 1.x and 2.x: one text encoder, whose normed states the UNet attends to."""

    layout: ClassVar[Layout] = Layout(
        StableDiffusionPipeline,
        {"text_encoder": CLIPTextModel},
        {CHECKER: None, "requires_safety_checker": False, PROCESSOR: None},
        beside=(CHECKER, PROCESSOR),
    )

    def __init__(self, halves: Halves, source: Source, image_size: int) -> None:
        super().__init__(halves, source, image_size)
        layers, tower = layers_read(self.pipeline.text_encoder), self.clip.text_model
        # Whether the denoiser reads the shared tower before its end.
        self.reads_inside = self.shares_text and layers < layers_read(tower)
        if self.reads_inside:
            watch(tower, layers)

    def encode_text(self, captions: Sequence[str]) -> TextFeatures:
        if not self.shares_text:
            return replace(super().encode_text(captions), states=self._own_states(captions))
        if not self.reads_inside:
            return super().encode_text(captions)
        tower = self.clip.text_model
        states, pooled = hidden_states(tower, self.token_ids(captions))
        embeds = unit(self.clip.text_projection(pooled))
        return TextFeatures(tower.final_layer_norm(states), embeds)

    @torch.no_grad()
    def _own_states(self, captions: Sequence[str]) -> Tensor:
        """The states (n, L, d) of the denoiser's own text encoder."""
        ids = token_ids(self.pipeline.tokenizer, captions).to(self.device)
        return self.pipeline.text_encoder(input_ids=ids).last_hidden_state

    def unet_text(self, text: TextFeatures, size: Size | None = None) -> UnetText:
        return UnetText(text.states)
