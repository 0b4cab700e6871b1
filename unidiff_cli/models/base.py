"""What a base model is: one CLIP and one denoiser behind one contract, whatever their family.

Shapes, for B images, n captions and a batch's b rows that the denoiser sees:

    captions           → TextFeatures: states (n, L, d), embeds (n, D) unit, pooled (n, p) or None
    clip pixels        uint8 (B, 3, s, s)    → embeddings (B, D), unit
    diffusion pixels   uint8 (b, 3, H, W)    → Posterior: mean and std (b, c, h, w), scaled
    z_t, t, text       (b, c, h, w), (b,)    → prediction (b, c, h, w)
    features           of a denoiser's block → (b, d_u, h, w), a map
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

import torch
from PIL.Image import Image
from torch import Tensor, nn

from unidiff_cli.data.batch import Transform
from unidiff_cli.data.buckets import Buckets, Size
from unidiff_cli.data.by_shape import Maps
from unidiff_cli.data.token_window import TokenWindow
from unidiff_cli.models.adapters import AddedLayers, Factors
from unidiff_cli.models.fit import Fit
from unidiff_cli.models.guidance import Guidance
from unidiff_cli.models.needs import Tower
from unidiff_cli.models.schedule import NoiseSchedule
from unidiff_cli.models.sources import Source
from unidiff_cli.models.untuned import Untuned


@dataclass(frozen=True)
class TextFeatures:
    """What a base's text towers make of n captions, from one forward."""

    # (n, L, d), after the final norm: what a denoiser attends to.
    states: Tensor
    # (n, D), of unit length: what retrieval compares.
    embeds: Tensor
    # (n, p), of families whose denoiser also reads one vector a caption.
    pooled: Tensor | None = None

    def rows(self, index: Any) -> TextFeatures:
        """Those captions, by a slice or a list of numbers."""
        return self._with(lambda x: x[index])

    def expand(self, count: int) -> TextFeatures:
        """One caption's features `count` times."""
        return self._with(lambda x: x.expand(count, *x.shape[1:]))

    def detach(self) -> TextFeatures:
        """The same features without a gradient."""
        return self._with(lambda x: x.detach())

    def replaced(self, where: Tensor, other: TextFeatures) -> TextFeatures:
        """The rows set in `where` (n,) taken from `other`, of one caption."""

        def choose(x: Tensor, replacement: Tensor) -> Tensor:
            return torch.where(where.view(-1, *[1] * (x.ndim - 1)), replacement, x)

        pooled = self.pooled
        if pooled is not None and other.pooled is not None:
            pooled = choose(pooled, other.pooled)
        states, embeds = choose(self.states, other.states), choose(self.embeds, other.embeds)
        return TextFeatures(states, embeds, pooled)

    @classmethod
    def cat(cls, parts: Sequence[TextFeatures]) -> TextFeatures:
        """Several captions' features after one another."""
        if len(parts) == 1:
            return parts[0]
        states, embeds = (torch.cat([getattr(p, n) for p in parts]) for n in ("states", "embeds"))
        pooled = [part.pooled for part in parts if part.pooled is not None]
        return cls(states, embeds, torch.cat(pooled) if pooled else None)

    def _with(self, change: Callable[[Tensor], Tensor]) -> TextFeatures:
        pooled = None if self.pooled is None else change(self.pooled)
        return TextFeatures(change(self.states), change(self.embeds), pooled)


class Posterior(NamedTuple):
    """The normal distribution of an image's latents; both (b, c, h, w), scaled."""

    mean: Tensor
    std: Tensor


