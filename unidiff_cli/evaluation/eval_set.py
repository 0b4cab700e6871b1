"""TODO docstring."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unidiff_cli.config.schema import Evaluate, Generate
from unidiff_cli.data.captions import same_text
from unidiff_cli.evaluation.extractors import scorer

if TYPE_CHECKING:
    from unidiff_cli.data.shards import Row, Shards
from unidiff_cli.evaluation.array_cache import ArrayCache
from unidiff_cli.evaluation.probe import ProbeSet

MOST_REAL = 10_000  # real images compared with; more would not change a figure we print
MOST_DENOISED, DENOISE_STRATA = (
    512,
    4,
)  # held-out images the denoiser is asked about, timesteps of each


class EvalSet:
    """What every model is measured on: rows it did not train on, the prompts, the real images and the probe."""

    def __init__(
        self,
        shards: Shards,
        rows: list[Row],
        evaluate: Evaluate,
        generate: Generate,
        cache: Path | None = None,
        stamp: str = "",
        fold: int = 0,
    ) -> None:
        """`stamp` is the shards' receipt hash, which decides what `cache` may give back; each `fold` is resampled by
        numbers of its own."""
        self.shards, self.rows, self.evaluate, self.generate = shards, rows, evaluate, generate
        self.cache, self.stamp, self.fold = cache, stamp, fold
        self.order = np.random.default_rng(evaluate.seed).permutation(len(rows))

    # ------------------------------------------------------------ captions

    @cached_property
    def _captions(self) -> dict[str, str]:
        """What equal captions have in common -> the spelling found first."""
        found: dict[str, str] = {}
        for row in self.rows:
            for caption in row.captions:
                found.setdefault(same_text(caption), caption)
        return found

    @property
    def captions(self) -> list[str]:
        """The distinct captions, C of them."""
        return list(self._captions.values())

    @cached_property
    def pairs(self) -> np.ndarray:
        """(caption, row) of each caption a row has, int (M, 2), distinct, by row."""
        place = {text: c for c, text in enumerate(self._captions)}
        each = ([place[same_text(c)] for c in row.captions] for row in self.rows)
        return np.array(
            [(c, n) for n, own in enumerate(each) for c in dict.fromkeys(own)], np.int64
        ).reshape(-1, 2)

    @cached_property
    def own(self) -> np.ndarray:
        """Each row's first caption, (N,)."""
        return self.pairs[np.unique(self.pairs[:, 1], return_index=True)[1], 0]

    @cached_property
    def groups(self) -> list[str]:
        """Each row's product or duplicate group, which succeed and fail together."""
        return [row.group for row in self.rows]

    @cached_property
    def caption_groups(self) -> list[str]:
        """The group of the first row that has each caption, (C,)."""
        first = np.unique(self.pairs[:, 0], return_index=True)[1]
        return [self.groups[self.pairs[m, 1]] for m in first]

    # ------------------------------------------------------------ what is drawn

    @property
    def drawn_rows(self) -> list[Row]:
        """The row whose caption is prompt i: the split in a seeded order, round and round."""
        return [self.rows[self.order[i % len(self.rows)]] for i in range(self.evaluate.images)]

    @property
    def prompts(self) -> list[str]:
        """A caption an image; each lap over the split takes the rows' next captions."""
        laps = (i // len(self.rows) for i in range(self.evaluate.images))
        return [
            row.captions[lap % len(row.captions)]
            for row, lap in zip(self.drawn_rows, laps, strict=True)
        ]

    @property
    def seeds(self) -> list[int]:
        return [self.evaluate.seed + i for i in range(self.evaluate.images)]

    @cached_property
    def prompt_embeds(self) -> np.ndarray:
        """Unit embeddings of the prompts by the scorer, (n, D)."""
        return scorer().embed_captions(self.prompts)

    # ------------------------------------------------------------ who looks at images

    @cached_property
    def extractor(self) -> Any:
        """Whose features FID, KID and precision and recall are taken over: Inception where it is given, else the scorer."""
        if self.evaluate.inception:
            from unidiff_cli.evaluation.extractors.inception import Inception

            return Inception.read(Path(self.evaluate.inception))
        return scorer()

    def seen(
        self, images: Iterable[Any], depends: Any, kept: ArrayCache
    ) -> tuple[np.ndarray, np.ndarray]:
        """Extractor features (n, d) and scorer embeddings (n, D) of RGB images."""
        eye, judge, size = self.extractor, scorer(), self.evaluate.batch_size
        made: dict[str, np.ndarray] = {}

        def make(what: str) -> np.ndarray:
            if not made:
                left = iter(images)
                parts: list[tuple[np.ndarray, np.ndarray]] = []
                while some := list(islice(left, size)):
                    features, embeds = judge.embed_images(some)
                    parts.append((features if eye is judge else eye.features_of(some), embeds))
                made["features"], made["embeds"] = (
                    np.concatenate(each) for each in zip(*parts, strict=True)
                )
            return made[what]

        return (
            kept.array("features", [depends, eye.fingerprint], lambda: make("features")),
            kept.array("embeds", [depends, judge.fingerprint], lambda: make("embeds")),
        )

    # ------------------------------------------------------------ real images

    @cached_property
    def real_rows(self) -> list[Row]:
        """The rows the drawn images are compared with; real_rows[i % N] gave prompt i."""
        most = max(MOST_REAL, self.evaluate.images)
        return [self.rows[n] for n in self.order[:most]]

    @property
    def image_groups(self) -> tuple[list[str], list[str]]:
        """The groups of the real rows and of the rows whose captions are drawn, for `both_sides`."""
        return [row.group for row in self.real_rows], [row.group for row in self.drawn_rows]

    @property
    def products_drawn(self) -> int:
        """How many groups the drawn images belong to."""
        return len(set(self.image_groups[1]))

    @cached_property
    def trained(self) -> list[Row]:
        """Every row of the training split."""
        return self.shards.rows("train")

    @cached_property
    def training_rows(self) -> list[Row]:
        """What near copies are looked for in, at most MOST_REAL of them."""
        order = np.random.default_rng(self.evaluate.seed).permutation(len(self.trained))[:MOST_REAL]
        return [self.trained[n] for n in order]

    def looked_at(
        self, rows: list[Row], side: int, told: Callable[[int, int], None] | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Features and embeddings of rows' images, cropped as a base of that side crops its own."""
        from unidiff_cli.data.batch import open_image
        from unidiff_cli.models.clip import pixels, square

        def images() -> Iterable[np.ndarray]:
            size, crop = self.evaluate.batch_size, square(side)
            for start in range(0, len(rows), size):
                some = [open_image(self.shards, row) for row in rows[start : start + size]]
                yield from pixels(crop, some).permute(0, 2, 3, 1).numpy()  # (S, S, 3) each
                if told:
                    told(min(start + size, len(rows)), len(rows))

        kept = ArrayCache(self.cache / "real" if self.cache else None)
        return self.seen(images(), [self.stamp, [row.id for row in rows], side], kept)

    @cached_property
    def probe(self) -> ProbeSet:
        return ProbeSet.drawn()

    @property
    def photos(self) -> ProbeSet | None:
        """The photos of known classes that `evaluate.probe` names."""
        return ProbeSet.photographed(self.evaluate.probe) if self.evaluate.probe else None

    @cached_property
    def denoised_rows(self) -> list[Row]:
        """The rows whose images the denoiser is asked about, at most MOST_DENOISED in the seeded order."""
        return [self.rows[n] for n in self.order[:MOST_DENOISED]]
