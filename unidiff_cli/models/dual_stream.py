"""DiffDis's dual stream: a text embedding denoised from an image, through the UNet's lower half.

DiffDis, arXiv 2308.09306, as a public re-implementation transcribes it. Here are the new layers
only; the UNet is lent to every call, so it is trained, saved and shared as it always was. Ours: the
stream is residual (h + FC_out(q)), and the head's blocks also read the middle block's image tokens,
without which a lone query would attend to itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Self, cast

import torch
from diffusers import ConfigMixin, ModelMixin, UNet2DConditionModel
from diffusers.configuration_utils import register_to_config
from diffusers.models.attention import BasicTransformerBlock, FeedForward
from diffusers.models.embeddings import TimestepEmbedding, Timesteps
from torch import Tensor, nn
from torch.nn.functional import normalize
from torch.utils.checkpoint import checkpoint

from unidiff_cli.errors import UsageError
from unidiff_cli.models.adapters import AddedLayers
from unidiff_cli.models.base import BaseModel, TextFeatures
from unidiff_cli.models.clip import unit
from unidiff_cli.models.reading import read_model
from unidiff_cli.models.schedule import NoiseSchedule
from unidiff_cli.models.sources import DUAL_STREAM
from unidiff_cli.models.unet import UnetText, embedding

# Dimensions of an attention head.
HEAD = 64
# Sinusoids of the timestep.
FREQUENCIES = 256


class QueryStream(nn.Module):
    """The query's own layers beside one transformer block of the UNet."""

    def __init__(self, dimension: int, width: int) -> None:
        super().__init__()
        self.fc_in = nn.Linear(dimension, width)
        self.norm = nn.LayerNorm(width)
        self.ff = FeedForward(width)
        self.fc_out = nn.Linear(width, dimension)