class DualEncoder(nn.Module, ABC):
    """Captions and images to unit embeddings in one space: CLIP, and every base through its own."""

    @property
    @abstractmethod
    def device(self) -> torch.device:
        """Where it computes."""

    @property
    @abstractmethod
    def dimension(self) -> int:
        """D, the length of an embedding."""

    @property
    @abstractmethod
    def window(self) -> TokenWindow:
        """How much of a caption the text tower reads."""

    @abstractmethod
    def encode_text(self, captions: Sequence[str]) -> TextFeatures:
        """The features of n captions, padded or cut to the tower's length L; with gradient."""

    @abstractmethod
    def encode_images(self, pixels: Tensor) -> Tensor:
        """Unit embeddings (B, D) of clip pixels, uint8 or, with gradient, floats in [0, 255]."""

    @abstractmethod
    def clip_pixels(self, images: Sequence[Image]) -> Tensor:
        """Images as the vision tower reads them, before scaling: uint8 (B, 3, s, s)."""

    @abstractmethod
    def clip_resize(self, images: Tensor) -> Tensor:
        """`clip_pixels` of images (B, 3, H, W) in [0, 255], not rounded and with gradient."""

    @abstractmethod
    def fit_images(self, fit: Fit) -> None:
        """Lets the vision tower see images that are not square in this way, saved copies too."""

    @abstractmethod
    def save_preprocessing(self, folder: Path) -> None:
        """Writes into a folder how the vision tower sees images, for transformers."""

    @abstractmethod
    def transforms(self) -> dict[str, Transform]:
        """The image functions without the weights, by a batch's field, for loader processes."""

    @abstractmethod
    def frozen(self) -> DualEncoder:
        """A copy of the encoder with the weights it has now, which never trains."""


