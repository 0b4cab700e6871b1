"""Stable Diffusion 1.x with its CLIP: one text tower, read by retrieval and by the denoiser.

SD 1.x conditions on CLIP's own text tower, so the tower that contrastive training moves is the one the
UNet reads: one module, one forward, two readers (the pooled projected end token; all states after the
final layer norm). An SD folder has neither the vision tower nor the projections, a CLIP folder has no
UNet, so a base is read from both and their text weights are compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from diffusers import StableDiffusionPipeline
from diffusers.utils import logging
from PIL.Image import Image
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import CLIPModel

from unidiff_cli.errors import EnvironmentProblem, UsageError
from unidiff_cli.models.clip import (
    Clip,
    Transform,
    first_line,
    image_processor,
    pixels,
    square,
    unit,
)
from unidiff_cli.models.dual_stream import DualStream
from unidiff_cli.models.sources import DUAL_STREAM, Source
from unidiff_cli.models.weights import weights_hash

TOLERANCE = 2e-3  # two copies of one text tower, one of them once stored in half precision
PIXELS = 64**3  # encoded at a time: one image at 512 px, where an activation is 134 MB, 64 at 64 px


class StableDiffusion(Clip):
    """A base: a Clip, and the `unet` and `vae` that share its text tower."""

    abar: Tensor  # (T,) the noise schedule, ᾱ

    def __init__(self, pipeline: Any, clip: CLIPModel, source: Source, image_size: int) -> None:
        super().__init__(clip, pipeline.tokenizer, image_processor(source.clip, clip))
        self.unet: Any = pipeline.unet
        self.vae: Any = pipeline.vae.requires_grad_(False).eval()
        self.scheduler = pipeline.scheduler
        self.source, self.image_size = source, image_size
        self.diffusion_processor = square(image_size)
        self.dual_stream: Any = None  # DiffDis's layers, where the base has them
        self.pipeline = pipeline  # for sampling and export; it shares every module with us
        self.register_buffer("abar", self.scheduler.alphas_cumprod.float(), persistent=False)

    # ------------------------------------------------------------ reading and writing

    @classmethod
    def load(cls, source: Source, image_size: int) -> StableDiffusion:
        """Both halves in fp32. Raises EnvironmentProblem (not here) or UsageError (text towers differ)."""
        logging.disable_progress_bar()  # five files are no long work
        try:
            pipeline = _pipeline(source.diffusion)
            clip = CLIPModel.from_pretrained(source.clip, dtype=torch.float32, use_safetensors=True)
            stream = None
            if (Path(source.diffusion) / DUAL_STREAM).is_dir():
                stream = DualStream.from_pretrained(Path(source.diffusion) / DUAL_STREAM)
        except (OSError, ValueError, KeyError, SafetensorError) as problem:
            raise EnvironmentProblem(
                f"The base {source.diffusion} + {source.clip} cannot be loaded: {first_line(problem)}",
                "Check the machine with: unidiff doctor",
            ) from problem
        finally:
            logging.enable_progress_bar()
        pipeline.set_progress_bar_config(disable=True)
        _share_text_tower(pipeline, clip, source)
        base = cls(pipeline, clip, source, image_size)
        base.dual_stream = stream
        return base.eval()

    def save(self, folder: Path) -> None:
        """Writes a diffusers pipeline with `clip/` in it, fp32 safetensors, loadable without unidiff."""
        self.pipeline.save_pretrained(folder, safe_serialization=True)
        _prefix_text_keys(folder / "text_encoder" / "model.safetensors")
        self.clip.save_pretrained(folder / "clip", safe_serialization=True)
        self.tokenizer.save_pretrained(folder / "clip")
        self.clip_processor.save_pretrained(folder / "clip")
        if self.dual_stream is not None:
            self.dual_stream.save_pretrained(folder / DUAL_STREAM, safe_serialization=True)

    @property
    def fingerprint(self) -> str:
        """A sha256 over every weight that decides what this base finds and draws, 16 hex digits."""
        new = [] if self.dual_stream is None else [self.dual_stream]
        return weights_hash(self.clip, self.unet, self.vae, *new)

    def towers(self) -> dict[str, list[nn.Parameter]]:
        """Parameters by the names a recipe uses; the projections and the scale go with their tower."""
        clip = self.clip
        return {
            "vision": [*clip.vision_model.parameters(), *clip.visual_projection.parameters()],
            "text": [
                *clip.text_model.parameters(),
                *clip.text_projection.parameters(),
                clip.logit_scale,
            ],
            "denoiser": list(self.unet.parameters()),
            "new_layers": [] if self.dual_stream is None else list(self.dual_stream.parameters()),
        }

    # ------------------------------------------------------------ DiffDis

    def attach_dual_stream(self, gamma: float, steps: int = 2, guidance: float = 1.0) -> None:
        """Gives this base fresh DiffDis layers where it has none, the γ they are trained with and how they are sampled."""
        if self.dual_stream is None:
            self.dual_stream = DualStream.beside(self.unet, self.clip).to(self.device)
        self.dual_stream.register_to_config(gamma=gamma, steps=steps, guidance=guidance)

    def predict_text(self, e_t: Tensor, t: Tensor, z: Tensor, null_states: Tensor) -> Tensor:
        """Unit ê₀ (B, D) for noisy text embeddings at t (B,) and clean latents z; the caption is the empty one (1, L, d)."""
        states = null_states.expand(len(z), -1, -1)
        return unit(self.dual_stream(self.unet, e_t, t, _fast_layout(z), states)[0])

    @torch.no_grad()
    def image_by_diffusion(
        self, latents: Tensor, steps: int | None = None, guidance: float | None = None
    ) -> Tensor:
        """Unit embeddings (B, D) of clean latents, to be scored against captions': text embeddings drawn from pure noise.

        In the DDIM steps and with the guidance that its layers were given, where none are asked for.
        """
        states = self.text(self.tokenize([""]))[0]
        return self.dual_stream.sample(
            self.unet, _fast_layout(latents), states, self.abar, steps, guidance
        )

    @torch.no_grad()
    def embed(self, images: Sequence[Image], by: Literal["clip", "diffdis"] = "clip") -> Tensor:
        if by == "clip":
            return super().embed(images)
        return self.image_by_diffusion(self.encode(self.diffusion_pixels(images))[0])

    # ------------------------------------------------------------ images

    def diffusion_pixels(self, images: Sequence[Image]) -> Tensor:
        """Shortest side scaled to `image_size` and centre-cropped; uint8 (B, 3, S, S)."""
        return pixels(self.diffusion_processor, images)

    def transforms(self) -> dict[str, Transform]:
        return {
            **super().transforms(),
            "diffusion_pixels": partial(pixels, self.diffusion_processor),
        }

    # ------------------------------------------------------------ diffusion

    @torch.no_grad()
    def encode(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and deviation of the latents of uint8 `diffusion_pixels`, scaled; (B, c, h, w) each.

        However many are given, the encoder holds PIXELS of them at a time, and one image at least.
        """
        several, factor = (
            max(1, PIXELS // pixels.shape[-2:].numel()),
            self.vae.config.scaling_factor,
        )
        means, deviations = [], []
        for some in pixels.split(several):
            posterior = self.vae.encode(some.to(self.device).float() / 127.5 - 1).latent_dist
            means.append(posterior.mean * factor)
            deviations.append(posterior.std * factor)
        return torch.cat(means), torch.cat(deviations)

    def noisy(self, latents: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """z_t = √ᾱ_t z + √(1−ᾱ_t) ε, (B, c, h, w)."""
        abar = self.abar[t].view(-1, 1, 1, 1)
        return abar.sqrt() * latents + (1 - abar).sqrt() * noise

    def target(self, latents: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """What the UNet predicts: ε, or v = √ᾱ ε − √(1−ᾱ) z, by the scheduler."""
        if self.scheduler.config.prediction_type == "epsilon":
            return noise
        abar = self.abar[t].view(-1, 1, 1, 1)
        return abar.sqrt() * noise - (1 - abar).sqrt() * latents

    def denoise(self, z_t: Tensor, t: Tensor, states: Tensor) -> Tensor:
        """The UNet's prediction, (B, c, h, w)."""
        return self.unet(_fast_layout(z_t), t, encoder_hidden_states=states, return_dict=False)[0]

    def clean(self, z_t: Tensor, prediction: Tensor, t: Tensor) -> Tensor:
        """ẑ₀ (B, c, h, w), what a prediction says the latents are: (z_t − √(1−ᾱ) ε)/√ᾱ, or √ᾱ z_t − √(1−ᾱ) v."""
        abar = self.abar[t].view(-1, 1, 1, 1)
        if self.scheduler.config.prediction_type == "epsilon":
            return (z_t - (1 - abar).sqrt() * prediction) / abar.sqrt().clamp(min=1e-2)
        return abar.sqrt() * z_t - (1 - abar).sqrt() * prediction

    def decode(self, latents: Tensor) -> Tensor:
        """The images of latents, (B, 3, S, S) in [0, 255], with gradient."""
        x = self.vae.decode(latents / self.vae.config.scaling_factor, return_dict=False)[0]
        return (x * 127.5 + 127.5).clamp(0, 255)

    def features(self, z_t: Tensor, t: Tensor, states: Tensor, layer: str = "mid") -> Tensor:
        """The mean-pooled block `mid` or `up1` (B, d_u): a UNet pass as far as that block and no further."""
        unet = self.unet
        emb = unet.time_embedding(unet.time_proj(t).to(z_t.dtype))
        x = unet.conv_in(_fast_layout(z_t))
        skips = [x]
        for block in unet.down_blocks:
            x, more = block(hidden_states=x, temb=emb, **_text(block, states))
            skips += more
        x = unet.mid_block(x, emb, encoder_hidden_states=states)
        for block in unet.up_blocks[: 2 if layer == "up1" else 0]:
            skips, own = skips[: -len(block.resnets)], tuple(skips[-len(block.resnets) :])
            size = skips[-1].shape[2:] if skips else None  # of what the next block joins
            x = block(hidden_states=x, temb=emb, res_hidden_states_tuple=own, upsample_size=size, **_text(block, states))  # fmt: skip
        return _pooled(x)

    @contextmanager
    def tapped(self) -> Iterator[dict[str, Tensor]]:
        """Within it a UNet pass leaves its pooled features (B, d_u) here, by layer, as `features` gives them."""
        found: dict[str, Tensor] = {}

        def keep(layer: str, module: Any, given: Any, out: Tensor) -> None:
            found[layer] = _pooled(out)

        hooks = [
            block.register_forward_hook(partial(keep, layer))
            for layer, block in (("mid", self.unet.mid_block), ("up1", self.unet.up_blocks[1]))
        ]
        try:
            yield found
        finally:
            for hook in hooks:
                hook.remove()

    def feature_width(self, layer: str) -> int:
        """d_u, how many features a layer has."""
        return self.unet.config.block_out_channels[-1 if layer == "mid" else -2]


def _text(block: Any, states: Tensor) -> dict[str, Tensor]:
    """The text of a block that looks at it."""
    return {"encoder_hidden_states": states} if getattr(block, "has_cross_attention", False) else {}


def _pooled(x: Tensor) -> Tensor:
    """The mean over a map (B, d, h, w), in fp32 at least."""
    return x.mean(dim=(2, 3)).to(torch.promote_types(x.dtype, torch.float32))


def _pipeline(source: str) -> Any:
    """The pipeline in fp32, from files in full precision or, where there are none, in half."""
    options: dict[str, Any] = {
        "safety_checker": None,
        "requires_safety_checker": False,
        "feature_extractor": None,
    }
    options |= {"dtype": torch.float32, "use_safetensors": True}
    try:
        return StableDiffusionPipeline.from_pretrained(source, **options)
    except (OSError, ValueError):
        try:
            return StableDiffusionPipeline.from_pretrained(source, variant="fp16", **options)
        except (OSError, ValueError):
            pass  # the first reason is the one to tell
        raise


def _fast_layout(x: Tensor) -> Tensor:
    return x.contiguous(
        memory_format=torch.channels_last
    )  # the layout of the UNet's weights (fit sets it)


def _share_text_tower(pipeline: Any, clip: CLIPModel, source: Source) -> None:
    """Makes both halves use one text tower. Raises UsageError where the two copies are not the same."""
    mine, theirs = clip.text_model.state_dict(), pipeline.text_encoder.state_dict()
    theirs = {k.removeprefix("text_model."): v for k, v in theirs.items()}
    shapes = {k: tuple(v.shape) for k, v in mine.items() if v.is_floating_point()}
    if shapes != {k: tuple(v.shape) for k, v in theirs.items() if v.is_floating_point()}:
        raise UsageError(
            f"The text tower of {source.clip} has another shape than the one {source.diffusion} was trained with.",
            "SD 1.x needs openai/clip-vit-large-patch14, or the CLIP folder that came with the base.",
        )
    gap = max(float((mine[k] - theirs[k]).abs().max()) for k in shapes)
    if gap > TOLERANCE and source.text is None:
        raise UsageError(
            f"The text weights of {source.diffusion} and {source.clip} differ by up to {gap:.3g} (tolerance {TOLERANCE}).",
            "Say which one wins: base: {diffusion: …, clip: …, text: diffusion} (or text: clip).",
        )
    if source.text != "clip":
        clip.text_model.load_state_dict(theirs, strict=False)
    pipeline.text_encoder = clip.text_model


def _prefix_text_keys(file: Path) -> None:
    """Writes the keys as transformers 4 and ComfyUI read them; transformers 5 saves them bare and reads both."""
    from safetensors.torch import load_file, save_file

    tensors = load_file(file)
    if not any(k.startswith("text_model.") for k in tensors):
        save_file(
            {f"text_model.{k}": v for k, v in tensors.items()}, file, metadata={"format": "pt"}
        )
