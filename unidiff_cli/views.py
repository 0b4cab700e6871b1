"""Views: everything the objectives may look at in one step, each computed once, on first use.

The text tower runs once however many objectives ask; a diffusion-only recipe never runs the vision tower.
Noise, timesteps and drop masks are keyed by (seed, step, sample position, name), so a resume, a re-forward
and another number of processes draw the same.
"""

from __future__ import annotations

import hashlib
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .batches import Batch

if TYPE_CHECKING:
    from .bases.stable_diffusion import StableDiffusion as Base
    from .clip import Clip


@dataclass(frozen=True)
class Needs:
    """What a set of objectives asks of a step, known before it runs."""

    pixels: bool
    latents: bool
    null_row: bool  # one more text row, "", for dropped captions and null prompts
    frozen: bool = False  # a copy of the base's CLIP that never trains


def draw(
    seed: int, step: int, positions: list[int], name: str, shape: tuple[int, ...], uniform: bool = False
) -> Tensor:
    """Random numbers (B, *shape), each row depending on (seed, step, position, name) only."""
    rows = []
    for position in positions:
        key = hashlib.blake2b(f"{seed}/{step}/{position}/{name}".encode(), digest_size=8).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(key, "little") >> 1)
        rows.append((torch.rand if uniform else torch.randn)(shape, generator=generator))
    return torch.stack(rows)


class _Gather(torch.autograd.Function):
    """all_gather whose gradient is summed over processes: each holds the whole loss (torch deprecates its own in 2.14)."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        ctx.rows = len(tensor)
        parts = [torch.empty_like(tensor) for _ in range(torch.distributed.get_world_size())]
        torch.distributed.all_gather(parts, tensor)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        whole = gradients[0].clone()  # another gather may share it
        torch.distributed.all_reduce(whole)
        first = torch.distributed.get_rank() * ctx.rows
        return whole[first : first + ctx.rows]


def latents_of(base: Base, batch: Batch) -> tuple[Tensor, Tensor]:
    """Mean and deviation of a batch's latents, cached or encoded now, (B, c, h, w) each."""
    if batch.latents is not None:
        mean, std = batch.latents.to(base.device, base.abar.dtype).chunk(2, dim=1)
        return mean, std
    assert batch.draw_pixels is not None
    return base.encode(batch.draw_pixels)


class Views:
    """One batch as the base sees it. `seed` and `step` key its randomness."""

    def __init__(
        self,
        base: Base,
        batch: Batch,
        needs: Needs,
        seed: int,
        step: int,
        caption_drop: float = 0.0,
        across: bool = False,
        frozen: Clip | None = None,
    ) -> None:
        self.base, self.batch, self.needs, self.frozen = base, batch, needs, frozen
        self.seed, self.step, self.caption_drop, self.across = seed, step, caption_drop, across
        self._features: dict[int, Tensor] = {}

    def draw(self, name: str, shape: tuple[int, ...] = (), uniform: bool = False) -> Tensor:
        """Keyed random numbers (B, *shape) on the base's device."""
        return draw(self.seed, self.step, self.batch.positions, name, shape, uniform).to(self.device)

    def gather(self, tensor: Tensor) -> Tensor:
        """The rows of all processes in rank order, with gradient to each; the tensor itself on one process.

        Every process then holds the whole in-batch loss; DDP's mean of the gradients is its gradient.
        """
        if (
            not self.across
            or not torch.distributed.is_initialized()
            or torch.distributed.get_world_size() == 1
        ):
            return tensor
        return _Gather.apply(tensor.contiguous())

    def full_precision(self) -> AbstractContextManager[None]:
        """Where cosines are compared: autocast would do the product in half precision."""
        return torch.autocast(self.device.type, enabled=False)

    @property
    def training(self) -> bool:
        """Whether this is a training step: in evaluation nothing is dropped or gathered."""
        return self.across

    def device_tensor(self, values: list[int]) -> Tensor:
        """A number a sample, int64 (B,), on the base's device."""
        return torch.tensor(values, device=self.device)

    @property
    def device(self) -> torch.device:
        return self.base.device

    @property
    def size(self) -> int:
        return len(self.batch.positions)

    # ------------------------------------------------------------ text

    @cached_property
    def _text(self) -> tuple[Tensor, Tensor]:
        captions = [*self.batch.captions, ""] if self.needs.null_row else self.batch.captions
        return self.base.text(self.base.tokenize(captions))

    @property
    def text_embeds(self) -> Tensor:
        """Unit caption embeddings, (B, D)."""
        return self._text[1][: self.size]

    @property
    def null_states(self) -> Tensor:
        """Text states of the empty caption, (1, L, d)."""
        return self._text[0][self.size :]

    @cached_property
    def text_states(self) -> Tensor:
        """Text states of the captions, some dropped to the empty caption, (B, L, d)."""
        states = self._text[0][: self.size]
        if not self.caption_drop:
            return states
        drop = self.draw("drop", uniform=True) < self.caption_drop
        return torch.where(drop.view(-1, 1, 1), self.null_states, states)

    # ------------------------------------------------------------ pictures

    @cached_property
    def image_embeds(self) -> Tensor:
        """Unit image embeddings, (B, D)."""
        assert self.batch.clip_pixels is not None
        return self.base.image(self.batch.clip_pixels.to(self.device))

    @cached_property
    def latents(self) -> Tensor:
        """Latents sampled from the posterior, cached or encoded now, (B, c, h, w)."""
        mean, std = latents_of(self.base, self.batch)
        return mean + std * self.draw("latent", tuple(mean.shape[1:]))

    # ------------------------------------------------------------ what the base knew

    @cached_property
    @torch.no_grad()
    def frozen_text_embeds(self) -> Tensor:
        """Unit caption embeddings by the base as it was before training, (B, D), without gradient."""
        assert self.frozen is not None
        return self.frozen.text(self.frozen.tokenize(self.batch.captions))[1]

    @cached_property
    @torch.no_grad()
    def frozen_image_embeds(self) -> Tensor:
        """Unit image embeddings by the base as it was before training, (B, D), without gradient."""
        assert self.frozen is not None and self.batch.clip_pixels is not None
        return self.frozen.image(self.batch.clip_pixels.to(self.device))

    # ------------------------------------------------------------ diffusion

    @cached_property
    def noise(self) -> Tensor:
        return self.draw("noise", tuple(self.latents.shape[1:]))

    @cached_property
    def timesteps(self) -> Tensor:
        """Uniform over the training schedule, int64 (B,)."""
        return (self.draw("t", uniform=True) * len(self.base.abar)).long()

    @cached_property
    def unet_prediction(self) -> Tensor:
        """The denoise pass, (B, c, h, w)."""
        z_t = self.base.noisy(self.latents, self.noise, self.timesteps)
        return self.base.denoise(z_t, self.timesteps, self.text_states)

    def unet_features(self, below: int) -> Tensor:
        """Pooled middle-block features (B, d_u) of pictures noised to t < below under the empty prompt.

        A half pass of its own: with the caption as prompt the text would leak into a "visual" feature.
        """
        if below not in self._features:
            self._features[below] = self._half_pass(below)
        return self._features[below]

    def _half_pass(self, below: int) -> Tensor:
        t = (self.draw("t-small", uniform=True) * below).long()
        z_t = self.base.noisy(self.latents, self.draw("noise-small", tuple(self.latents.shape[1:])), t)
        states = self.null_states.expand(self.size, -1, -1)
        return self.base.features(z_t, t, states)