class BaseModel(DualEncoder):
    """A base: a dual encoder and the denoiser that reads its text tower.

    A family loads one from a source, in fp32 on the CPU. `added` holds the layers attached to it,
    and `adapter` the adapters of low rank that are merged into the weights it is exported with.
    `untuned` is the denoiser it was tuned from, where it has one for its guidance.

    Images of S × S pixels are its squares. `buckets` are the sizes in which its denoiser learns
    images, None where it learns squares, and `default_size` is what it generates by default.
    """

    source: Source
    image_size: int
    buckets: Buckets | None = None
    default_size: Size
    schedule: NoiseSchedule
    added: dict[str, AddedLayers]
    adapter: Factors | None = None
    untuned: Untuned | None = None

    @property
    def pipeline_names(self) -> Mapping[str, str]:
        """The names of its modules in a pipeline of diffusers, by those here: the starts of each.

        An adapter in diffusers' layout holds the layers below these; empty where there is none.
        """
        return {}

    @classmethod
    @abstractmethod
    def load(cls, source: Source, image_size: int) -> Self:
        """Raises EnvironmentProblem (weights not here) or UsageError (parts that do not fit)."""

    # ------------------------------------------------------------ images and latents

    @property
    @abstractmethod
    def latent_shape(self) -> tuple[int, int, int]:
        """(c, h, w), of the latents of one square image."""

    @property
    @abstractmethod
    def latent_factor(self) -> int:
        """How many pixels across and down one latent stands for."""

    def use_buckets(self, on: bool) -> None:
        """From now on its denoiser learns images nearly whole, or their middle as squares."""
        self.buckets = Buckets.of(self.image_size, self.latent_factor) if on else None
        self.default_size = Size.square(self.image_size)

    @abstractmethod
    def diffusion_pixels(self, images: Sequence[Image], size: Size | None = None) -> Tensor:
        """Images as the autoencoder reads them, before scaling: uint8 (b, 3, H, W).

        They cover the size, and their middle is kept; by default it is the square.
        """

    @abstractmethod
    def learned_pixels(self, images: Sequence[Image]) -> Maps:
        """The same as the denoiser learns them: squares, or in buckets by their shape."""

    @abstractmethod
    def encode_latents(self, pixels: Tensor) -> Posterior:
        """The latents of diffusion pixels, without gradient."""

    @abstractmethod
    def decode_latents(self, latents: Tensor) -> Tensor:
        """The images (b, 3, H, W) of latents, in [0, 255], with gradient."""

    # ------------------------------------------------------------ denoiser

    @abstractmethod
    def denoise(self, z_t: Tensor, t: Tensor, text: TextFeatures) -> Tensor:
        """The prediction (b, c, h, w); what it predicts is `schedule.target`."""

    @abstractmethod
    def denoise_with_features(
        self, z_t: Tensor, t: Tensor, text: TextFeatures
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The prediction, and the maps (b, d_u, h, w) of every layer that `features` knows."""

    @abstractmethod
    def features(self, z_t: Tensor, t: Tensor, text: TextFeatures, layer: str) -> Tensor:
        """The map (b, d_u, h, w) of a layer, from a pass that ends there."""

    @abstractmethod
    def feature_width(self, layer: str) -> int:
        """d_u, how many channels a layer's map has."""

    @abstractmethod
    def generate(
        self,
        prompts: Sequence[str],
        seeds: Sequence[int],
        *,
        steps: int,
        guidance: Guidance,
        negative: str = "",
        size: Size | None = None,
        on_step: Callable[[], None] | None = None,
    ) -> list[Image]:
        """An image a prompt, by the base's own scheduler, from the CPU generator of its seed.

        Without a size they are of `default_size`. `on_step` is called after each step; what it
        raises ends the sampling.

        With guidance that only has a scale it is the image of the pipeline that `save` writes.
        """

    def keep_untuned(self) -> None:  # noqa: B027
        """Keeps a copy of its denoiser as it is now in `untuned`, if its family can."""

    def flagged(self, images: Sequence[Image]) -> list[bool] | None:
        """The verdict of the base's safety checker on images; None where it has no checker."""
        return None

    @property
    @abstractmethod
    def sampler_name(self) -> str:
        """What `generate` samples with, for the record of an image."""

    # ------------------------------------------------------------ training

    @abstractmethod
    def parameter_groups(self) -> dict[Tower, list[nn.Parameter]]:
        """Every parameter that can train, by tower; projections and scales go with their tower."""

    @property
    @abstractmethod
    def logit_scale(self) -> nn.Parameter:
        """The logarithm of CLIP's temperature, inverted, a scalar."""

    @abstractmethod
    def prepare_for_training(self, gradient_checkpointing: bool) -> None:
        """Whatever makes training fast, or small in memory; no value changes."""

    @property
    def beyond_fp16(self) -> Sequence[nn.Module]:
        """Parts whose values may exceed what fp16 holds: they compute in fp32 in its place."""
        return ()

    @property
    def shares_text(self) -> bool:
        """Whether the denoiser reads the text tower that retrieval reads."""
        return True

    @property
    def prompt_window(self) -> TokenWindow:
        """How much of a prompt the denoiser reads."""
        return self.window

    def attach(self, layers: AddedLayers) -> None:
        """Adds layers to the base. Raises UsageError for layers that do not fit it."""
        layers.attach(self)
        self.added[layers.name] = layers

    def scales(self) -> list[nn.Parameter]:
        """The learned scales, of its own and of added layers, that training keeps below ln 100."""
        return [self.logit_scale, *(s for layers in self.added.values() for s in layers.scales())]

    @property
    def dtype(self) -> torch.dtype:
        """What it computes in, outside autocast."""
        return self.logit_scale.dtype

    # ------------------------------------------------------------ weights

    @property
    @abstractmethod
    def saved_bytes(self) -> int:
        """About how many bytes `save` writes, known before."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Writes a folder that loads without unidiff, fp32 safetensors, added layers in it."""

    @property
    @abstractmethod
    def weights_hash(self) -> str:
        """Sixteen hex digits over every weight that decides its embeddings and its images."""

    @property
    @abstractmethod
    def vision_hash(self) -> str:
        """Sixteen hex digits over the weights that decide image embeddings."""

    @property
    @abstractmethod
    def text_hash(self) -> str:
        """Sixteen hex digits over the weights and words that decide captions' features."""

    @property
    @abstractmethod
    def clip_preprocessing(self) -> list[Any]:
        """All that decides an image's clip pixels, as JSON, for the key of a cache."""

    @property
    @abstractmethod
    def latent_preprocessing(self) -> list[Any]:
        """All that decides an image's latents, as JSON, for the key of a cache."""

    @property
    def preprocessing(self) -> list[Any]:
        """Both of them."""
        return [*self.clip_preprocessing, *self.latent_preprocessing]
