"""One CLIP or SigLIP: captions and images to unit vectors. A base's retrieval half, the scorer."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from transformers import CLIPImageProcessor, CLIPModel, CLIPTokenizer, SiglipImageProcessor

from unidiff_cli.data.batch import Transform
from unidiff_cli.data.token_window import TokenWindow
from unidiff_cli.errors import WorkError
from unidiff_cli.models.base import DualEncoder, TextFeatures
from unidiff_cli.models.fit import Fit, fit_of, fitted
from unidiff_cli.models.places import pretrained
from unidiff_cli.models.reading import broken, read_model, reading
from unidiff_cli.models.siglip import (
    is_siglip,
    is_siglip_folder,
    read_siglip,
    siglip_square,
    siglip_tokenizer,
)

# CLIP's tokenizer has each byte twice, within a word and at its end, and two marks.
LEAST_TOKENS = 514
# How images are resized, by the number that a processor's config has for it.
RESAMPLED = {2: "bilinear", 3: "bicubic"}


class Clip(DualEncoder):
    """A CLIPModel or SiglipModel with what turns captions and images into its inputs."""

    # (1, 3, 1, 1) buffers.
    clip_mean: Tensor
    clip_std: Tensor

    def __init__(self, clip: Any, tokenizer: CLIPTokenizer, processor: CLIPImageProcessor) -> None:
        super().__init__()
        self.clip: Any = clip
        self.tokenizer, self.clip_processor = tokenizer, processor
        mean, std = processor.image_mean, processor.image_std
        self.register_buffer("clip_mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("clip_std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    @classmethod
    def read(cls, folder: str | Path) -> Self:
        """A CLIPModel or SiglipModel folder or hub id in fp32, on the CPU.

        Raises EnvironmentProblem where it is not on this machine, or not whole; Damaged for an
        export.
        """
        clip = read_clip(folder)
        tokenizer = read_tokenizer(folder, clip)
        return cls(clip, tokenizer, image_processor(folder, clip)).eval()

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

    @cached_property
    def window(self) -> TokenWindow:
        return TokenWindow(self.tokenizer.backend_tokenizer, self.tokenizer.model_max_length)

    def encode_text(self, captions: Sequence[str]) -> TextFeatures:
        """States after the final norm and unit embeddings, from one forward."""
        out = self.clip.text_model(**self._text_inputs(captions))
        embeds = self.clip.text_projection(out.pooler_output)
        return TextFeatures(out.last_hidden_state, unit(embeds))

    def token_ids(self, captions: Sequence[str]) -> Tensor:
        """Token ids (n, L), int64, padded to the full length as Stable Diffusion does."""
        return token_ids(self.tokenizer, captions).to(self.device)

    def _text_inputs(self, captions: Sequence[str]) -> dict[str, Tensor]:
        """What the text tower reads. CLIP's end token sees nothing behind it, so it has no mask."""
        if not is_siglip(self.clip):
            return {"input_ids": self.token_ids(captions)}
        tokens = tokenized(self.tokenizer, captions)
        return {name: x.to(self.device) for name, x in tokens.items()}

    # ------------------------------------------------------------ images

    def encode_images(self, pixels: Tensor) -> Tensor:
        return self.image_features(pixels)[1]

    def image_features(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """The vision tower's pooled output (B, d) and unit embeddings (B, D) of clip pixels."""
        x = (pixels.to(self.device) / 255 - self.clip_mean) / self.clip_std
        pooled = self.clip.vision_model(pixel_values=x).pooler_output
        return pooled, unit(self.clip.visual_projection(pooled))

    def clip_pixels(self, images: Sequence[Image.Image]) -> Tensor:
        return pixels(self.clip_processor, images)

    def clip_resize(self, images: Tensor) -> Tensor:
        size, crop = self.clip_processor.size, self.clip_processor.crop_size
        full = torch.promote_types(images.dtype, torch.float32)
        options: dict[str, Any] = {
            "mode": RESAMPLED[self.clip_processor.resample],
            "antialias": True,
            "align_corners": False,
        }
        fit = fit_of(self.clip_processor)
        if fit == "stretch":
            sides = (size["height"], size["width"])
            return nn.functional.interpolate(images.to(full), sides, **options).clamp(0, 255)
        scaled = size["max_height"] if fit == "pad" else size["shortest_edge"]
        of = max(images.shape[2:]) if fit == "pad" else min(images.shape[2:])
        height, width = (round(side * scaled / of) for side in images.shape[2:])
        x = nn.functional.interpolate(images.to(full), (height, width), **options)
        if fit == "pad":
            left, top = (scaled - width) // 2, (scaled - height) // 2
            edges = (left, scaled - width - left, top, scaled - height - top)
            return nn.functional.pad(x, edges).clamp(0, 255)
        top, left = (height - crop["height"]) // 2, (width - crop["width"]) // 2
        return x[:, :, top : top + crop["height"], left : left + crop["width"]].clamp(0, 255)

    def fit_images(self, fit: Fit) -> None:
        """Sees images that are not square in this way from now on, and when it is saved."""
        side = self.clip.config.vision_config.image_size
        self.clip_processor = fitted(self.clip_processor, fit, side)

    def save_preprocessing(self, folder: Path) -> None:
        self.clip_processor.save_pretrained(folder)

    def transforms(self) -> dict[str, Transform]:
        return {"clip_pixels": partial(pixels, self.clip_processor)}


def token_ids(tokenizer: Any, captions: Sequence[str]) -> Tensor:
    """Token ids (n, L), int64, padded to a tokenizer's full length."""
    return tokenized(tokenizer, captions)["input_ids"]


def tokenized(tokenizer: Any, captions: Sequence[str]) -> Any:
    """All that a tokenizer gives of captions, each (n, L), padded to its full length."""
    return tokenizer(
        list(captions),
        padding="max_length",
        max_length=tokenizer.model_max_length,
        truncation=True,
        return_tensors="pt",
    )


def unit(x: Tensor) -> Tensor:
    """Rows scaled to length 1, in fp32 at least: half precision would round cosines to 1/256."""
    return nn.functional.normalize(x.to(torch.promote_types(x.dtype, torch.float32)), dim=-1)


def read_clip(folder: str | Path) -> Any:
    """The CLIPModel or SiglipModel of a folder or hub id, fp32, whole. Raises as `read_model`."""
    with reading("The CLIP", folder):
        siglip = is_siglip_folder(folder)
    return read_siglip(folder) if siglip else read_model(CLIPModel, "The CLIP", folder)


def read_tokenizer(folder: str | Path, clip: Any) -> Any:
    """The tokenizer of a CLIP's folder. Raises the error of `broken` for another CLIP's."""
    if is_siglip(clip):
        tokenizer = siglip_tokenizer(folder, clip)
    else:
        with reading("The CLIP", folder):
            tokenizer = pretrained(CLIPTokenizer, folder)
    refuse_other_words("The CLIP", folder, tokenizer, clip.config.text_config)
    return tokenizer


def refuse_other_words(what: str, folder: str | Path, tokenizer: Any, text: Any) -> None:
    """Raises the error of `broken` for a tokenizer that is not of the text tower with this config.

    transformers makes an empty one where the files are missing.
    """
    if not LEAST_TOKENS <= len(tokenizer) <= text.vocab_size:
        reason = f"has a tokenizer of {len(tokenizer):,} tokens for {text.vocab_size:,} embeddings"
        raise broken(what, folder, reason)
    if tokenizer.model_max_length > text.max_position_embeddings:
        reason = f"lacks model_max_length {text.max_position_embeddings} in tokenizer_config.json"
        raise broken(what, folder, reason)


def image_processor(folder: str | Path, clip: Any) -> CLIPImageProcessor:
    """The folder's own preprocessing, or CLIP's at the tower's size where a bare model has none.

    Raises the error of `broken` for one that makes images of another size.
    """
    side = clip.config.vision_config.image_size
    kind: Any = SiglipImageProcessor if is_siglip(clip) else CLIPImageProcessor
    usual = siglip_square if is_siglip(clip) else square
    with reading("The CLIP", folder):
        try:
            processor = pretrained(kind, folder)
        except OSError:
            if (Path(folder) / "preprocessor_config.json").exists():
                raise
            return usual(side)
        shape = pixels(processor, [Image.new("RGB", (side, side))]).shape[2:]
    if shape != (side, side):
        made = "×".join(map(str, shape))
        raise broken("The CLIP", folder, f"is given images of {made} px for a tower of {side}")
    return processor


def square(side: int) -> CLIPImageProcessor:
    """CLIP's preprocessing at a side: the shortest edge scaled to it, the centre cropped."""
    return CLIPImageProcessor(
        size={"shortest_edge": side}, crop_size={"height": side, "width": side}
    )


def pixels(processor: CLIPImageProcessor, images: Sequence[Image.Image]) -> Tensor:
    """Images resized and cropped by a processor, not yet scaled; uint8 (B, 3, side, side)."""
    if _are_ready(processor, images):
        return _stacked(images)
    options: dict[str, Any] = {"do_rescale": False, "do_normalize": False, "return_tensors": "pt"}
    if fit_of(processor) == "pad":
        _refuse_narrow(images, processor.size["max_height"])
    return processor(images=list(images), **options)["pixel_values"].to(torch.uint8)


def _are_ready(processor: Any, images: Sequence[Image.Image]) -> bool:
    """Whether a processor would leave images as they are: squares of its side."""
    sides = {*dict(processor.size).values(), *dict(processor.crop_size or {}).values()}
    alike = all(image.mode == "RGB" and {*image.size} == sides for image in images)
    return alike and len(images) > 0 and len(sides) == 1


def _stacked(images: Sequence[Image.Image]) -> Tensor:
    """RGB images of one size, uint8 (B, 3, h, w)."""
    width, height = images[0].size
    rows = np.empty((len(images), 3, height, width), np.uint8)
    for row, image in zip(rows, images, strict=True):
        # Band by band: reordering bytes that lie three apart takes longer.
        row[:] = [np.asarray(band) for band in image.split()]
    return torch.from_numpy(rows)


def _refuse_narrow(images: Sequence[Image.Image], side: int) -> None:
    """Raises WorkError for an image of which less than a pixel would be left."""
    for image in images:
        if min(image.size) * side < max(image.size):
            width, height = image.size
            raise WorkError(
                f"An image of {width}×{height} px is too narrow to be padded to {side} px.",
                "Leave such images out: --set prepare.max_aspect=20",
            )
