"""A UNet2DConditionModel: what it reads of captions, a whole pass, and feature maps by layer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

LAYERS = ("mid", "up1")


@dataclass(frozen=True)
class UnetText:
    """What a UNet reads of B captions, as its forward takes it."""

    # (B, L, d), what its attentions attend to.
    states: Tensor
    # Of SDXL: text_embeds (B, p) and time_ids (B, 6), which join the timestep's embedding.
    added: dict[str, Tensor] | None = None

    @property
    def sizes(self) -> Tensor | None:
        """What it reads of the images' sizes, (B, 6); None where it reads none."""
        return None if self.added is None else self.added["time_ids"]

    def of_sizes(self, sizes: Tensor | None) -> UnetText:
        """The same, of images of other sizes."""
        if self.added is None or sizes is None:
            return self
        return replace(self, added={**self.added, "time_ids": sizes})

    def expand(self, count: int, device: torch.device) -> UnetText:
        """What is of one caption, `count` times, on a device."""

        def expanded(x: Tensor) -> Tensor:
            return x.to(device).expand(count, *x.shape[1:])

        added = self.added and {name: expanded(x) for name, x in self.added.items()}
        return UnetText(expanded(self.states), added)


def whole(unet: Any, z_t: Tensor, t: Tensor, text: UnetText) -> Tensor:
    """The prediction (B, c, h, w) for z_t (B, c, h, w) at t (B,) or one t for all."""
    options = {"encoder_hidden_states": text.states, "added_cond_kwargs": text.added}
    return unet(z_t, t, **options, return_dict=False)[0]


def embedding(unet: Any, z_t: Tensor, t: Tensor, text: UnetText) -> Tensor:
    """What every block of a UNet reads of the timesteps t (B,), and of what joins them, (B, e)."""
    emb = unet.time_embedding(unet.time_proj(t).to(z_t.dtype))
    added = unet.get_aug_embed(
        emb=emb, encoder_hidden_states=text.states, added_cond_kwargs=text.added
    )
    return emb if added is None else emb + added


def half_pass(unet: Any, z_t: Tensor, t: Tensor, text: UnetText, layer: str) -> Tensor:
    """The map (B, d_u, h, w) of `mid` or `up1`, from a pass that ends at that block."""
    emb, states = embedding(unet, z_t, t, text), text.states
    x = unet.conv_in(z_t)
    skips = [x]
    for block in unet.down_blocks:
        x, more = block(hidden_states=x, temb=emb, **_text(block, states))
        skips += more
    x = unet.mid_block(x, emb, encoder_hidden_states=states)
    for block in unet.up_blocks[: 2 if layer == "up1" else 0]:
        count = len(block.resnets)
        skips, joined = skips[:-count], tuple(skips[-count:])
        # Of what the next block joins.
        size = skips[-1].shape[2:] if skips else None
        x = block(
            hidden_states=x,
            temb=emb,
            res_hidden_states_tuple=joined,
            upsample_size=size,
            **_text(block, states),
        )
    return x


@contextmanager
def whole_pass(unet: Any) -> Iterator[dict[str, Tensor]]:
    """Within it a pass leaves its maps (B, d_u, h, w) here, by layer, as `half_pass` gives them."""
    features: dict[str, Tensor] = {}

    def keep(layer: str, module: Any, inputs: Any, out: Tensor) -> None:
        features[layer] = out

    blocks = zip(LAYERS, (unet.mid_block, unet.up_blocks[1]), strict=True)
    hooks = [block.register_forward_hook(partial(keep, layer)) for layer, block in blocks]
    try:
        yield features
    finally:
        for hook in hooks:
            hook.remove()


def feature_width(unet: Any, layer: str) -> int:
    """d_u, the channels of a layer."""
    return unet.config.block_out_channels[-1 if layer == "mid" else -2]


def _text(block: Any, states: Tensor) -> dict[str, Tensor]:
    """The text of a block that attends to it."""
    return {"encoder_hidden_states": states} if getattr(block, "has_cross_attention", False) else {}
