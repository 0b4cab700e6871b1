"""The rows of a batch that the denoiser sees in one shape: their latents, noise and predictions.

A batch of one shape has one such pass. In buckets there is one for each shape, and what has a
number a row is put together by `ForwardPass.by_shape`: a loss is the mean over all rows, so its
gradient is the one of row by row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import torch
from torch import Tensor

from unidiff_cli.data.batch import Batch
from unidiff_cli.data.by_shape import parts_of
from unidiff_cli.models.augment import mirrored
from unidiff_cli.models.base import BaseModel, Posterior, TextFeatures
from unidiff_cli.models.chunks import denoise_in_chunks, joined
from unidiff_cli.models.features import FeatureQuery
from unidiff_cli.models.keyed_random import keyed_random

# What makes the posterior of some latents.
MakePosterior = Callable[[], Posterior]


def posteriors_of(base: BaseModel, batch: Batch) -> list[tuple[Sequence[int], MakePosterior]]:
    """The latents of a batch by shape: the rows among the b, and what gives their posterior.

    They are cached, or encoded when it is called.
    """
    if batch.latents is not None:
        return [(rows, partial(_cached, base, part)) for part, rows in parts_of(batch.latents)]
    pixels = batch.diffusion_pixels
    assert pixels is not None
    seen = range(len(pixels)) if batch.denoise_rows is None else batch.denoise_rows
    return [
        (rows, partial(_encoded, base, part, [seen[row] in batch.mirrored for row in rows]))
        for part, rows in parts_of(pixels)
    ]


def _cached(base: BaseModel, latents: Tensor) -> Posterior:
    mean, std = latents.to(base.device, base.dtype).chunk(2, dim=1)
    return Posterior(mean, std)


def _encoded(base: BaseModel, pixels: Tensor, flipped: Sequence[bool]) -> Posterior:
    return base.encode_latents(mirrored(pixels, [n for n, flip in enumerate(flipped) if flip]))


@dataclass(frozen=True)
class RandomKey:
    """What keyed random numbers depend on beside their name: seed, step, and the samples."""

    seed: int
    step: int
    positions: Sequence[int]
    device: torch.device

    def of(self, name: str, shape: tuple[int, ...] = (), uniform: bool = False) -> Tensor:
        """Numbers (n, *shape) for n samples: normal, or uniform in [0, 1)."""
        numbers = keyed_random(self.seed, self.step, self.positions, name, shape, uniform)
        return numbers.to(self.device)

    def shared(self, name: str) -> Tensor:
        """One uniform number n times, keyed by the step alone."""
        positions = [0] * len(self.positions)
        numbers = keyed_random(self.seed, self.step, positions, name, (), uniform=True)
        return numbers.to(self.device)


class DenoisePass:
    """n rows of one shape. `rows` are their numbers among the b that the denoiser sees.

    The posterior is made when something first reads it. `condition` has n captions and `null` the
    empty one, None where nothing reads them. `chunk` rows pass the denoiser at a time, 0: all.

    It holds no `ForwardPass`: a circle would keep a step's activations until Python looks for one.
    """

    def __init__(
        self,
        base: BaseModel,
        rows: Sequence[int],
        random: RandomKey,
        posterior: MakePosterior,
        condition: TextFeatures | None,
        null: TextFeatures | None,
        chunk: int,
    ) -> None:
        self.base, self.rows, self.random, self.chunk = base, rows, random, chunk
        self._posterior, self._condition, self._null = posterior, condition, null

    def __len__(self) -> int:
        return len(self.rows)

    def own(self, x: Tensor) -> Tensor:
        """The n rows, of what has one for each of the b."""
        return x if len(x) == len(self) else x[list(self.rows)]

    @cached_property
    def latents(self) -> Tensor:
        """Latents sampled from the posterior, cached or encoded now, (n, c, h, w)."""
        mean, std = self._posterior()
        return mean + std * self.random.of("latent", tuple(mean.shape[1:]))

    @cached_property
    def noise(self) -> Tensor:
        """ε of the denoise pass, (n, c, h, w)."""
        return self.random.of("noise", tuple(self.latents.shape[1:]))

    @cached_property
    def timesteps(self) -> Tensor:
        """Uniform over the schedule, int64 (n,)."""
        return self.base.schedule.timesteps(self.random.of("t", uniform=True))

    @cached_property
    def noisy_latents(self) -> Tensor:
        """z_t of the denoise pass, (n, c, h, w)."""
        return self.base.schedule.add_noise(self.latents, self.noise, self.timesteps)

    @cached_property
    def _whole_pass(self) -> tuple[Tensor, dict[str, Tensor]]:
        run, text = self.base.denoise_with_features, self._condition
        assert text is not None
        parts = denoise_in_chunks(run, self.noisy_latents, self.timesteps, text, self.chunk)
        maps = {layer: joined([part[1][layer] for part in parts]) for layer in parts[0][1]}
        return joined([part[0] for part in parts]), maps

    @property
    def prediction(self) -> Tensor:
        """The denoise pass, (n, c, h, w)."""
        return self._whole_pass[0]

    def feature_map(self, query: FeatureQuery) -> Tensor:
        """The map (n, d_u, h, w) that a query asks for."""
        if query.prompt == "caption":
            features = self._whole_pass[1][query.layer]
            return features if query.trains else features.detach()
        z_t, t = self._barely_noised(query.max_timestep, query.same_timestep)
        text = self._null_conditions()
        with torch.set_grad_enabled(torch.is_grad_enabled() and query.trains):
            run = partial(self.base.features, layer=query.layer)
            return joined(denoise_in_chunks(run, z_t, t, text, self.chunk))

    def denoised(self, max_timestep: int, prompt: str | None = None) -> Tensor:
        """ẑ₀ (n, c, h, w): the clean latents that the denoiser sees behind noise of
        t < max_timestep, under the empty prompt in a pass of its own.

        With `prompt` "caption" those of the denoise pass, at its timesteps.
        """
        predicted_clean = self.base.schedule.predicted_clean
        if prompt == "caption":
            return predicted_clean(self.noisy_latents, self.prediction, self.timesteps)
        z_t, t = self._barely_noised(max_timestep)
        text, denoise = self._null_conditions(), self.base.denoise
        prediction = joined(denoise_in_chunks(denoise, z_t, t, text, self.chunk))
        return predicted_clean(z_t, prediction, t)

    def _barely_noised(self, max_timestep: int, same: bool = False) -> tuple[Tensor, Tensor]:
        """z_t (n, c, h, w) and t (n,) below `max_timestep`; `same`: one t, keyed by the step."""
        shares = self.random.shared("t-same") if same else self.random.of("t-small", uniform=True)
        t = (shares * max_timestep).long()
        noise = self.random.of("noise-small", tuple(self.latents.shape[1:]))
        return self.base.schedule.add_noise(self.latents, noise, t), t

    def _null_conditions(self) -> TextFeatures:
        # What the empty caption says is what guidance subtracts: not an image feature's to move.
        assert self._null is not None
        return self._null.detach().expand(len(self))
