"""Metrics: each is one file, a pydantic model whose `compute` reads Evidence and gives back named figures.

    class Diversity(Metric):                      # metrics/diversity.py is `diversity` in a recipe
        reads = frozenset({"generated_features"})
        figures = {"diversity": Figure("diversity", "pictures", better="higher")}
        def compute(self, evidence): ...          # -> {"diversity": 0.7}

The numbers come from pure functions of arrays in the same file. A metric that is not asked for is not computed,
and what only it reads is not made either. Imports of torch stay inside functions.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from functools import cache, cached_property
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

import numpy as np

from ..captions import fold
from ..recipe import Evaluate, Generate, Section

if TYPE_CHECKING:
    from PIL.Image import Image

    from ..bases.stable_diffusion import StableDiffusion as Base
    from ..shards import Row, Shards
    from ._scorer import Scorer

MOST_REAL = 10_000  # real pictures compared with; more would not change a figure we print
Progress = Callable[[str, int, int], None]


@cache
def scorer() -> Scorer:
    """The independent frozen scorer that comes with unidiff, loaded once. Raises EnvironmentProblem."""
    import torch

    from . import _scorer

    return _scorer.Scorer.read(_scorer.FOLDER).to("cuda" if torch.cuda.is_available() else "cpu")


def same(caption: str) -> str:
    """What equal captions have in common: they may differ in case and blanks."""
    return fold(caption).casefold()


class Figure(NamedTuple):
    """How a figure is read: its name on paper, which side of the model it judges, and which way is better."""

    label: str
    judges: Literal["retrieval", "pictures"]
    better: Literal["higher", "lower"]
    percent: bool = False  # the figure is a share, shown in %
    headline: bool = True  # counts in the verdict


class Metric(Section):
    """One way to measure a model. Every dict below is keyed by the names in `figures`."""

    reads: ClassVar[frozenset[str]]  # the names of Evidence it looks at
    figures: ClassVar[Mapping[str, Figure]]

    @abstractmethod
    def compute(self, evidence: Evidence) -> dict[str, float]:
        """The figures of one model."""

    def refuse(self, held: HeldOut) -> None:
        """Raises WorkError, before anything is drawn, where the figures would mislead."""

    def references(self, evidence: Evidence) -> dict[str, dict[str, float]]:
        """What to hold the figures against: `chance` and `real` (real pictures in place of drawn ones)."""
        return {}

    def margins(self, evidence: Evidence) -> dict[str, float]:
        """Roughly the difference of two such figures that chance alone makes (2 s.d.); no significance test."""
        return {}

    def notes(self, evidence: Evidence) -> list[str]:
        """The figures' own warnings, in whole sentences."""
        return []


