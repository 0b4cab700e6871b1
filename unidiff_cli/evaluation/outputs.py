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

    `before` is the outputs of its base; a base's own is None. Call `release` to let the weights go and keep the rest.
    """

    def __init__(
        self,
        subject: ModelUnderTest,
        eval_set: EvalSet,
        before: ModelOutputs | None = None,
        on_progress: Progress | None = None,
    ) -> None:
        self.subject, self.eval_set, self.before, self.on_progress = (
            subject,
            eval_set,
            before,
            on_progress,
        )
        self.kept = ArrayCache(eval_set.cache / subject.stamp if eval_set.cache else None)
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
        """Unit embeddings of the rows' images, (N, D)."""
        from unidiff_cli.models.encoders import embed_images

        eval_set, told = self.eval_set, self.progress("embedding images")
        return self._make(
            "image_embeds",
            [eval_set.stamp, [row.id for row in eval_set.rows], self.subject.by],
            lambda: embed_images(
                self.base,
                eval_set.shards,
                eval_set.rows,
                eval_set.evaluate.batch_size,
                told,
                self.subject.by,
            ),
        )

    @cached_property
    def text_embeds(self) -> np.ndarray:
        """Unit embeddings of the distinct captions, (C, D)."""
        return self.captions("text_embeds", self.eval_set.captions)

    def captions(self, name: str, captions: list[str]) -> np.ndarray:
        """Unit embeddings of captions by this model, (n, D), kept under that name."""
        from unidiff_cli.models.encoders import embed_captions

        return self._make(
            name,
            captions,
            lambda: embed_captions(self.base, captions, self.eval_set.evaluate.batch_size),
        )

    @cached_property
    def found(self) -> dict[str, Ranked]:
        """What each caption finds among the images (t2i) and each image among the captions (i2t)."""
        from unidiff_cli.evaluation.ranking import ranked

        pairs = self.eval_set.pairs
        return {
            "t2i": ranked(self.text_embeds, self.image_embeds, pairs, top=TOP),
            "i2t": ranked(self.image_embeds, self.text_embeds, pairs[:, ::-1], top=TOP),
        }

    # ------------------------------------------------------------ drawn images, as the scorer sees them

    def draw(self, name: str, prompts: list[str], seeds: list[int]) -> np.ndarray:
        """An image a prompt, uint8 (n, S, S, 3), kept under that name."""
        from unidiff_cli.models.sampler import generate_images

        options, told = self.eval_set.generate, self.progress("drawing")

        def make(start: int, stop: int) -> np.ndarray:
            images = generate_images(
                self.base, prompts[start:stop], seeds[start:stop], steps=options.steps, guidance=options.guidance,
                batch_size=options.batch_size,
                on_progress=(lambda done, _: told(start + done, len(prompts))) if told else None,
            )  # fmt: skip
            return np.stack([np.asarray(image) for image in images])

        return self.kept.rows(name, self._drawing(prompts, seeds), len(prompts), make)

    def _drawing(self, prompts: list[str], seeds: list[int]) -> list[Any]:
        """What drawn images depend on, beside the weights."""
        options = self.eval_set.generate
        return [self.subject.image_size, prompts, seeds, options.steps, options.guidance]

    @cached_property
    def generated(self) -> np.ndarray:
        """An image a prompt, uint8 (n, S, S, 3); the same prompts and seeds for every model."""
        return self.draw("generated", self.eval_set.prompts, self.eval_set.seeds)

    @cached_property
    def _seen(self) -> tuple[np.ndarray, np.ndarray]:
        return self.eval_set.seen(
            self.generated, self._drawing(self.eval_set.prompts, self.eval_set.seeds), self.kept
        )

    @property
    def generated_features(self) -> np.ndarray:
        """Extractor features of the drawn images, (n, d)."""
        return self._seen[0]

    @property
    def generated_embeds(self) -> np.ndarray:
        """Scorer embeddings of the drawn images, unit, (n, D)."""
        return self._seen[1]

    @cached_property
    def _real(self) -> tuple[np.ndarray, np.ndarray]:
        if self.before:
            return self.before._real
        return self.eval_set.looked_at(
            self.eval_set.real_rows, self.subject.image_size, self.progress("real images")
        )

    @property
    def real_features(self) -> np.ndarray:
        """Extractor features of the real images, (R, d)."""
        return self._real[0]

    @property
    def real_embeds(self) -> np.ndarray:
        """Scorer embeddings of the real images, unit, (R, D)."""
        return self._real[1]

    @cached_property
    def training_embeds(self) -> np.ndarray:
        """Scorer embeddings of training images, unit, (T, D)."""
        if self.before:
            return self.before.training_embeds
        return self.eval_set.looked_at(
            self.eval_set.training_rows, self.subject.image_size, self.progress("training images")
        )[1]

    @property
    def prompt_embeds(self) -> np.ndarray:
        """Scorer embeddings of the prompts, unit, (n, D)."""
        return self.eval_set.prompt_embeds

    # ------------------------------------------------------------ the neutral probe

    @cached_property
    def probe_image_embeds(self) -> np.ndarray:
        """Unit embeddings of the probe's images, (N, D)."""
        return self._embedded(self.eval_set.probe)

    @cached_property
    def photo_image_embeds(self) -> np.ndarray:
        """Unit embeddings of the photos of `evaluate.probe`, (N, D)."""
        assert self.eval_set.photos
        return self._embedded(self.eval_set.photos)

    @cached_property
    def photo_text_embeds(self) -> np.ndarray:
        """Unit embeddings of their class prompts, (K, D)."""
        assert self.eval_set.photos
        return self.captions("photo_texts", self.eval_set.photos.prompts)

    def _embedded(self, probe: ProbeSet) -> np.ndarray:
        import torch

        def make() -> np.ndarray:
            images, size = probe.images, self.eval_set.evaluate.batch_size
            with torch.no_grad():
                parts = [
                    self.base.embed(images[i : i + size], self.subject.by)
                    for i in range(0, len(images), size)
                ]
            return torch.cat(parts).cpu().numpy()

        return self._make("probe_images", [probe.stamp, self.subject.by], make)

    @cached_property
    def probe_text_embeds(self) -> np.ndarray:
        """Unit embeddings of the probe's class prompts, (K, D)."""
        return self.captions("probe_texts", self.eval_set.probe.prompts)

    @cached_property
    def probe_predictions(self) -> np.ndarray:
        """The UNet's predictions for fixed latents, timesteps and probe prompts, (n, c, h, w).

        The latents are normal noise: every model is asked the same, whatever its autoencoder.
        """
        import torch

        prompts = self.eval_set.probe.prompts

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

    # ------------------------------------------------------------ the denoiser on real images

    @cached_property
    def latents(self) -> np.ndarray:
        """The posterior means of the held-out images' latents, scaled, (n, c, h, w), n ≤ MOST_DENOISED."""
        from unidiff_cli.data.batch import open_image

        eval_set, base = self.eval_set, lambda: self.base

        def make(start: int, stop: int) -> np.ndarray:
            images = [
                open_image(eval_set.shards, row) for row in eval_set.denoised_rows[start:stop]
            ]
            return base().encode(base().diffusion_pixels(images))[0].float().cpu().numpy()

        depends = [
            self.subject.image_size,
            eval_set.stamp,
            [row.id for row in eval_set.denoised_rows],
        ]
        return self.kept.rows("latents", depends, len(eval_set.denoised_rows), make)

    @cached_property
    def denoise_errors(self) -> np.ndarray:
        """Mean squared error of the denoiser's prediction for each of those images by its caption, (n,).

        Of DENOISE_STRATA timesteps an image, one from each part of the schedule; every model is asked the same.
        """
        import torch

        from unidiff_cli.models.keyed_random import keyed_random

        eval_set, count = self.eval_set, DENOISE_STRATA

        def some(start: int, stop: int) -> np.ndarray:
            base, places, errors = self.base, list(range(start, stop)), []
            z = torch.from_numpy(np.array(self.latents[start:stop])).to(base.device)  # (B, c, h, w)
            with torch.no_grad():
                captions = [row.captions[0] for row in eval_set.denoised_rows[start:stop]]
                states = base.text(base.tokenize(captions))[0]
                for k in range(count):
                    u = keyed_random(eval_set.evaluate.seed, k, places, "t", (), uniform=True)
                    t = ((k + u) / count * len(base.abar)).long().to(base.device)
                    eps = keyed_random(
                        eval_set.evaluate.seed, k, places, "noise", tuple(z.shape[1:])
                    ).to(base.device)
                    off = base.denoise(base.noisy(z, eps, t), t, states) - base.target(z, eps, t)
                    errors.append(off.float().square().mean(dim=(1, 2, 3)).cpu())
            return torch.stack(errors).mean(dim=0).double().numpy()

        def make(start: int, stop: int) -> np.ndarray:
            size = eval_set.evaluate.batch_size  # of the UNet; CHUNK is what is kept at a time
            return np.concatenate([some(i, min(i + size, stop)) for i in range(start, stop, size)])

        ids = [row.id for row in eval_set.denoised_rows]
        depends = [self.subject.image_size, eval_set.stamp, ids, eval_set.evaluate.seed, count]
        return self.kept.rows("denoise_errors", depends, len(ids), make)

    @cached_property
    def grid_embeds(self) -> np.ndarray:
        """Scorer embeddings of P prompts each drawn from the same S seeds, unit, (P, S, D)."""
        prompts, count = (
            list({same_text(p): p for p in self.eval_set.prompts}.values())[: GRID[0]],
            GRID[1],
        )
        asked = [prompt for prompt in prompts for _ in range(count)]
        seeds = [self.eval_set.evaluate.seed + s for _ in prompts for s in range(count)]
        images = self.draw("grid", asked, seeds)
        found = self.eval_set.seen(images, self._drawing(asked, seeds), self.kept)[1]
        return found.reshape(len(prompts), count, -1)
