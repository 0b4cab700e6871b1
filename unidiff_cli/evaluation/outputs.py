"""ModelOutputs: what one model makes of the eval set, each output computed once, on first use.

An output is stored in the project's `cache/` by the model's weights and everything else that it
depends on, so a second evaluation, another metric or another export of the same base computes
nothing again. What only one metric reads, that metric computes in its own file with the services
below.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import astuple
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from unidiff_cli.data.rows import column_of
from unidiff_cli.evaluation.array_cache import ArrayCache
from unidiff_cli.evaluation.eval_set import EvalSet
from unidiff_cli.evaluation.image_features import ImageFeatures, cropped_images, extract_features
from unidiff_cli.evaluation.model_under_test import ModelUnderTest
from unidiff_cli.evaluation.ranking import Ranking, rank_answers
from unidiff_cli.models.guidance import Guidance
from unidiff_cli.models.guidance_file import guidance_in_force
from unidiff_cli.models.sources import resolve_base
from unidiff_cli.progress import Progress

if TYPE_CHECKING:
    from PIL.Image import Image

    from unidiff_cli.data.shards import Row
    from unidiff_cli.models.base import BaseModel
    from unidiff_cli.models.encoders import ImageEncoder

T = TypeVar("T")
# Answers stored of each query.
TOP = 10


class Output(StrEnum):
    """An output that every metric may read; `ModelOutputs.computed` records it."""

    IMAGE_EMBEDS = "image_embeds"
    TEXT_EMBEDS = "text_embeds"
    RANKINGS = "rankings"
    GENERATED_IMAGES = "generated_images"
    LATENTS = "latents"
    PROBE_IMAGE_EMBEDS = "probe_image_embeds"
    PROBE_TEXT_EMBEDS = "probe_text_embeds"


class ModelOutputs:
    """Everything that metrics read of one model.

    `base_outputs` are those of its base, None for a base. `computed` holds the keys of the outputs
    that were asked for. `release` frees the weights and leaves the outputs.
    """

    def __init__(
        self,
        subject: ModelUnderTest,
        eval_set: EvalSet,
        base_outputs: ModelOutputs | None = None,
        on_progress: Progress | None = None,
        model: BaseModel | None = None,
    ) -> None:
        """`model` is the subject where it is in memory already."""
        self.subject, self.eval_set, self.base_outputs = subject, eval_set, base_outputs
        self.computed: set[str] = set()
        self._on_progress = on_progress
        self._arrays = ArrayCache(eval_set.cache / subject.model_hash if eval_set.cache else None)
        self._memo: dict[tuple[Hashable, str], Any] = {}
        self._base = model

    # ------------------------------------------------------------ services

    @property
    def base(self) -> BaseModel:
        """The model itself, loaded when an output has to be computed."""
        if self._base is None:
            self._base = self.subject.load()
        return self._base

    def release(self) -> None:
        """Frees the model's weights."""
        self._base = None

    def progress(self, label: str) -> Callable[[int, int], None] | None:
        """A callback (done, total) for a piece of work, None if nobody listens."""
        report = self._on_progress
        return (lambda done, total: report(label, done, total)) if report else None

    def remember(self, metric: Hashable, key: str, make: Callable[[], T]) -> T:
        """`make()`, called once for this model, metric and key."""
        if (metric, key) not in self._memo:
            self._memo[metric, key] = make()
        return self._memo[metric, key]

    def array(self, key: str, depends: Any, make: Callable[[], np.ndarray]) -> np.ndarray:
        """The stored array of a key, or `make()`.

        `depends` is what decides it beside the weights and the image size, as JSON can hold it. A
        metric's own key starts with its name: "drift.predictions".
        """
        self.computed.add(key)
        return self._arrays.array(key, [self.subject.image_size, depends], make)

    def rows(
        self, key: str, depends: Any, count: int, make: Callable[[int, int], np.ndarray]
    ) -> np.ndarray:
        """The same for `count` rows from `make(start, stop)`, a chunk at a time."""
        self.computed.add(key)
        return self._arrays.rows(key, [self.subject.image_size, depends], count, make)

    # ------------------------------------------------------------ embeddings by the model itself

    @cached_property
    def image_embeds(self) -> np.ndarray:
        """Unit embeddings of the rows' images, (N, D)."""
        eval_set, on_progress = self.eval_set, self.progress("embedding images")
        return self.array(
            Output.IMAGE_EMBEDS,
            [eval_set.shards_hash, list(column_of(eval_set.rows, "id")), self.subject.encoder],
            lambda: self._encoder.embed_rows(
                eval_set.shards, eval_set.rows, eval_set.evaluate.batch_size, on_progress
            ),
        )

    @cached_property
    def text_embeds(self) -> np.ndarray:
        """Unit embeddings of the distinct captions, (C, D)."""
        return self.embed_captions(Output.TEXT_EMBEDS, self.eval_set.captions)

    def embed_captions(self, key: str, captions: list[str]) -> np.ndarray:
        """Unit embeddings of captions, (n, D)."""
        from unidiff_cli.models.encoders import embed_captions

        batch_size = self.eval_set.evaluate.batch_size
        return self.array(key, captions, lambda: embed_captions(self.base, captions, batch_size))

    def embed_images(self, key: str, images: Sequence[Image], images_hash: str) -> np.ndarray:
        """Unit embeddings of images, (n, D); `images_hash` stands for their pixels."""
        batch_size = self.eval_set.evaluate.batch_size
        depends = [images_hash, self.subject.encoder]
        return self.array(key, depends, lambda: self._encoder.embed_images(images, batch_size))

    @property
    def _encoder(self) -> ImageEncoder:
        from unidiff_cli.models.encoders import encoder_of

        return encoder_of(self.base, self.subject.encoder)

    @cached_property
    def probe_image_embeds(self) -> np.ndarray:
        """Unit embeddings of the neutral probe's images, (P, D)."""
        probe = self.eval_set.probe
        return self.embed_images(Output.PROBE_IMAGE_EMBEDS, probe.images, probe.images_hash)

    @cached_property
    def probe_text_embeds(self) -> np.ndarray:
        """Unit embeddings of the neutral probe's class prompts, (K, D)."""
        return self.embed_captions(Output.PROBE_TEXT_EMBEDS, self.eval_set.probe.prompts)

    @cached_property
    def rankings(self) -> dict[str, Ranking]:
        """Retrieval both ways: images for each caption (t2i) and captions for each image (i2t)."""
        self.computed.add(Output.RANKINGS)
        pairs = self.eval_set.pairs
        return {
            "t2i": rank_answers(self.text_embeds, self.image_embeds, pairs, top=TOP),
            "i2t": rank_answers(self.image_embeds, self.text_embeds, pairs[:, ::-1], top=TOP),
        }

    # ------------------------------------------------------------ generated images

    @cached_property
    def generated_images(self) -> np.ndarray:
        """An image for each prompt, uint8 (n, H, W, 3); equal prompts and seeds for every model."""
        return self.generate_images(
            Output.GENERATED_IMAGES, self.eval_set.prompts, self.eval_set.seeds
        )

    @cached_property
    def guidance(self) -> tuple[Guidance, str]:
        """How the model's images are guided, and why: its own guidance, or the recipe's."""
        return guidance_in_force(self.eval_set.generate, resolve_base(self.subject.source)[1])

    def generate_images(self, key: str, prompts: list[str], seeds: list[int]) -> np.ndarray:
        """An image for each prompt, uint8 (n, H, W, 3)."""
        from unidiff_cli.models.sampler import generate_images

        options, report = self.eval_set.generate, self.progress("generating images")

        def make(start: int, stop: int) -> np.ndarray:
            images = generate_images(
                self.base,
                prompts[start:stop],
                seeds[start:stop],
                steps=options.steps,
                guidance=self.guidance[0],
                size=self.subject.size,
                batch_size=options.batch_size,
                on_progress=(lambda done, _: report(start + done, len(prompts)))
                if report
                else None,
            )
            return np.stack([np.asarray(image) for image in images])

        return self.rows(key, self._generation(prompts, seeds), len(prompts), make)

    def _generation(self, prompts: list[str], seeds: list[int]) -> list[Any]:
        """What generated images depend on, beside the weights and the image size."""
        guidance, size = astuple(self.guidance[0]), self.subject.size_key
        return [prompts, seeds, self.eval_set.generate.steps, *guidance, *size]

    def generated_image_features(
        self, images: np.ndarray, prompts: list[str], seeds: list[int]
    ) -> ImageFeatures:
        """Features of images (n, H, W, 3) that were generated from these prompts and seeds."""
        depends = [self.subject.image_size, self._generation(prompts, seeds)]
        return self._extract(images, depends, self._arrays)

    def _extract(self, images: Any, depends: Any, arrays: ArrayCache) -> ImageFeatures:
        eval_set = self.eval_set
        return extract_features(
            images,
            depends,
            arrays,
            eval_set.extractors,
            eval_set.scorer,
            eval_set.evaluate.batch_size,
        )

    @cached_property
    def _generated(self) -> ImageFeatures:
        return self.generated_image_features(
            self.generated_images, self.eval_set.prompts, self.eval_set.seeds
        )

    @property
    def generated_features(self) -> Mapping[str, np.ndarray]:
        """Features of the generated images by each extractor, (n, d)."""
        return self._generated.features

    @property
    def generated_embeds(self) -> np.ndarray:
        """Scorer embeddings of the generated images, unit, (n, D)."""
        return self._generated.embeds

    @property
    def prompt_embeds(self) -> np.ndarray:
        """Scorer embeddings of the prompts, unit, (n, D)."""
        return self.eval_set.prompt_embeds

    # ------------------------------------------------------------ real images

    @cached_property
    def _real(self) -> ImageFeatures:
        if self.base_outputs:
            return self.base_outputs._real
        return self.row_features(self.eval_set.real_rows, "real images")

    @property
    def real_features(self) -> Mapping[str, np.ndarray]:
        """Features of the real images by each extractor, (R, d)."""
        return self._real.features

    @property
    def real_embeds(self) -> np.ndarray:
        """Scorer embeddings of the real images, unit, (R, D)."""
        return self._real.embeds

    def row_features(self, rows: Sequence[Row], label: str) -> ImageFeatures:
        """Features of rows' images, cut to the size of generated ones; `label` is for progress.

        They do not depend on the weights: a model and its base have the same.
        """
        eval_set, subject = self.eval_set, self.subject
        images = cropped_images(
            eval_set.shards, rows, subject.size, eval_set.evaluate.batch_size, self.progress(label)
        )
        arrays = ArrayCache(eval_set.cache / "real" if eval_set.cache else None)
        depends = [eval_set.shards_hash, [row.id for row in rows], subject.image_size]
        return self._extract(images, [*depends, *subject.size_key], arrays)

    @cached_property
    def latents(self) -> np.ndarray:
        """The posterior means of the scaled latents of `denoise_rows`, (n, c, h, w)."""
        from unidiff_cli.data.batch import open_image

        eval_set = self.eval_set

        def make(start: int, stop: int) -> np.ndarray:
            base = self.base
            images = [open_image(eval_set.shards, row) for row in eval_set.denoise_rows[start:stop]]
            posterior = base.encode_latents(base.diffusion_pixels(images, self.subject.size))
            return posterior.mean.float().cpu().numpy()

        rows = eval_set.denoise_rows
        depends = [eval_set.shards_hash, [row.id for row in rows], *self.subject.size_key]
        return self.rows(Output.LATENTS, depends, len(rows), make)
