"""Views: everything the objectives may look at in one step, each computed once, on first use.

The text tower runs once however many objectives ask; a diffusion-only recipe never runs the vision tower.
Noise, timesteps and drop masks are keyed by (seed, step, sample position, name), so a resume, a re-forward
and another number of processes draw the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from unidiff_cli.data.batch import Batch

if TYPE_CHECKING:
    from unidiff_cli.models.clip import Clip
    from unidiff_cli.models.families.stable_diffusion import StableDiffusion as Base


from unidiff_cli.models.distributed import _Gather
from unidiff_cli.models.keyed_random import keyed_random


@dataclass(frozen=True)
class Needs:
    """What a set of objectives asks of a step, known before it runs."""

    pixels: bool
    latents: bool
    null_row: bool  # one more text row, "", for dropped captions and null prompts
    frozen_images: bool = False  # what the base's CLIP, as it was, makes of the images
    frozen_texts: bool = False  # and of the captions
    states: bool = True  # the text tower's token states, of the rows the UNet sees


def latents_of(base: Base, batch: Batch) -> tuple[Tensor, Tensor]:
    """Mean and deviation of a batch's latents, cached or encoded now, (B, c, h, w) each."""
    if batch.latents is not None:
        mean, std = batch.latents.to(base.device, base.abar.dtype).chunk(2, dim=1)
        return mean, std
    assert batch.diffusion_pixels is not None
    return base.encode(batch.diffusion_pixels)


