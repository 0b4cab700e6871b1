"""A CLIP and a latent diffusion model that share a text tower: what every family of them is.

Retrieval reads the tower's pooled and projected end token, the denoiser its token states: one
module, one forward, two readers. A diffusers folder has neither the vision tower nor the
projections, a CLIP folder has no UNet, so a base is read from both and their text weights are
compared.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from PIL.Image import Image, fromarray
from torch import Tensor, nn

from unidiff_cli.data.batch import Transform
from unidiff_cli.data.buckets import Size
from unidiff_cli.data.by_shape import Maps
from unidiff_cli.data.token_window import TokenWindow
from unidiff_cli.models import unet as unet_passes
from unidiff_cli.models.adapters import AddedLayers
from unidiff_cli.models.base import BaseModel, Posterior, TextFeatures
from unidiff_cli.models.buckets_file import read_buckets
from unidiff_cli.models.clip import Clip, image_processor, read_tokenizer
from unidiff_cli.models.diffusion_images import DiffusionImages, covered
from unidiff_cli.models.dual_stream import DualStream
from unidiff_cli.models.guidance import Guidance
from unidiff_cli.models.needs import Tower
from unidiff_cli.models.pipeline import (
    Halves,
    Layout,
    prefix_text_keys,
    read_halves,
    tokenizer_of,
)
from unidiff_cli.models.reading import broken
from unidiff_cli.models.safety import SafetyChecker, checker_bytes, copy_checker
from unidiff_cli.models.schedule import DdpmSchedule
from unidiff_cli.models.sources import APART, APART_NOTE, Source
from unidiff_cli.models.unet import UnetText
from unidiff_cli.models.untuned import FOLDER, Untuned
from unidiff_cli.models.weights import weights_hash
from unidiff_cli.project.files import digest

# Pixels encoded or decoded at a time: one image at 512 px, where an activation is 134 MB or twice
# that, or 16 at 128 px.
PIXELS = 64**3
# The kinds of layers that may lie in a base's folder.
ADDED: tuple[type[AddedLayers], ...] = (DualStream,)


class LatentDiffusion(Clip, BaseModel):
    """A Clip, and the `unet` and `vae` of a pipeline that share its text tower.

    A family says which pipelines it reads, what their text encoders make of captions, and what
    their UNet reads of that.
    """

    layout: ClassVar[Layout]

    def __init__(self, halves: Halves, source: Source, image_size: int) -> None:
        pipeline, clip, shared, self.folder = halves
        words = tokenizer_of(pipeline, shared) if shared else read_tokenizer(source.clip, clip)
        super().__init__(clip, words, image_processor(source.clip, clip))
        self.unet: Any = pipeline.unet
        self.vae: Any = pipeline.vae.requires_grad_(False).eval()
        # For sampling and saving; it shares every module with this base.
        self.pipeline = pipeline
        # The one of the pipeline's text encoders that is CLIP's tower; none where it stands apart.
        self.shared = shared
        # The others never train; here they move with the base and count in its weights.
        others = {n: getattr(pipeline, n) for n in self.layout.text_encoders if n != shared}
        self.own_text = nn.ModuleDict(others).requires_grad_(False).eval()
        self.source, self.image_size = source, image_size
        self.default_size = Size.square(image_size)
        scheduler = pipeline.scheduler
        self.schedule = DdpmSchedule(scheduler.alphas_cumprod, scheduler.config.prediction_type)
        self.added: dict[str, AddedLayers] = {}

    @abstractmethod
    def unet_text(self, text: TextFeatures, size: Size | None = None) -> UnetText:
        """What the UNet reads of B captions and of their images' size, the square by default."""

    @property
    def shares_text(self) -> bool:
        return self.shared is not None

    @cached_property
    def prompt_window(self) -> TokenWindow:
        if self.shares_text:
            return self.window
        words = self.pipeline.tokenizer
        return TokenWindow(words.backend_tokenizer, words.model_max_length)

    # ------------------------------------------------------------ reading and writing

    @classmethod
    def load(cls, source: Source, image_size: int) -> Self:
        base = cls(read_halves(source, cls.layout), source, image_size)
        for kind in ADDED:
            if layers := kind.load(Path(source.diffusion)):
                base.attach(layers)
        base.untuned = Untuned.beside(Path(source.diffusion))
        if kept := read_buckets(Path(source.diffusion)):
            base.use_buckets(True)
            base.default_size = kept.size
        return base.eval()

    def save(self, folder: Path) -> None:
        """Writes a diffusers pipeline with `clip/` in it and every kind of added layers beside."""
        self.pipeline.save_pretrained(folder, safe_serialization=True)
        if self.folder:
            copy_checker(self.folder, folder)
        prefix_text_keys(folder / "text_encoder" / "model.safetensors")
        self.clip.save_pretrained(folder / "clip", safe_serialization=True)
        self.tokenizer.save_pretrained(folder / "clip")
        self.save_preprocessing(folder / "clip")
        if not self.shares_text:
            (folder / APART).write_text(f"{APART_NOTE}\n", encoding="utf-8")
        for layers in self.added.values():
            layers.save(folder)

    @property
    def saved_bytes(self) -> int:
        twice = self.parameter_groups()["text"] if self.shares_text else []
        # A run may hold some in half precision, and writes fp32.
        weights = sum(4 * p.numel() for p in [*self.parameters(), *twice])
        return weights + (checker_bytes(self.folder) if self.folder else 0)

    @property
    def weights_hash(self) -> str:
        added = [layers for layers in self.added.values() if isinstance(layers, nn.Module)]
        return weights_hash(self.clip, self.unet, self.vae, *self.own_text.values(), *added)

    @property
    def vision_hash(self) -> str:
        return weights_hash(self.clip.vision_model, self.clip.visual_projection)

    @property
    def text_hash(self) -> str:
        clip, pipeline = self.clip, self.pipeline
        projection = clip.text_projection
        towers = [clip.text_model, *([projection] if isinstance(projection, nn.Module) else [])]
        words = [self.tokenizer, *(tokenizer_of(pipeline, n) for n in self.layout.text_encoders)]
        weights = weights_hash(*towers, *self.own_text.values())
        return digest(
            [weights, *([w.backend_tokenizer.to_str(), w.model_max_length] for w in words)]
        )

    @property
    def clip_preprocessing(self) -> list[Any]:
        return [self.clip_processor.to_dict()]

    @property
    def latent_preprocessing(self) -> list[Any]:
        return [self.image_size, weights_hash(self.vae)]

    @property
    def pipeline_names(self) -> Mapping[str, str]:
        names = {"unet.": "unet."}
        if self.shared:
            # As all versions of transformers read them: 5 drops the second `text_model`.
            names["clip.text_model."] = f"{self.shared}.text_model."
            if hasattr(getattr(self.pipeline, self.shared), "text_projection"):
                names["clip.text_projection."] = f"{self.shared}.text_projection."
        return names

    # ------------------------------------------------------------ training

    def parameter_groups(self) -> dict[Tower, list[nn.Parameter]]:
        clip = self.clip
        return {
            "vision": [*clip.vision_model.parameters(), *clip.visual_projection.parameters()],
            "text": [
                *clip.text_model.parameters(),
                *clip.text_projection.parameters(),
                clip.logit_scale,
            ],
            "denoiser": list(self.unet.parameters()),
            "new_layers": [p for layers in self.added.values() for p in layers.parameters()],
        }

    @property
    def logit_scale(self) -> nn.Parameter:
        return self.clip.logit_scale

    @property
    def beyond_fp16(self) -> Sequence[nn.Module]:
        """The autoencoder: SDXL's overflows."""
        return (self.vae,)

    def prepare_for_training(self, gradient_checkpointing: bool) -> None:
        """The UNet's weights in the layout that convolutions are fastest with."""
        self.unet.to(memory_format=torch.channels_last)
        if gradient_checkpointing:
            self.unet.enable_gradient_checkpointing()
            self.clip.gradient_checkpointing_enable()

    # ------------------------------------------------------------ images and latents

    def diffusion_pixels(self, images: Sequence[Image], size: Size | None = None) -> Tensor:
        return covered(images, size or Size.square(self.image_size))

    def learned_pixels(self, images: Sequence[Image]) -> Maps:
        return DiffusionImages(self.image_size, self.buckets)(images)

    def transforms(self) -> dict[str, Transform]:
        learned = DiffusionImages(self.image_size, self.buckets)
        return {**super().transforms(), "diffusion_pixels": learned}

    @property
    def latent_factor(self) -> int:
        return self.pipeline.vae_scale_factor

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        return self._latent_shape(Size.square(self.image_size))

    def _latent_shape(self, size: Size) -> tuple[int, int, int]:
        factor = self.latent_factor
        return self.unet.config.in_channels, size.height // factor, size.width // factor

    def size_of(self, z: Tensor) -> Size:
        """The size of the images of latents (B, c, h, w)."""
        height, width = z.shape[2:]
        return Size(width * self.latent_factor, height * self.latent_factor)

    @torch.no_grad()
    def encode_latents(self, pixels: Tensor) -> Posterior:
        """However many are given, the encoder holds PIXELS of them at a time, and one at least."""
        count = max(1, PIXELS // pixels.shape[-2:].numel())
        factor = self.vae.config.scaling_factor
        means, deviations = [], []
        for part in pixels.split(count):
            x = part.to(self.device).float() / 127.5 - 1
            with _not_in_fp16(self.device):
                posterior = self.vae.encode(x).latent_dist
            means.append(posterior.mean * factor)
            deviations.append(posterior.std * factor)
        return Posterior(torch.cat(means), torch.cat(deviations))

    def decode_latents(self, latents: Tensor) -> Tensor:
        """However many are given, the decoder holds PIXELS of them at a time, and one at least."""
        size, scaled = self.size_of(latents), latents / self.vae.config.scaling_factor
        count = max(1, PIXELS // (size.width * size.height))
        with _not_in_fp16(self.device):
            parts = [self.vae.decode(z, return_dict=False)[0] for z in scaled.split(count)]
        return (torch.cat(parts) * 127.5 + 127.5).clamp(0, 255)

    # ------------------------------------------------------------ denoiser

    def denoise(self, z_t: Tensor, t: Tensor, text: TextFeatures) -> Tensor:
        read = self.unet_text(text, self.size_of(z_t))
        return unet_passes.whole(self.unet, _fast_layout(z_t), t, read)

    def denoise_with_features(
        self, z_t: Tensor, t: Tensor, text: TextFeatures
    ) -> tuple[Tensor, dict[str, Tensor]]:
        with unet_passes.whole_pass(self.unet) as features:
            return self.denoise(z_t, t, text), features

    def features(self, z_t: Tensor, t: Tensor, text: TextFeatures, layer: str = "mid") -> Tensor:
        """The map of the block `mid` or `up1`."""
        read = self.unet_text(text, self.size_of(z_t))
        return unet_passes.half_pass(self.unet, _fast_layout(z_t), t, read, layer)

    def feature_width(self, layer: str) -> int:
        return unet_passes.feature_width(self.unet, layer)

    @torch.no_grad()
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
        """By the base's own scheduler: the images of its diffusers pipeline, and its loop."""
        scheduler, text = self.pipeline.scheduler, self.encode_text(prompts)
        size = size or self.default_size
        both, shape = self._both(guidance, text, negative, size), self._latent_shape(size)
        generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
        options = self.pipeline.prepare_extra_step_kwargs(generators, 0.0)
        scheduler.set_timesteps(steps, device=self.device)
        noise = [torch.randn(1, *shape, generator=each) for each in generators]
        z = torch.cat(noise).to(self.device) * scheduler.init_noise_sigma
        for t in scheduler.timesteps:
            x = scheduler.scale_model_input(z, t)
            if guidance.applies(float(t) / len(self.schedule)):
                prediction = guidance.combine(*both(x, t))
            else:
                prediction = self.denoise(x, t, text)
            # In autocast some schedulers would round the latents as the prediction is.
            prediction = prediction.to(z.dtype)
            z = scheduler.step(prediction, t, z, **options, return_dict=False)[0]
            if on_step:
                on_step()
        pixels = self.decode_latents(z).round().byte().permute(0, 2, 3, 1)
        return [fromarray(image) for image in pixels.cpu().numpy()]

    def _both(
        self, guidance: Guidance, text: TextFeatures, negative: str, size: Size
    ) -> Callable[[Tensor, Tensor], Sequence[Tensor]]:
        """What predicts for latents (B, c, h, w) at one t: without the captions, and with them.

        Raises Damaged or EnvironmentProblem where the denoiser of before is needed and not here.
        """
        count = len(text.states)
        if guidance.unconditional == "own" or negative:
            all_text = TextFeatures.cat([self.encode_text([negative]).expand(count), text])
            return lambda x, t: self.denoise(x.repeat(2, 1, 1, 1), t, all_text).chunk(2)
        if self.untuned is None:
            place = Path(self.source.diffusion) / FOLDER
            raise broken("The export's", place, "is not there, and its guidance starts from it")
        sizes = self.unet_text(text, size).sizes
        without = self.untuned.prediction(count, self.device, sizes)
        return lambda x, t: (without(_fast_layout(x), t), self.denoise(x, t, text))

    def keep_untuned(self) -> None:
        with torch.no_grad():
            self.untuned = Untuned.copied(self.unet, self.unet_text(self.encode_text([""])))

    def flagged(self, images: Sequence[Image]) -> list[bool] | None:
        return self._checker.flags(images, self.device) if self._checker else None

    @cached_property
    def _checker(self) -> SafetyChecker | None:
        return SafetyChecker.beside(self.folder) if self.folder else None

    @property
    def sampler_name(self) -> str:
        return type(self.pipeline.scheduler).__name__


def _not_in_fp16(device: torch.device) -> AbstractContextManager[Any]:
    """Within it autocast to fp16 is off, and autocast to bf16 as it was."""
    if torch.is_autocast_enabled(device.type) and (
        torch.get_autocast_dtype(device.type) == torch.float16
    ):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()


def _fast_layout(x: Tensor) -> Tensor:
    """In the layout of the UNet's weights, which `prepare_for_training` sets."""
    return x.contiguous(memory_format=torch.channels_last)
