"""EvalSet: the images, captions and prompts that every model is measured on."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np

from unidiff_cli.config.schema import Evaluate, Generate, Recipe
from unidiff_cli.data import attributes
from unidiff_cli.data.caption_length import divide_captions
from unidiff_cli.data.captions import same_text
from unidiff_cli.data.row import Row
from unidiff_cli.data.rows import column_of, taken
from unidiff_cli.data.token_window import TokenWindow
from unidiff_cli.evaluation.extractors import Extractor, load_extractors, scorer
from unidiff_cli.evaluation.probe import ProbeSet
from unidiff_cli.evaluation.ranking import distinct_images

if TYPE_CHECKING:
    from unidiff_cli.data.shards import Shards
    from unidiff_cli.evaluation.extractors.nano_scorer import Scorer

# Real images that are compared with; more would not change a figure as it is printed.
MAX_REAL = 10_000
# Held-out images that the denoiser is measured on.
MAX_DENOISED = 512


class EvalSet:
    """The held-out rows, their captions, the prompts, the real images and the probe.

    N rows have C distinct captions. Row i of `generated_rows` gives prompt i of n.
    """

    def __init__(
        self,
        shards: Shards,
        rows: Sequence[Row],
        evaluate: Evaluate,
        generate: Generate,
        cache: Path | None = None,
        fold: int = 0,
        window: TokenWindow | None = None,
    ) -> None:
        """`cache` is the folder where outputs are stored, `fold` seeds the bootstrap.

        `window` is what the models read of a caption: captions that are equal there are equal.
        """
        self.window = window
        self.shards, self.rows, self.evaluate, self.generate = shards, rows, evaluate, generate
        self.cache, self.fold = cache, fold
        self.order = np.random.default_rng(evaluate.seed).permutation(len(rows))

    @classmethod
    def of(
        cls,
        shards: Shards,
        recipe: Recipe,
        window: TokenWindow,
        cache: Path | None,
        fold: int = 0,
    ) -> Self:
        """What a recipe measures models on, whose text towers read `window` of a caption."""
        rows: Sequence[Row] = shards.rows(recipe.evaluate.split)
        if recipe.train.long_captions == "split":
            rows = divide_captions(rows, window)
        return cls(shards, rows, recipe.evaluate, recipe.generate, cache, fold, window)

    @property
    def shards_hash(self) -> str:
        """The hash of the shards' receipt: what depends on images is stored by it."""
        return self.shards.receipt.hash

    # ------------------------------------------------------------ captions

    def same(self, caption: str) -> str:
        """What equal captions have in common."""
        return self.window.same(caption) if self.window else same_text(caption)

    @cached_property
    def _captions(self) -> dict[str, str]:
        """What equal captions have in common -> the first spelling."""
        spellings: dict[str, str] = {}
        for captions in column_of(self.rows, "captions"):
            for caption in captions:
                spellings.setdefault(self.same(caption), caption)
        return spellings

    @property
    def captions(self) -> list[str]:
        """The distinct captions, C of them."""
        return list(self._captions.values())

    @cached_property
    def pairs(self) -> np.ndarray:
        """(caption, row) of each caption of a row, int (M, 2), distinct, by row."""
        number = {text: c for c, text in enumerate(self._captions)}
        texts = column_of(self.rows, "captions")
        captions_of = ([number[self.same(c)] for c in captions] for captions in texts)
        return np.array(
            [(c, n) for n, captions in enumerate(captions_of) for c in dict.fromkeys(captions)],
            np.int64,
        ).reshape(-1, 2)

    @cached_property
    def caption_of(self) -> np.ndarray:
        """The number of each row's first caption, (N,)."""
        return self.pairs[np.unique(self.pairs[:, 1], return_index=True)[1], 0]

    @cached_property
    def class_columns(self) -> dict[str, list[str | None]]:
        """The attributes that name kinds, by the types that prepare found: each row's class."""
        known = attributes.from_figures(self.shards.receipt.figures)
        return attributes.class_columns(column_of(self.rows, "attributes"), known)

    def class_column(self, wanted: Sequence[str]) -> list[str | None] | None:
        """The class column whose name has one of the wanted words; None where none has one."""
        name = attributes.column_for(self.class_columns, wanted)
        return None if name is None else self.class_columns[name]

    @property
    def contents(self) -> list[str]:
        """What tells images apart: their bytes."""
        names = zip(column_of(self.rows, "content"), column_of(self.rows, "id"), strict=True)
        return [content or name for content, name in names]

    @cached_property
    def distinct_images(self) -> np.ndarray:
        """The numbers of the rows, one for each image that differs byte by byte."""
        return distinct_images(self.contents)

    @cached_property
    def groups(self) -> list[str]:
        """Each row's product or duplicate group; rows of a group succeed and fail together."""
        return list(column_of(self.rows, "group"))

    @cached_property
    def caption_groups(self) -> list[str]:
        """The group of the first row of each caption, (C,)."""
        first = np.unique(self.pairs[:, 0], return_index=True)[1]
        return [self.groups[self.pairs[m, 1]] for m in first]

    # ------------------------------------------------------------ images to generate

    @property
    def generated_numbers(self) -> list[int]:
        """The number of the row whose caption is prompt i: in a seeded order, round and round."""
        return [int(self.order[i % len(self.rows)]) for i in range(self.evaluate.images)]

    @property
    def generated_rows(self) -> list[Row]:
        """The row whose caption is prompt i."""
        return list(taken(self.rows, self.generated_numbers))

    @property
    def prompts(self) -> list[str]:
        """A caption for each image; each round over the split takes the rows' next captions."""
        rounds = (i // len(self.rows) for i in range(self.evaluate.images))
        return [
            row.captions[number % len(row.captions)]
            for row, number in zip(self.generated_rows, rounds, strict=True)
        ]

    @property
    def seeds(self) -> list[int]:
        """The seed of each image to generate."""
        return [self.evaluate.seed + i for i in range(self.evaluate.images)]

    @cached_property
    def prompt_embeds(self) -> np.ndarray:
        """Unit embeddings of the prompts by the scorer, (n, D)."""
        return self.scorer.embed_captions(self.prompts)

    @property
    def scorer(self) -> Scorer:
        """The frozen CLIP that judges generated images."""
        return scorer(self.evaluate.scorer)

    # ------------------------------------------------------------ real images

    @cached_property
    def extractors(self) -> dict[str, Extractor]:
        """What FID, KID and precision and recall take their features from, by name."""
        return load_extractors(self.evaluate, self.cache)

    @cached_property
    def real_rows(self) -> list[Row]:
        """The rows that generated images are compared with; real_rows[i % N] gave prompt i."""
        return list(taken(self.rows, self.order[: max(MAX_REAL, self.evaluate.images)]))

    @property
    def image_groups(self) -> tuple[list[str], list[str]]:
        """The groups of the real rows and of the rows that gave the prompts, for `both_sides`."""
        return [row.group for row in self.real_rows], [row.group for row in self.generated_rows]

    @property
    def generated_group_count(self) -> int:
        """How many groups the generated images belong to."""
        return len(set(self.image_groups[1]))

    @cached_property
    def train_rows(self) -> Sequence[Row]:
        """Every row of the training split."""
        return self.shards.rows("train")

    @cached_property
    def training_sample(self) -> list[Row]:
        """The training rows that near copies are searched in, at most MAX_REAL of them."""
        order = np.random.default_rng(self.evaluate.seed).permutation(len(self.train_rows))
        return list(taken(self.train_rows, order[:MAX_REAL]))

    @cached_property
    def denoise_rows(self) -> list[Row]:
        """The rows that the denoiser is measured on, at most MAX_DENOISED in the seeded order."""
        return list(taken(self.rows, self.order[:MAX_DENOISED]))

    # ------------------------------------------------------------ general knowledge

    @cached_property
    def probe(self) -> ProbeSet:
        """Everyday objects that no shop of clothes shows."""
        return ProbeSet.everyday_objects()

    @property
    def photos(self) -> ProbeSet | None:
        """The photos of known classes that `evaluate.probe` names."""
        return ProbeSet.from_catalogue(self.evaluate.probe) if self.evaluate.probe else None
