"""DiffDis's dual-stream network: a text embedding denoised from an image, through the UNet's own down path and middle.

DiffDis, arXiv 2308.09306, as a public re-implementation transcribes it. Here are the new layers only; the UNet is lent to
every call, so it is trained, saved and shared as it always was. Ours: the stream is residual (h + FC_out(q)), and the
head's blocks also read the middle block's image tokens, without which a lone query would attend to itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.models.attention import BasicTransformerBlock, FeedForward
from diffusers.models.embeddings import TimestepEmbedding, Timesteps
from torch import Tensor, nn
from torch.nn.functional import normalize
from torch.utils.checkpoint import checkpoint

HEAD = 64  # dimensions of an attention head
FREQUENCIES = 256  # of the timestep's sinusoids


class QueryStream(nn.Module):
    """What the query has of its own beside one transformer block of the UNet."""

    def __init__(self, dimension: int, width: int) -> None:
        super().__init__()
        self.fc_in = nn.Linear(dimension, width)
        self.norm = nn.LayerNorm(width)
        self.ff = FeedForward(width)
        self.fc_out = nn.Linear(width, dimension)


class DualStream(ModelMixin, ConfigMixin):
    """ê₀ = Φ(e_t, t_e, z): the new layers beside any UNet2DConditionModel with one query stream a transformer block."""

    @register_to_config
    def __init__(
        self, dimension: int, widths: tuple[int, ...], middle: int, width: int, depth: int, gamma: float = 1.0,
        steps: int = 2, guidance: float = 1.0,
    ) -> None:  # fmt: skip
        """`dimension` D of an embedding; `widths` of the UNet's transformer blocks on the down path and in the middle;
        `middle` channels read by a head of `depth` blocks of `width`; γ of the noise e_t = γ√ᾱ e₀ + √(1−ᾱ) ε; DDIM `steps`
        and `guidance` of an image's vector, kept with the weights because vectors of other ones are not comparable."""
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

    @classmethod
    def beside(cls, unet: Any, clip: Any) -> DualStream:
        """A fresh one for a base's UNet and CLIPModel: as wide as its text tower and half as deep, 6 for SD 1.x."""
        text = clip.config.text_config
        return cls(
            dimension=clip.config.projection_dim,
            widths=tuple(block.norm1.normalized_shape[0] for block in transformer_blocks(unet)),
            middle=unet.config.block_out_channels[-1],
            width=text.hidden_size,
            depth=max(1, text.num_hidden_layers // 2),
        )

    @property
    def settings(self) -> Any:
        """What the constructor was given; diffusers keeps it in config.json."""
        return self.config

    def noisy(self, e0: Tensor, noise: Tensor, abar: Tensor) -> Tensor:
        """e_t = γ√ᾱ_t e₀ + √(1−ᾱ_t) ε, (B, D); abar (B,)."""
        abar = abar.view(-1, 1)
        return self.settings.gamma * abar.sqrt() * e0 + (1 - abar).sqrt() * noise

    def forward(
        self, unet: Any, e_t: Tensor, t_e: Tensor, z: Tensor, states: Tensor,
        t_z: Tensor | None = None, mask_query: bool = False,
    ) -> tuple[Tensor, Tensor | None]:  # fmt: skip
        """ê₀ (B, D), not scaled to any length, and with `mask_query` the UNet's prediction (B, c, h, w).

        e_t (B, D) at t_e (B,), clean latents z (B, c, h, w) at t_z (0), text states (B, L, d). Masked, the query sees
        the image and the image not the query, so the prediction is the plain UNet's; else the up path is not run.
        """
        run: Callable[..., Any] = lambda part, *args: part(*args)  # noqa: E731
        if unet.is_gradient_checkpointing and torch.is_grad_enabled():
            run = partial(checkpoint, use_reentrant=False)
        t_z = torch.zeros_like(t_e) if t_z is None else t_z
        emb = unet.time_embedding(unet.time_proj(t_z).to(z.dtype))
        asked = e_t + self.time(self.frequencies(t_e).to(e_t.dtype))  # (B, D)
        h, streams = torch.zeros_like(asked), iter(cast("list[QueryStream]", self.streams))

        def attend(attention: Any, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
            own = [next(streams) for _ in attention.transformer_blocks]
            return run(partial(_attend, attention, own, mask_query), x, h, asked, states)

        x = unet.conv_in(z)
        skips = [x]
        for block in unet.down_blocks:
            attentions = getattr(block, "attentions", None) or [None] * len(block.resnets)
            for resnet, attention in zip(block.resnets, attentions, strict=True):
                x = run(resnet, x, emb)
                if attention is not None:
                    x, h = attend(attention, x, h)
                skips.append(x)
            for down in block.downsamplers or ():
                x = down(x)
                skips.append(x)
        x = run(unet.mid_block.resnets[0], x, emb)
        for attention, resnet in zip(
            unet.mid_block.attentions, unet.mid_block.resnets[1:], strict=True
        ):
            x, h = attend(attention, x, h)
            x = run(resnet, x, emb)
        return self._head(h, x), _up(unet, x, skips, emb, states) if mask_query else None

    def _head(self, h: Tensor, x: Tensor) -> Tensor:
        image = self.from_image(x.flatten(2).transpose(1, 2))  # (B, hw, w)
        tokens = torch.cat([self.from_query(h).unsqueeze(1), image], dim=1)
        for block in self.blocks:
            tokens = block(tokens)
        return self.predictor(tokens[:, 0])

    @torch.no_grad()
    def sample(
        self,
        unet: Any,
        z: Tensor,
        states: Tensor,
        abar: Tensor,
        steps: int | None = None,
        guidance: float | None = None,
    ) -> Tensor:
        """Unit text embeddings (B, D) of images with clean latents z, by DDIM from pure noise; abar (T,), states (1, L, d).

        Every image starts from the same fixed noise, so that its vector depends on nothing but itself. ê₀ is scaled to
        length 1 at each step, as e₀ was; guidance w > 1 takes ê₀ to ê₀∅ + w(ê₀ − ê₀∅), the image dropped in ê₀∅.
        """
        steps = self.settings.steps if steps is None else steps
        guidance = self.settings.guidance if guidance is None else guidance
        generator = torch.Generator().manual_seed(0)
        e = torch.randn(self.settings.dimension, generator=generator).to(z).expand(len(z), -1)
        times = torch.linspace(len(abar) - 1, 0, steps + 1).round().long().tolist()
        states = states.expand(len(z), -1, -1)
        for t, after in zip(times, times[1:], strict=False):
            now = torch.full((len(z),), t, device=z.device)
            e0 = normalize(self.forward(unet, e, now, z, states)[0], dim=-1)
            if guidance != 1:
                dropped = normalize(
                    self.forward(unet, e, now, torch.zeros_like(z), states)[0], dim=-1
                )
                e0 = normalize(dropped + guidance * (e0 - dropped), dim=-1)
            eps = (e - self.settings.gamma * abar[t].sqrt() * e0) / (1 - abar[t]).sqrt()
            e = self.noisy(e0, eps, abar[after].expand(len(z)))
        return e0.float()


def transformer_blocks(unet: Any) -> list[Any]:
    """The transformer blocks of a UNet's down path and middle, in the order they run."""
    parts = [*unet.down_blocks, unet.mid_block]
    return [
        b for part in parts for a in getattr(part, "attentions", ()) for b in a.transformer_blocks
    ]


def _attend(
    attention: Any, streams: list[QueryStream], mask_query: bool, x: Tensor, h: Tensor, asked: Tensor, states: Tensor
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """One Transformer2DModel over the image map x (B, C, h, w) and the query's state h (B, D)."""
    batch, _, rows, columns = x.shape
    tokens, inner = attention._operate_on_continuous_inputs(x)  # (B, hw, C)
    for block, own in zip(attention.transformer_blocks, streams, strict=True):
        q = own.fc_in(h + asked).unsqueeze(1)  # (B, 1, C)
        both, mask = torch.cat([tokens, q], dim=1), None
        if mask_query:
            mask = both.new_zeros(batch, both.shape[1], both.shape[1])
            mask[:, :-1, -1] = -torch.inf
        both = both + block.attn1(block.norm1(both), attention_mask=mask)
        tokens, q = both[:, :-1], both[:, -1:]
        tokens = tokens + block.attn2(block.norm2(tokens), encoder_hidden_states=states)
        tokens = tokens + block.ff(block.norm3(tokens))
        q = q + own.ff(own.norm(q))
        h = h + own.fc_out(q.squeeze(1))
    sizes = {"batch_size": batch, "height": rows, "width": columns, "inner_dim": inner}
    return attention._get_output_for_continuous_inputs(tokens, residual=x, **sizes), h


def _up(unet: Any, x: Tensor, skips: list[Tensor], emb: Tensor, states: Tensor) -> Tensor:
    """The UNet's own up path, (B, c, h, w)."""
    for block in unet.up_blocks:
        count = len(block.resnets)
        own, skips = tuple(skips[-count:]), skips[:-count]
        text = (
            {"encoder_hidden_states": states}
            if getattr(block, "has_cross_attention", False)
            else {}
        )
        size = tuple(skips[-1].shape[2:]) if skips else None
        x = block(
            hidden_states=x, temb=emb, res_hidden_states_tuple=own, upsample_size=size, **text
        )
    return cast(Tensor, unet.conv_out(unet.conv_act(unet.conv_norm_out(x))))
