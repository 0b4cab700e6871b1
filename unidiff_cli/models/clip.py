"""One CLIP: captions and images to unit vectors. The retrieval half of a base, and the scorer."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Self

import torch
from PIL.Image import Image
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import CLIPImageProcessor, CLIPModel, CLIPTokenizer

from unidiff_cli.data.batch import Transform
from unidiff_cli.errors import EnvironmentProblem
from unidiff_cli.models.base import DualEncoder, TextFeatures


class Clip(DualEncoder):
    """A transformers CLIPModel with what turns captions and images into its inputs."""

    # (1, 3, 1, 1) buffers.
    clip_mean: Tensor
    clip_std: Tensor

    def __init__(
        self, clip: CLIPModel, tokenizer: CLIPTokenizer, processor: CLIPImageProcessor
    ) -> None:
        super().__init__()
        self.clip: Any = clip
        self.tokenizer, self.clip_processor = tokenizer, processor
        mean, std = processor.image_mean, processor.image_std
        self.register_buffer("clip_mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("clip_std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    @classmethod
    def read(cls, folder: str | Path) -> Self:
        """A CLIPModel folder or hub id in fp32, on the CPU.

        Raises EnvironmentProblem where it is not on this machine.
        """
        try:
            clip = CLIPModel.from_pretrained(folder, dtype=torch.float32, use_safetensors=True)
            tokenizer = CLIPTokenizer.from_pretrained(folder)
            return cls(clip, tokenizer, image_processor(folder, clip)).eval()
        except (OSError, ValueError, KeyError, SafetensorError) as problem:
            fact = f"The CLIP {folder} cannot be loaded: {first_line(problem)}"
            raise EnvironmentProblem(fact, "Check the machine with: unidiff doctor") from problem

    def frozen(self) -> Clip:
        """A copy of this CLIP with the weights it has now, which never trains."""
        clip = Clip(copy.deepcopy(self.clip), self.tokenizer, self.clip_processor)
        return clip.eval().requires_grad_(False)

    @property
    def device(self) -> torch.device:
        return self.clip_mean.device

    @property
    def dimension(self) -> int:
        return self.clip.config.projection_dim

    # ------------------------------------------------------------ text

    def encode_text(self, captions: Sequence[str]) -> TextFeatures:
        """States after the final norm and unit embeddings, from one forward."""
        out = self.clip.text_model(input_ids=self.token_ids(captions))
        embeds = self.clip.text_projection(out.pooler_output)
        return TextFeatures(out.last_hidden_state, unit(embeds))

    def token_ids(self, captions: Sequence[str]) -> Tensor:
        """Token ids (n, L), int64, padded to the full length as Stable Diffusion does."""
        ids = self.tokenizer(
            list(captions),
            padding="max_length",
            max_length=self.tokenizer.model_max_length,
            truncation=True,
            return_tensors="pt",
        )
        return ids.input_ids.to(self.device)

    # ------------------------------------------------------------ images

    def encode_images(self, pixels: Tensor) -> Tensor:
        return self.image_features(pixels)[1]

    def image_features(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """The vision tower's pooled output (B, d) and unit embeddings (B, D) of clip pixels."""
        x = (pixels.to(self.device) / 255 - self.clip_mean) / self.clip_std
        pooled = self.clip.vision_model(pixel_values=x).pooler_output
        return pooled, unit(self.clip.visual_projection(pooled))

    def clip_pixels(self, images: Sequence[Image]) -> Tensor:
        return pixels(self.clip_processor, images)

    def clip_resize(self, images: Tensor) -> Tensor:
        short, crop = self.clip_processor.size["shortest_edge"], self.clip_processor.crop_size
        height, width = (round(side * short / min(images.shape[2:])) for side in images.shape[2:])
        full = torch.promote_types(images.dtype, torch.float32)
        x = nn.functional.interpolate(
            images.to(full), (height, width), mode="bicubic", antialias=True, align_corners=False
        )
        top, left = (height - crop["height"]) // 2, (width - crop["width"]) // 2
        return x[:, :, top : top + crop["height"], left : left + crop["width"]].clamp(0, 255)

    def transforms(self) -> dict[str, Transform]:
        return {"clip_pixels": partial(pixels, self.clip_processor)}


def unit(x: Tensor) -> Tensor:
    """Rows scaled to length 1, in fp32 at least: half precision would round cosines to 1/256."""
    return nn.functional.normalize(x.to(torch.promote_types(x.dtype, torch.float32)), dim=-1)


def first_line(problem: Exception) -> str:
    """What a library's error says first; its kind where it says nothing."""
    return (str(problem).strip() or type(problem).__name__).splitlines()[0]


def image_processor(folder: str | Path, clip: Any) -> CLIPImageProcessor:
    """The folder's own preprocessing, or CLIP's at the tower's size where a bare model has none."""
    try:
        return CLIPImageProcessor.from_pretrained(folder)
    except OSError:
        return square(clip.config.vision_config.image_size)


def square(side: int) -> CLIPImageProcessor:
    """CLIP's preprocessing at a side: the shortest edge scaled to it, the centre cropped."""
    return CLIPImageProcessor(
        size={"shortest_edge": side}, crop_size={"height": side, "width": side}
    )


def pixels(processor: CLIPImageProcessor, images: Sequence[Image]) -> Tensor:
    """Images resized and cropped by a processor, not yet scaled; uint8 (B, 3, side, side)."""
    options: dict[str, Any] = {"do_rescale": False, "do_normalize": False, "return_tensors": "pt"}
    return processor(images=list(images), **options)["pixel_values"].to(torch.uint8)