class ForwardPass:
    """One batch as the base sees it. `seed` and `step` key its randomness.

    B rows are embedded; the b rows of `batch.denoise_rows` are what the UNet sees (all B where it is None): latents, text states
    and draws are theirs, and `sub_batch` picks them from what has B rows.

    With `chunk` the towers run that many rows at a time and keep nothing but their outputs; backward runs them again, a
    chunk at a time, when it reaches them. That is GradCache (arXiv 2101.06983): the gradient of the whole batch in the
    memory of a chunk. Dropout, were there any, is replayed.
    """

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
        chunk: int = 0,
    ) -> None:
        self.base, self.batch, self.needs, self.frozen, self.chunk = (
            base,
            batch,
            needs,
            frozen,
            chunk,
        )
        self.seed, self.step, self.caption_drop, self.across = seed, step, caption_drop, across
        self._features: dict[tuple[int, str], Tensor] = {}
        self.cut: tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]] | None = None

    def draw(self, name: str, shape: tuple[int, ...] = (), uniform: bool = False) -> Tensor:
        """Keyed random numbers (b, *shape) on the base's device, for the rows the UNet sees."""
        positions = [self.batch.positions[i] for i in self.drawn]
        return keyed_random(self.seed, self.step, positions, name, shape, uniform).to(self.device)

    def sub_batch(self, tensor: Tensor) -> Tensor:
        """The rows that the UNet sees, (b, …), of what has a row a sample, (B, …)."""
        return tensor if self.batch.denoise_rows is None else tensor[self.drawn]

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

    def mean_of(self, values: Tensor, chosen: Tensor) -> Tensor:
        """The mean over all processes' chosen rows, `values` (n,) those of the n rows set in `chosen`, a scalar.

        This process holds its own rows' part, so scaled that DDP's mean of the gradients is the whole's.
        """
        everyones = self.gather(chosen.long())
        return values.sum() * (len(everyones) // len(chosen)) / everyones.sum().clamp(min=1)

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

    @property
    def drawn(self) -> Sequence[int]:
        """The rows the UNet sees, b of them."""
        return range(self.size) if self.batch.denoise_rows is None else self.batch.denoise_rows

    @property
    def ranks(self) -> list[int]:
        """The numbers of these b rows among all that UNets see in the run, whatever the number of processes."""
        known = self.batch.denoise_positions
        return [self.batch.positions[i] for i in self.drawn] if known is None else known

    def _in_chunks(self, tower: Callable[..., Any], rows: int) -> list[Any]:
        """tower(first, last) of consecutive rows: all at once, or by chunks that backward computes again."""
        if not 0 < self.chunk < rows:
            return [tower(0, rows)]
        ends = ((first, min(first + self.chunk, rows)) for first in range(0, rows, self.chunk))
        return [checkpoint(tower, *each, use_reentrant=False) for each in ends]

    # ------------------------------------------------------------ text

    @cached_property
    def _text(self) -> tuple[Tensor, Tensor]:
        """States of the rows the UNet sees, of the prior's captions and of "", (b + p + 1, L, d), and embeddings of all,
        (B + p + 1, D)."""
        captions = [*self.batch.captions, *(self.batch.prior.captions if self.batch.prior else [])]
        if self.needs.null_row:
            captions.append("")
        seen = [*self.drawn, *range(self.size, len(captions))] if self.needs.states else []

        def tower(first: int, last: int) -> tuple[Tensor, Tensor]:
            states, embeds = self.base.text(self.base.tokenize(captions[first:last]))
            own = [i - first for i in seen if first <= i < last]
            return (states if len(own) == len(states) else states[own]), embeds

        parts = self._in_chunks(tower, len(captions))
        if len(parts) == 1:
            return parts[0]
        return torch.cat([states for states, _ in parts]), torch.cat(
            [embeds for _, embeds in parts]
        )

    def cut_text(self) -> None:
        """Ends the objectives' graph at the text tower's outputs: `cut` holds (states, embeddings) and the leaves in
        their place, where each reader's gradient arrives."""
        outputs = self._text
        states, embeds = (
            output.detach().requires_grad_(output.requires_grad) for output in outputs
        )
        self._text = states, embeds
        self.cut = outputs, self._text

    @property
    def text_embeds(self) -> Tensor:
        """Unit caption embeddings, (B, D)."""
        return self._text[1][: self.size]

    @property
    def null_states(self) -> Tensor:
        """Text states of the empty caption, (1, L, d)."""
        assert self.needs.null_row
        return self._text[0][-1:]

    @cached_property
    def text_states(self) -> Tensor:
        """Text states of the captions, some dropped to the empty caption, (b, L, d)."""
        states = self._text[0][: len(self.drawn)]
        if not self.caption_drop:
            return states
        drop = self.draw("drop", uniform=True) < self.caption_drop
        return torch.where(drop.view(-1, 1, 1), self.null_states, states)

    @cached_property
    def prior(self) -> ForwardPass | None:
        """The general captions' own forward, with their rows of this step's one text forward; None where the batch has none."""
        if self.batch.prior is None:
            return None
        forward = ForwardPass(
            self.base,
            self.batch.prior,
            self.needs,
            self.seed,
            self.step,
            self.caption_drop,
            self.across,
        )
        forward._text = (self._text[0][len(self.drawn) :], self._text[1][self.size :])
        return forward

    # ------------------------------------------------------------ images

    @cached_property
    def image_embeds(self) -> Tensor:
        """Unit image embeddings, (B, D)."""
        return self._images(self.base)

    def _images(self, clip: Clip) -> Tensor:
        pixels = self.batch.clip_pixels
        assert pixels is not None
        return torch.cat(
            self._in_chunks(
                lambda first, last: clip.image(pixels[first:last].to(self.device)), self.size
            )
        )

    @cached_property
    def latents(self) -> Tensor:
        """Latents sampled from the posterior, cached or encoded now, (b, c, h, w)."""
        mean, std = latents_of(self.base, self.batch)
        return mean + std * self.draw("latent", tuple(mean.shape[1:]))

    # ------------------------------------------------------------ what the base knew

    @cached_property
    @torch.no_grad()
    def frozen_text_embeds(self) -> Tensor:
        """Unit caption embeddings by the base as it was before training, (B, D), without gradient."""
        assert self.frozen is not None
        captions, clip = self.batch.captions, self.frozen
        embed = lambda first, last: clip.text(clip.tokenize(captions[first:last]))[1]  # noqa: E731
        return torch.cat(self._in_chunks(embed, self.size))

    @cached_property
    @torch.no_grad()
    def frozen_image_embeds(self) -> Tensor:
        """Unit image embeddings by the base as it was before training, (B, D), without gradient; cached or made now."""
        if self.batch.frozen_image_embeds is not None:
            return self.batch.frozen_image_embeds.to(self.device)
        assert self.frozen is not None
        return self._images(self.frozen)

    # ------------------------------------------------------------ diffusion

    @cached_property
    def noise(self) -> Tensor:
        return self.draw("noise", tuple(self.latents.shape[1:]))

    @cached_property
    def timesteps(self) -> Tensor:
        """Uniform over the training schedule, int64 (b,)."""
        return (self.draw("t", uniform=True) * len(self.base.abar)).long()

    @cached_property
    def _denoise_pass(self) -> tuple[Tensor, dict[str, Tensor]]:
        with self.base.tapped() as features:
            prediction = self.base.denoise(self.noisy_latents, self.timesteps, self.text_states)
        return prediction, features

    @cached_property
    def noisy_latents(self) -> Tensor:
        """z_t of the denoise pass, (b, c, h, w)."""
        return self.base.noisy(self.latents, self.noise, self.timesteps)

    @property
    def prediction(self) -> Tensor:
        """The denoise pass, (b, c, h, w)."""
        return self._denoise_pass[0]

    def denoiser_features(
        self, max_timestep: int, layer: str = "mid", prompt: str | None = None
    ) -> Tensor:
        """Pooled features (b, d_u) of a block, `mid` or `up1`, of images noised to t < max_timestep under the empty prompt.

        A half pass of its own: with the caption as prompt the text would leak into a "visual" feature. With `prompt`
        "caption" they are those of the denoise pass, at its timesteps and at no cost.
        """
        if prompt == "caption":
            return self._denoise_pass[1][layer]
        if (max_timestep, layer) not in self._features:
            z_t, t = self._barely_noised(max_timestep)
            self._features[max_timestep, layer] = self.base.features(
                z_t, t, self._null_states(), layer
            )
        return self._features[max_timestep, layer]

    def denoised(self, max_timestep: int, prompt: str | None = None) -> Tensor:
        """ẑ₀ (b, c, h, w): the latents the UNet sees behind noise of t < max_timestep, under the empty prompt in a pass of its own.

        With `prompt` "caption" those of the denoise pass, at its timesteps.
        """
        if prompt == "caption":
            return self.base.clean(self.noisy_latents, self.prediction, self.timesteps)
        z_t, t = self._barely_noised(max_timestep)
        return self.base.clean(z_t, self.base.denoise(z_t, t, self._null_states()), t)

    def _barely_noised(self, max_timestep: int) -> tuple[Tensor, Tensor]:
        t = (self.draw("t-small", uniform=True) * max_timestep).long()
        noise = self.draw("noise-small", tuple(self.latents.shape[1:]))
        return self.base.noisy(self.latents, noise, t), t

    def _null_states(self) -> Tensor:
        return self.null_states.expand(len(self.drawn), -1, -1)