class HeldOut:
    """What both models are measured on: rows they did not train on, the prompts and the real pictures."""

    def __init__(self, shards: Shards, rows: list[Row], evaluate: Evaluate, generate: Generate) -> None:
        self.shards, self.rows, self.evaluate, self.generate = shards, rows, evaluate, generate
        self._order = np.random.default_rng(evaluate.seed).permutation(len(rows))
        self._real: tuple[np.ndarray, np.ndarray] | None = None

    # ------------------------------------------------------------ captions

    @cached_property
    def _captions(self) -> dict[str, str]:
        """What equal captions have in common -> the spelling found first."""
        found: dict[str, str] = {}
        for row in self.rows:
            for caption in row.captions:
                found.setdefault(same(caption), caption)
        return found

    @property
    def captions(self) -> list[str]:
        """The distinct captions, C of them."""
        return list(self._captions.values())

    @cached_property
    def relevant(self) -> np.ndarray:
        """Whether row n has caption c, bool (C, N)."""
        place = {text: c for c, text in enumerate(self._captions)}
        found = np.zeros((len(place), len(self.rows)), bool)
        for n, row in enumerate(self.rows):
            for caption in row.captions:
                found[place[same(caption)], n] = True
        return found

    # ------------------------------------------------------------ what is drawn

    @property
    def drawn_rows(self) -> list[Row]:
        """The row whose caption is prompt i: the split in a seeded order, round and round."""
        return [self.rows[self._order[i % len(self.rows)]] for i in range(self.evaluate.images)]

    @property
    def prompts(self) -> list[str]:
        """A caption a picture; each lap over the split takes the rows' next captions."""
        laps = (i // len(self.rows) for i in range(self.evaluate.images))
        return [row.captions[lap % len(row.captions)] for row, lap in zip(self.drawn_rows, laps, strict=True)]

    @property
    def seeds(self) -> list[int]:
        return [self.evaluate.seed + i for i in range(self.evaluate.images)]

    @cached_property
    def prompt_embeds(self) -> np.ndarray:
        """Unit embeddings of the prompts by the scorer, (n, D)."""
        return scorer().embed_captions(self.prompts)

    # ------------------------------------------------------------ real pictures

    @cached_property
    def real_rows(self) -> list[Row]:
        """The rows the drawn pictures are compared with; real_rows[i % N] gave prompt i."""
        most = max(MOST_REAL, self.evaluate.images)
        return [self.rows[n] for n in self._order[:most]]

    def real(self, base: Base, on_progress: Progress | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Scorer features (R, d) and unit embeddings (R, D), cropped as the base's own pictures; made once."""
        if self._real is None:
            from ..batches import picture

            parts, size = [], self.evaluate.batch_size
            for start in range(0, len(self.real_rows), size):
                some = [picture(self.shards, row) for row in self.real_rows[start : start + size]]
                pixels = base.draw_pixels(some).permute(0, 2, 3, 1).cpu().numpy()  # (B, S, S, 3)
                parts.append(scorer().embed_pictures(list(pixels)))
                if on_progress:
                    on_progress("real pictures", min(start + size, len(self.real_rows)), len(self.real_rows))
            self._real = np.concatenate([f for f, _ in parts]), np.concatenate([e for _, e in parts])
        return self._real


class Evidence:
    """Everything metrics may look at for one model, each computed once, on first use."""

    def __init__(self, base: Base, held: HeldOut, on_progress: Progress | None = None) -> None:
        self.base, self.held, self.on_progress = base, held, on_progress

    def _progress(self, what: str) -> Callable[[int, int], None] | None:
        report = self.on_progress
        return (lambda done, total: report(what, done, total)) if report else None

    # ------------------------------------------------------------ retrieval, by the model itself

    @cached_property
    def image_embeds(self) -> np.ndarray:
        """Unit embeddings of the rows' pictures, (N, D)."""
        from ..vectors import embed_pictures

        held, told = self.held, self._progress("embedding pictures")
        return embed_pictures(self.base, held.shards, held.rows, held.evaluate.batch_size, told)

    @cached_property
    def text_embeds(self) -> np.ndarray:
        """Unit embeddings of the distinct captions, (C, D)."""
        from ..vectors import embed_captions

        return embed_captions(self.base, self.held.captions, self.held.evaluate.batch_size)

    @cached_property
    def similarity(self) -> np.ndarray:
        """Cosines (C, N)."""
        return self.text_embeds @ self.image_embeds.T

    # ------------------------------------------------------------ drawn pictures, as the scorer sees them

    @cached_property
    def generated(self) -> list[Image]:
        """A picture a prompt; the same prompts and seeds for every model."""
        from ..sampling import sample

        held, options = self.held, self.held.generate
        return list(
            sample(
                self.base,
                held.prompts,
                held.seeds,
                steps=options.steps,
                guidance=options.guidance,
                batch_size=options.batch_size,
                on_progress=self._progress("drawing"),
            )  # fmt: skip
        )

    @cached_property
    def _seen(self) -> tuple[np.ndarray, np.ndarray]:
        return scorer().embed_pictures(self.generated, self.held.evaluate.batch_size)

    @property
    def generated_features(self) -> np.ndarray:
        """Scorer features of the drawn pictures, (n, d)."""
        return self._seen[0]

    @property
    def generated_embeds(self) -> np.ndarray:
        """Scorer embeddings of the drawn pictures, unit, (n, D)."""
        return self._seen[1]

    @property
    def real_features(self) -> np.ndarray:
        """Scorer features of the real pictures, (R, d)."""
        return self.held.real(self.base, self.on_progress)[0]

    @property
    def real_embeds(self) -> np.ndarray:
        """Scorer embeddings of the real pictures, unit, (R, D)."""
        return self.held.real(self.base, self.on_progress)[1]

    @property
    def prompt_embeds(self) -> np.ndarray:
        """Scorer embeddings of the prompts, unit, (n, D)."""
        return self.held.prompt_embeds
