"""One batch through a base: all that objectives may read in one step, each output computed once.

The text tower runs once however many objectives ask; a recipe that only denoises never runs the
vision tower. Noise, timesteps and drop masks are keyed by (seed, step, sample position, name), so a
resume, a second forward and another number of processes take the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from unidiff_cli.data.batch import Batch
from unidiff_cli.data.by_shape import ByShape, in_order
from unidiff_cli.models.augment import augmented, mirrored, recoloured
from unidiff_cli.models.base import BaseModel, DualEncoder, TextFeatures
from unidiff_cli.models.chunks import in_chunks
from unidiff_cli.models.denoise_pass import DenoisePass, RandomKey, posteriors_of
from unidiff_cli.models.distributed import gather_rows, rank
from unidiff_cli.models.features import FeatureQuery
from unidiff_cli.models.gradient_cut import Cut, GradientFactors, scaled_gradient
from unidiff_cli.models.keyed_random import keyed_random
from unidiff_cli.models.low_rank import Unadapted
from unidiff_cli.models.needs import Needs, Tower
from unidiff_cli.models.stored_text import StoredText
from unidiff_cli.models.text_pass import TextCut, TextPass

# The step number that keys the noise of validation: fixed, and no training step's.
VALIDATION = -1


@dataclass(frozen=True)
class ForwardOptions:
    """How batches pass through a base.

    In training captions are dropped and rows gathered from all processes; else neither, and the
    noise is the same at every step. CLIP's towers run `chunk` rows at a time and the denoiser
    `denoise_chunk`; 0: all. `factors` multiply gradients. With `text` captions' features come from
    there.
    """

    seed: int
    training: bool = False
    chunk: int = 0
    factors: GradientFactors = GradientFactors()
    denoise_chunk: int = 0
    text: StoredText | None = None


class ForwardPass:
    """One batch as a base sees it.

    B rows are embedded; the b rows of `batch.denoise_rows` are what the denoiser sees (all B where
    it is None). Latents, text conditions and random numbers are theirs, and `sub_batch` picks them
    from what has B rows. `frozen` is the base's CLIP as it was before training.
    """

    def __init__(
        self,
        base: BaseModel,
        batch: Batch,
        needs: Needs,
        options: ForwardOptions,
        frozen: DualEncoder | Unadapted | None = None,
    ) -> None:
        self.base, self.batch, self.needs, self.frozen = base, batch, needs, frozen
        self.options = options
        self.training = options.training
        self.step = batch.step if options.training else VALIDATION
        self._features: dict[FeatureQuery, Tensor] = {}
        self._feature_cut: Cut | None = None

    # ------------------------------------------------------------ rows

    @property
    def device(self) -> torch.device:
        return self.base.device

    @property
    def size(self) -> int:
        """B, the rows of the batch."""
        return len(self.batch.positions)

    @property
    def denoise_rows(self) -> Sequence[int]:
        """The rows that the denoiser sees, b of them."""
        rows = self.batch.denoise_rows
        return range(self.size) if rows is None else rows

    @property
    def denoise_positions(self) -> Tensor:
        """The numbers of these b rows among all that denoisers see in the run, int64 (b,).

        They are the same whatever the number of processes.
        """
        positions = self.batch.denoise_positions
        if positions is None:
            positions = [self.batch.positions[i] for i in self.denoise_rows]
        return torch.tensor(positions, device=self.device)

    def sub_batch(self, tensor: Tensor) -> Tensor:
        """The rows that the denoiser sees, (b, …), of what has a row a sample, (B, …)."""
        return tensor if self.batch.denoise_rows is None else tensor[self.denoise_rows]

    def random(self, name: str, shape: tuple[int, ...] = (), uniform: bool = False) -> Tensor:
        """Keyed random numbers (b, *shape) for the rows that the denoiser sees, on the device."""
        return self._random(range(len(self.denoise_rows))).of(name, shape, uniform)

    def _random(self, rows: Sequence[int]) -> RandomKey:
        """The same for some of the b rows."""
        positions = [self.batch.positions[self.denoise_rows[row]] for row in rows]
        return RandomKey(self.options.seed, self.step, positions, self.device)

    def gather(self, tensor: Tensor) -> Tensor:
        """The rows of all processes in training, with gradient to each; else the tensor itself."""
        return gather_rows(tensor) if self.training else tensor

    def _gather_prior(self, rows: Tensor) -> Tensor:
        """The prior's rows of all processes, (P, …), of this one's (p, …).

        Processes have unlike numbers of them. So each sends as many as the denoiser sees.
        """
        room = len(self.denoise_rows)
        filled = torch.arange(room, device=self.device) < len(rows)
        padded = torch.cat([rows, rows.new_zeros(room - len(rows), *rows.shape[1:])])
        return self.gather(padded)[self.gather(filled.long()) > 0]

    def own_places(self) -> Tensor:
        """Where this process's rows stand among the gathered ones, int64 (B,)."""
        first = rank() * self.size if self.training else 0
        return torch.arange(first, first + self.size, device=self.device)

    def own_rows(self, gathered: Tensor) -> Tensor:
        """This process's rows of what was gathered, (B, …)."""
        return gathered[self.own_places()]

    def mean_of(self, values: Tensor, chosen: Tensor) -> Tensor:
        """The mean over all processes' chosen rows, a scalar.

        `values` (n,) are those of the n rows set in `chosen`. This process holds its own rows'
        part, so scaled that DDP's mean of the gradients is the whole's.
        """
        chosen_anywhere = self.gather(chosen.long())
        share = len(chosen_anywhere) // len(chosen)
        return values.sum() * share / chosen_anywhere.sum().clamp(min=1)

    def zero(self, tower: Tower) -> Tensor:
        """A zero with a gradient to a tower, for a step in which a loss has no row."""
        parameters = self.base.parameter_groups()[tower]
        trained = next((p for p in parameters if p.requires_grad), parameters[0])
        return trained.sum() * 0

    def full_precision(self) -> AbstractContextManager[None]:
        """Where cosines are compared and pixels moved: autocast would do it in half precision."""
        return torch.autocast(self.device.type, enabled=False)

    # ------------------------------------------------------------ text

    @cached_property
    def _text(self) -> TextPass:
        """Over the B captions, the prior's p captions and, where something reads it, ""."""
        captions = [*self.batch.captions, *(self.batch.prior.captions if self.batch.prior else [])]
        if self.needs.empty_caption:
            captions.append("")
        read = [*self.denoise_rows, *range(self.size, len(captions))] if self.needs.states else []
        stored = self.options.text
        # What is only read needs no chunks.
        chunk = 0 if stored else self.options.chunk
        whole = TextPass.run(stored or self.base, captions, read, chunk)
        return whole.scaled(self.options.factors.text)

    def detach_text_tower(self) -> TextCut:
        """Ends the objectives' graph at the text tower's outputs; call it before any of them."""
        self._text, cut = self._text.detached()
        return cut

    @property
    def text_embeds(self) -> Tensor:
        """Unit caption embeddings, (B, D)."""
        return self._text.embeds[: self.size]

    @property
    def null_condition(self) -> TextFeatures:
        """The features of the empty caption, of one row."""
        assert self.needs.empty_caption
        return self._text.conditions.rows(slice(-1, None))

    @cached_property
    def condition(self) -> TextFeatures:
        """The features of the b captions that the denoiser reads, some dropped to the empty one."""
        condition = self._text.conditions.rows(slice(len(self.denoise_rows)))
        if not (self.training and self.needs.caption_drop):
            return condition
        drop = self.random("drop", uniform=True) < self.needs.caption_drop
        return condition.replaced(drop, self.null_condition)

    @cached_property
    def prior(self) -> ForwardPass | None:
        """The general captions' own forward, with their rows of this step's one text forward.

        None where the batch has none.
        """
        if self.batch.prior is None:
            return None
        forward = ForwardPass(self.base, self.batch.prior, self.needs, self.options)
        forward._text = self._text.after(len(self.denoise_rows), self.size)
        return forward

    @cached_property
    def prior_embeds(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Unit embeddings (P, D) of the general images and captions of all processes, then of both
        by the base before training."""
        prior = self.prior
        # A process without a row of them takes part in the others' backward pass.
        text = self._text.embeds[self.size :][: prior.size if prior else 0]
        if prior is None:
            image = self.zero("vision").expand(0, self.base.dimension)
            before = image.detach(), text.detach()
        else:
            image = prior.image_embeds
            before = prior.frozen_image_embeds, prior.frozen_text_embeds
        image, text, image0, text0 = (
            self._gather_prior(rows.to(self.device, self.base.dtype))
            for rows in (image, text, *before)
        )
        return image, text, image0, text0

    # ------------------------------------------------------------ images

    @cached_property
    def image_embeds(self) -> Tensor:
        """Unit image embeddings, (B, D)."""
        return self._embedded(self.base, self._seen_pixels)

    @property
    def _clip_pixels(self) -> Tensor:
        pixels = self.batch.clip_pixels
        assert pixels is not None
        return pixels

    @property
    def _seen_pixels(self) -> Tensor:
        """The images as CLIP trains on them, (B, 3, s, s) uint8: some mirrored, some cropped, some
        recoloured."""
        batch = self.batch
        pixels = mirrored(self._clip_pixels, batch.mirrored)
        changes = (("crop", augmented, 4, batch.cropped), ("hue", recoloured, 3, batch.recoloured))
        for name, change, count, rows in changes:
            if rows:
                pixels, places = pixels.to(self.device), torch.tensor(rows, device=self.device)
                numbers = self._uniform(name, rows, count).to(self.device)
                with self.full_precision():
                    pixels = pixels.index_copy(0, places, change(pixels[places], numbers))
        return pixels

    def _uniform(self, name: str, rows: Sequence[int], count: int) -> Tensor:
        """Keyed random numbers (n, count) in [0, 1) of n of the B rows, on the CPU."""
        positions = [self.batch.positions[i] for i in rows]
        return keyed_random(self.options.seed, self.step, positions, name, (count,), uniform=True)

    def _embedded(self, encoder: DualEncoder | Unadapted, pixels: Tensor) -> Tensor:
        def tower(first: int, last: int) -> Tensor:
            return encoder.encode_images(pixels[first:last].to(self.device))

        return torch.cat(in_chunks(tower, self.size, self.options.chunk))

    def augmented_image_embeds(self, chosen: Tensor) -> Tensor:
        """Unit embeddings (n, D) of another view of the n rows set in `chosen` (B,)."""
        rows = chosen.nonzero()[:, 0].tolist()
        numbers = self._uniform("view", rows, 4)
        with self.full_precision():
            views = augmented(self._clip_pixels[rows], numbers).to(self.device)

        def tower(first: int, last: int) -> Tensor:
            return self.base.encode_images(views[first:last])

        return torch.cat(in_chunks(tower, len(rows), self.options.chunk))

    # ------------------------------------------------------------ the base before training

    @cached_property
    @torch.no_grad()
    def frozen_text_embeds(self) -> Tensor:
        """Unit caption embeddings (B, D) by the base before training, without gradient; cached or
        computed now."""
        if self.batch.frozen_text_embeds is not None:
            return self.batch.frozen_text_embeds.to(self.device)
        captions, frozen = self.batch.captions, self.frozen
        assert frozen is not None

        def tower(first: int, last: int) -> Tensor:
            return frozen.encode_text(captions[first:last]).embeds

        return torch.cat(in_chunks(tower, self.size, self.options.chunk))

    @cached_property
    @torch.no_grad()
    def frozen_image_embeds(self) -> Tensor:
        """Unit image embeddings (B, D) by the base before training, without gradient; cached or
        computed now."""
        if self.batch.frozen_image_embeds is not None:
            return self.batch.frozen_image_embeds.to(self.device)
        assert self.frozen is not None
        return self._embedded(self.frozen, self._clip_pixels)

    # ------------------------------------------------------------ denoiser

    @cached_property
    def passes(self) -> list[DenoisePass]:
        """What the denoiser sees, its rows of each shape: one pass, or in buckets several."""
        null = self.null_condition if self.needs.empty_caption else None
        chunk = self.options.denoise_chunk
        return [
            DenoisePass(
                self.base, rows, self._random(rows), posterior, self._own(rows), null, chunk
            )
            for rows, posterior in posteriors_of(self.base, self.batch)
        ]

    def _own(self, rows: Sequence[int]) -> TextFeatures | None:
        """What the denoiser reads of the captions of some of the b rows, if it reads any."""
        if not self.needs.text_states:
            return None
        whole = len(rows) == len(self.denoise_rows)
        return self.condition if whole else self.condition.rows(list(rows))

    def by_shape(self, of: Callable[[DenoisePass], Tensor]) -> Tensor:
        """What is made of the rows of each pass, (n, …), as one (b, …) in the order of the b."""
        return in_order([of(seen) for seen in self.passes], [seen.rows for seen in self.passes])

    @cached_property
    def timesteps(self) -> Tensor:
        """Those of the denoise pass, uniform over the schedule, int64 (b,)."""
        return self.by_shape(lambda seen: seen.timesteps)

    @property
    def _in_buckets(self) -> bool:
        batch = self.batch
        return isinstance(batch.latents, ByShape) or isinstance(batch.diffusion_pixels, ByShape)

    def detach_features(self) -> Cut:
        """Ends the objectives' graph at the denoiser's features; call it before any of them."""
        self._feature_cut = Cut()
        return self._feature_cut

    @property
    def cut_denoise_pass(self) -> bool:
        """Whether features that are cut off come from the denoise pass."""
        cut = self._feature_cut is not None
        return cut and any(query.prompt == "caption" for query in self._features)

    def denoiser_features(self, query: FeatureQuery) -> Tensor:
        """Features of the b images that the denoiser sees, as rows (b, …)."""
        if query not in self._features:
            features = self.by_shape(
                lambda seen: query.rows(seen.feature_map(query), self._in_buckets)
            )
            features = scaled_gradient(features, self.options.factors.denoiser)
            if self._feature_cut is not None and features.requires_grad:
                features = self._feature_cut.leaf(features)
            self._features[query] = features
        return self._features[query]
