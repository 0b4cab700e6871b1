"""What metrics look at: the held-out rows, the neutral probe, and what one model makes of both, each made once.

What a model makes is kept in the project's `cache/` by the model's weights and everything else it depends on, so a second
evaluation, another metric or another export against the same base makes nothing again.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from unidiff_cli.data.captions import same_text
from unidiff_cli.progress import Progress

if TYPE_CHECKING:
    from unidiff_cli.evaluation.ranking import Ranked
    from unidiff_cli.models.families.stable_diffusion import StableDiffusion as Base
from unidiff_cli.evaluation.array_cache import ArrayCache
from unidiff_cli.evaluation.eval_set import DENOISE_STRATA, EvalSet
from unidiff_cli.evaluation.model_under_test import ModelUnderTest
from unidiff_cli.evaluation.probe import ProbeSet

TOP = 10  # answers kept of each query
PROBE_STEPS = (50, 200, 400, 600, 800, 950)  # of 1,000: where the denoiser is asked
GRID = (6, 4)  # prompts × seeds drawn for prompt sensitivity


class ModelOutputs:
    """Everything metrics may look at for one model, each computed once, on first use.

    `before` is the evidence of its base; a base's own is None. Call `release` to let the weights go and keep the rest.
    """

    def __init__(
        self,
        subject: ModelUnderTest,
        held: EvalSet,
        before: ModelOutputs | None = None,
        on_progress: Progress | None = None,
    ) -> None:
        self.subject, self.held, self.before, self.on_progress = subject, held, before, on_progress
        self.kept = ArrayCache(held.cache / subject.stamp if held.cache else None)
        self._base: Base | None = None

    @property
    def base(self) -> Base:
        """The model itself, loaded when something has to be made."""
        if self._base is None:
            self._base = self.subject.load()
        return self._base

    def release(self) -> None:
        self._base = None

    def progress(self, what: str) -> Callable[[int, int], None] | None:
        report = self.on_progress
        return (lambda done, total: report(what, done, total)) if report else None

    def _make(self, name: str, depends: Any, make: Callable[[], np.ndarray]) -> np.ndarray:
        return self.kept.array(name, [self.subject.image_size, depends], make)

    # ------------------------------------------------------------ retrieval, by the model itself

    @cached_property
    def image_embeds(self) -> np.ndarray:
        """Unit embeddings of the rows' pictures, (N, D)."""
        from unidiff_cli.models.encoders import embed_images

        held, told = self.held, self.progress("embedding pictures")
        return self._make(
            "image_embeds",
            [held.stamp, [row.id for row in held.rows], self.subject.by],
            lambda: embed_images(
                self.base, held.shards, held.rows, held.evaluate.batch_size, told, self.subject.by
            ),
        )

    @cached_property
    def text_embeds(self) -> np.ndarray:
        """Unit embeddings of the distinct captions, (C, D)."""
        return self.captions("text_embeds", self.held.captions)

    def captions(self, name: str, captions: list[str]) -> np.ndarray:
        """Unit embeddings of captions by this model, (n, D), kept under that name."""
        from unidiff_cli.models.encoders import embed_captions

        return self._make(
            name,
            captions,
            lambda: embed_captions(self.base, captions, self.held.evaluate.batch_size),
        )

    @cached_property
    def found(self) -> dict[str, Ranked]:
        """What each caption finds among the pictures (t2i) and each picture among the captions (i2t)."""
        from unidiff_cli.evaluation.ranking import ranked

        pairs = self.held.pairs
        return {
            "t2i": ranked(self.text_embeds, self.image_embeds, pairs, top=TOP),
            "i2t": ranked(self.image_embeds, self.text_embeds, pairs[:, ::-1], top=TOP),
        }

    # ------------------------------------------------------------ drawn pictures, as the scorer sees them

    def draw(self, name: str, prompts: list[str], seeds: list[int]) -> np.ndarray:
        """A picture a prompt, uint8 (n, S, S, 3), kept under that name."""
        from unidiff_cli.models.sampler import generate_images

        options, told = self.held.generate, self.progress("drawing")

        def make(start: int, stop: int) -> np.ndarray:
            pictures = generate_images(
                self.base, prompts[start:stop], seeds[start:stop], steps=options.steps, guidance=options.guidance,
                batch_size=options.batch_size,
                on_progress=(lambda done, _: told(start + done, len(prompts))) if told else None,
            )  # fmt: skip
            return np.stack([np.asarray(picture) for picture in pictures])

        return self.kept.rows(name, self._drawing(prompts, seeds), len(prompts), make)

    def _drawing(self, prompts: list[str], seeds: list[int]) -> list[Any]:
        """What drawn pictures depend on, beside the weights."""
        options = self.held.generate
        return [self.subject.image_size, prompts, seeds, options.steps, options.guidance]

    @cached_property
    def generated(self) -> np.ndarray:
        """A picture a prompt, uint8 (n, S, S, 3); the same prompts and seeds for every model."""
        return self.draw("generated", self.held.prompts, self.held.seeds)

    @cached_property
    def _seen(self) -> tuple[np.ndarray, np.ndarray]:
        return self.held.seen(
            self.generated, self._drawing(self.held.prompts, self.held.seeds), self.kept
        )

    @property
    def generated_features(self) -> np.ndarray:
        """Extractor features of the drawn pictures, (n, d)."""
        return self._seen[0]

    @property
    def generated_embeds(self) -> np.ndarray:
        """Scorer embeddings of the drawn pictures, unit, (n, D)."""
        return self._seen[1]

    @cached_property
    def _real(self) -> tuple[np.ndarray, np.ndarray]:
        if self.before:
            return self.before._real
        return self.held.looked_at(
            self.held.real_rows, self.subject.image_size, self.progress("real pictures")
        )

    @property
    def real_features(self) -> np.ndarray:
        """Extractor features of the real pictures, (R, d)."""
        return self._real[0]

    @property
    def real_embeds(self) -> np.ndarray:
        """Scorer embeddings of the real pictures, unit, (R, D)."""
        return self._real[1]

    @cached_property
    def training_embeds(self) -> np.ndarray:
        """Scorer embeddings of training pictures, unit, (T, D)."""
        if self.before:
            return self.before.training_embeds
        return self.held.looked_at(
            self.held.training_rows, self.subject.image_size, self.progress("training pictures")
        )[1]

    @property
    def prompt_embeds(self) -> np.ndarray:
        """Scorer embeddings of the prompts, unit, (n, D)."""
        return self.held.prompt_embeds

    # ------------------------------------------------------------ the neutral probe

    @cached_property
    def probe_image_embeds(self) -> np.ndarray:
        """Unit embeddings of the probe's pictures, (N, D)."""
        return self._embedded(self.held.probe)

    @cached_property
    def photo_image_embeds(self) -> np.ndarray:
        """Unit embeddings of the photos of `evaluate.probe`, (N, D)."""
        assert self.held.photos
        return self._embedded(self.held.photos)

    @cached_property
    def photo_text_embeds(self) -> np.ndarray:
        """Unit embeddings of their class prompts, (K, D)."""
        assert self.held.photos
        return self.captions("photo_texts", self.held.photos.prompts)

    def _embedded(self, probe: ProbeSet) -> np.ndarray:
        import torch

        def make() -> np.ndarray:
            pictures, size = probe.pictures, self.held.evaluate.batch_size
            with torch.no_grad():
                parts = [
                    self.base.embed(pictures[i : i + size], self.subject.by)
                    for i in range(0, len(pictures), size)
                ]
            return torch.cat(parts).cpu().numpy()

        return self._make("probe_images", [probe.stamp, self.subject.by], make)

    @cached_property
    def probe_text_embeds(self) -> np.ndarray:
        """Unit embeddings of the probe's class prompts, (K, D)."""
        return self.captions("probe_texts", self.held.probe.prompts)

    @cached_property
    def probe_predictions(self) -> np.ndarray:
        """The UNet's predictions for fixed latents, timesteps and probe prompts, (n, c, h, w).

        The latents are normal noise: every model is asked the same, whatever its autoencoder.
        """
        import torch

        prompts = self.held.probe.prompts

        def make() -> np.ndarray:
            base = self.base
            generator = torch.Generator().manual_seed(0)
            side, parts = base.image_size // base.pipeline.vae_scale_factor, []
            with torch.no_grad():
                states = base.text(base.tokenize(prompts))[0]
                for t in PROBE_STEPS:
                    z = torch.randn(
                        (len(prompts), base.unet.config.in_channels, side, side),
                        generator=generator,
                    )
                    times = torch.full(
                        (len(prompts),), t * len(base.abar) // 1000, device=base.device
                    )
                    parts.append(base.denoise(z.to(base.device), times, states).float().cpu())
            return torch.cat(parts).numpy()

        return self._make("probe_predictions", [prompts, PROBE_STEPS], make)

    # ------------------------------------------------------------ the denoiser on real pictures

    @cached_property
    def latents(self) -> np.ndarray:
        """The posterior means of the held-out pictures' latents, scaled, (n, c, h, w), n ≤ MOST_DENOISED."""
        from unidiff_cli.data.batch import open_image

        held, base = self.held, lambda: self.base

        def make(start: int, stop: int) -> np.ndarray:
            pictures = [open_image(held.shards, row) for row in held.denoised_rows[start:stop]]
            return base().encode(base().draw_pixels(pictures))[0].float().cpu().numpy()

        depends = [self.subject.image_size, held.stamp, [row.id for row in held.denoised_rows]]
        return self.kept.rows("latents", depends, len(held.denoised_rows), make)

    @cached_property
    def denoise_errors(self) -> np.ndarray:
        """Mean squared error of the denoiser's prediction for each of those pictures by its caption, (n,).

        Of DENOISE_STRATA timesteps a picture, one from each part of the schedule; every model is asked the same.
        """
        import torch

        from unidiff_cli.models.keyed_random import keyed_random

        held, count = self.held, DENOISE_STRATA

        def some(start: int, stop: int) -> np.ndarray:
            base, places, errors = self.base, list(range(start, stop)), []
            z = torch.from_numpy(np.array(self.latents[start:stop])).to(base.device)  # (B, c, h, w)
            with torch.no_grad():
                captions = [row.captions[0] for row in held.denoised_rows[start:stop]]
                states = base.text(base.tokenize(captions))[0]
                for k in range(count):
                    u = keyed_random(held.evaluate.seed, k, places, "t", (), uniform=True)
                    t = ((k + u) / count * len(base.abar)).long().to(base.device)
                    eps = keyed_random(
                        held.evaluate.seed, k, places, "noise", tuple(z.shape[1:])
                    ).to(base.device)
                    off = base.denoise(base.noisy(z, eps, t), t, states) - base.target(z, eps, t)
                    errors.append(off.float().square().mean(dim=(1, 2, 3)).cpu())
            return torch.stack(errors).mean(dim=0).double().numpy()

        def make(start: int, stop: int) -> np.ndarray:
            size = held.evaluate.batch_size  # of the UNet; CHUNK is what is kept at a time
            return np.concatenate([some(i, min(i + size, stop)) for i in range(start, stop, size)])

        ids = [row.id for row in held.denoised_rows]
        depends = [self.subject.image_size, held.stamp, ids, held.evaluate.seed, count]
        return self.kept.rows("denoise_errors", depends, len(ids), make)

    @cached_property
    def grid_embeds(self) -> np.ndarray:
        """Scorer embeddings of P prompts each drawn from the same S seeds, unit, (P, S, D)."""
        prompts, count = (
            list({same_text(p): p for p in self.held.prompts}.values())[: GRID[0]],
            GRID[1],
        )
        asked = [prompt for prompt in prompts for _ in range(count)]
        seeds = [self.held.evaluate.seed + s for _ in prompts for s in range(count)]
        pictures = self.draw("grid", asked, seeds)
        found = self.held.seen(pictures, self._drawing(asked, seeds), self.kept)[1]
        return found.reshape(len(prompts), count, -1)