class DualStream(ModelMixin, ConfigMixin, AddedLayers):  # type: ignore[metaclass]
    """ê₀ = Φ(e_t, t, z): the new layers, a query stream for each transformer block of a UNet."""

    name = DUAL_STREAM

    @register_to_config
    def __init__(
        self,
        dimension: int,
        widths: tuple[int, ...],
        middle: int,
        width: int,
        depth: int,
        gamma: float = 1.0,
        steps: int = 2,
        guidance: float = 1.0,
        noises: int = 1,
    ) -> None:
        """Sizes, and how an image's embedding is sampled, which is kept with the weights.

        `dimension` is D; `widths` those of the UNet's transformer blocks on the down path and in
        the middle; `middle` the channels read by a head of `depth` blocks of `width`. γ is of the
        noise e_t = γ√ᾱ e₀ + √(1−ᾱ) ε; embeddings sampled with other DDIM `steps`, another
        `guidance` or other `noises` are not comparable.
        """
        super().__init__()
        self.frequencies = Timesteps(FREQUENCIES, flip_sin_to_cos=True, downscale_freq_shift=0)
        self.time = TimestepEmbedding(FREQUENCIES, dimension)
        self.streams = nn.ModuleList(QueryStream(dimension, w) for w in widths)
        self.from_query, self.from_image = nn.Linear(dimension, width), nn.Linear(middle, width)
        heads = max(1, width // HEAD)
        self.blocks = nn.ModuleList(
            BasicTransformerBlock(
                width, heads, width // heads, activation_fn="gelu", attention_bias=True
            )
            for _ in range(depth)
        )
        self.predictor = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, dimension))
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    # ------------------------------------------------------------ beside a base

    @classmethod
    def beside(cls, unet: Any, clip_config: Any) -> DualStream:
        """A fresh one, as wide as CLIP's text tower and half as deep: 6 blocks for SD 1.x."""
        text = clip_config.text_config
        return cls(
            dimension=clip_config.projection_dim,
            widths=tuple(block.norm1.normalized_shape[0] for block in transformer_blocks(unet)),
            middle=unet.config.block_out_channels[-1],
            width=text.hidden_size,
            depth=max(1, text.num_hidden_layers // 2),
        )

    @classmethod
    def of(cls, base: BaseModel) -> DualStream | None:
        """The one a base has."""
        return cast("DualStream | None", base.added.get(cls.name))

    @classmethod
    def for_base(cls, base: Any, **sampling: Any) -> DualStream:
        """The one a base has, or a fresh one for it, sampled as `gamma`, `steps`, … say.

        Raises UsageError for a base without a UNet2DConditionModel.
        """
        stream = cls.of(base) or cls.beside(_unet_of(base), base.clip.config)
        stream.register_to_config(**sampling)
        return stream

    def attach(self, base: Any) -> None:
        _unet_of(base)
        base.add_module(self.name, self.to(base.device))

    def scales(self) -> list[nn.Parameter]:
        return [self.logit_scale]

    def save(self, folder: Path) -> None:
        self.save_pretrained(folder / self.name, safe_serialization=True)

    @classmethod
    def load(cls, folder: Path) -> Self | None:
        """Raises as `read_model` does."""
        if not (folder / cls.name).is_dir():
            return None
        return read_model(cls, "DiffDis's", folder / cls.name)

    # ------------------------------------------------------------ predicting

    @property
    def settings(self) -> Any:
        """What the constructor was given; diffusers keeps it in config.json."""
        return self.config

    def noisy(self, e0: Tensor, noise: Tensor, t: Tensor, schedule: NoiseSchedule) -> Tensor:
        """e_t = γ√ᾱ_t e₀ + √(1−ᾱ_t) ε, (B, D); t (B,)."""
        signal, sigma = schedule.signal(t).view(-1, 1), schedule.sigma(t).view(-1, 1)
        return self.settings.gamma * signal * e0 + sigma * noise

    def predict(
        self, base: BaseModel, e_t: Tensor, t: Tensor, z: Tensor, null: TextFeatures
    ) -> Tensor:
        """Unit ê₀ (B, D) for noisy embeddings e_t at t (B,) and clean latents z (B, c, h, w).

        The caption is the empty one, of one row.
        """
        z = z.contiguous(memory_format=torch.channels_last)
        return unit(self.forward(_unet_of(base), e_t, t, z, _text_of(base, null, z)))

    @torch.no_grad()
    def sample(
        self,
        base: BaseModel,
        z: Tensor,
        steps: int | None = None,
        guidance: float | None = None,
        noises: int | None = None,
    ) -> Tensor:
        """Unit text embeddings (B, D) of images with clean latents z, by DDIM from pure noise.

        The mean of those from the first `noises` fixed noises, scaled to length 1. All images
        start from the same ones, so that an embedding depends on nothing but its image. The
        layers' own `steps`, `guidance` and `noises` where none are given.
        """
        steps = self.settings.steps if steps is None else steps
        guidance = self.settings.guidance if guidance is None else guidance
        noises = self.settings.noises if noises is None else noises
        z = z.contiguous(memory_format=torch.channels_last)
        text = _text_of(base, base.encode_text([""]), z)
        starts = (fixed_noise(n, self.settings.dimension).to(z) for n in range(noises))
        embeds = [self._denoised(base, start, z, text, steps, guidance) for start in starts]
        return normalize(torch.stack(embeds).mean(0), dim=-1)

    def _denoised(
        self, base: BaseModel, start: Tensor, z: Tensor, text: UnetText, steps: int, guidance: float
    ) -> Tensor:
        """Unit embeddings (B, D), float32, by DDIM from one noise (D,).

        ê₀ is scaled to length 1 at each step, as e₀ was; guidance w > 1 takes ê₀ to
        ê₀∅ + w(ê₀ − ê₀∅), the image dropped in ê₀∅.
        """
        schedule, unet, e = base.schedule, _unet_of(base), start.expand(len(z), -1)
        times = torch.linspace(len(schedule) - 1, 0, steps + 1).round().long().tolist()
        for t, following in zip(times, times[1:], strict=False):
            now, then = (torch.full((len(z),), k, device=z.device) for k in (t, following))
            e0 = normalize(self.forward(unet, e, now, z, text), dim=-1)
            if guidance != 1:
                dropped = normalize(self.forward(unet, e, now, torch.zeros_like(z), text), dim=-1)
                e0 = normalize(dropped + guidance * (e0 - dropped), dim=-1)
            eps = (e - self.settings.gamma * schedule.signal(t) * e0) / schedule.sigma(t)
            e = self.noisy(e0, eps, then, schedule)
        return e0.float()

    def forward(self, unet: Any, e_t: Tensor, t: Tensor, z: Tensor, text: UnetText) -> Tensor:
        """ê₀ (B, D), not scaled to any length.

        e_t (B, D) at t (B,), clean latents z (B, c, h, w), text of B captions. The UNet runs as far
        as its middle block, at timestep 0, with the query among the tokens of each attention.
        """
        run: Callable[..., Any] = lambda part, *args: part(*args)  # noqa: E731
        if unet.is_gradient_checkpointing and torch.is_grad_enabled():
            run = partial(checkpoint, use_reentrant=False)
        emb = embedding(unet, z, torch.zeros_like(t), text)
        # (B, D)
        query = e_t + self.time(self.frequencies(t).to(e_t.dtype))
        h, streams = torch.zeros_like(query), iter(cast("list[QueryStream]", self.streams))

        def attention_block(attention: Any, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
            beside = [next(streams) for _ in attention.transformer_blocks]
            return run(partial(attend, attention, beside), x, h, query, text.states)

        x = unet.conv_in(z)
        for block in unet.down_blocks:
            attentions = getattr(block, "attentions", None) or [None] * len(block.resnets)
            for resnet, attention in zip(block.resnets, attentions, strict=True):
                x = run(resnet, x, emb)
                if attention is not None:
                    x, h = attention_block(attention, x, h)
            for down in block.downsamplers or ():
                x = down(x)
        x = run(unet.mid_block.resnets[0], x, emb)
        for attention, resnet in zip(
            unet.mid_block.attentions, unet.mid_block.resnets[1:], strict=True
        ):
            x, h = attention_block(attention, x, h)
            x = run(resnet, x, emb)
        return self._head(h, x)

    def _head(self, h: Tensor, x: Tensor) -> Tensor:
        # (B, hw, w)
        image = self.from_image(x.flatten(2).transpose(1, 2))
        tokens = torch.cat([self.from_query(h).unsqueeze(1), image], dim=1)
        for block in self.blocks:
            tokens = block(tokens)
        return self.predictor(tokens[:, 0])


def fixed_noise(number: int, dimension: int) -> Tensor:
    """The n-th of the noises (D,) that embeddings start from: the same for every image."""
    return torch.randn(dimension, generator=torch.Generator().manual_seed(number))


def attend(
    attention: Any, streams: list[QueryStream], x: Tensor, h: Tensor, query: Tensor, states: Tensor
) -> tuple[Tensor, Tensor]:
    """One Transformer2DModel over the image map x (B, C, h, w) and the query's state h (B, D)."""
    batch, _, rows, columns = x.shape
    # (B, hw, C)
    tokens, inner = attention._operate_on_continuous_inputs(x)
    for block, stream in zip(attention.transformer_blocks, streams, strict=True):
        # (B, 1, C)
        q = stream.fc_in(h + query).unsqueeze(1)
        both = torch.cat([tokens, q], dim=1)
        both = both + block.attn1(block.norm1(both))
        tokens, q = both[:, :-1], both[:, -1:]
        tokens = tokens + block.attn2(block.norm2(tokens), encoder_hidden_states=states)
        tokens = tokens + block.ff(block.norm3(tokens))
        q = q + stream.ff(stream.norm(q))
        h = h + stream.fc_out(q.squeeze(1))
    sizes = {"batch_size": batch, "height": rows, "width": columns, "inner_dim": inner}
    return attention._get_output_for_continuous_inputs(tokens, residual=x, **sizes), h


def transformer_blocks(unet: Any) -> list[Any]:
    """The transformer blocks of a UNet's down path and middle, in the order they run."""
    parts = [*unet.down_blocks, unet.mid_block]
    return [
        b for part in parts for a in getattr(part, "attentions", ()) for b in a.transformer_blocks
    ]


def _unet_of(base: Any) -> Any:
    """The denoiser that a base lends. Raises UsageError where it is no UNet2DConditionModel."""
    unet = getattr(base, "unet", None)
    if not isinstance(unet, UNet2DConditionModel):
        raise UsageError(
            "DiffDis's layers need a base whose denoiser is a UNet2DConditionModel.",
            "Take another base, or train without DiffDis.",
        )
    return unet


def _text_of(base: Any, features: TextFeatures, z: Tensor) -> UnetText:
    """What a base's UNet reads of one caption, for each of the latents z (B, c, h, w)."""
    return base.unet_text(features.expand(len(z)), base.size_of(z))
