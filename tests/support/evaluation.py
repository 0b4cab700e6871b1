"""An eval set of rows without images, and the outputs of a model that never ran."""

from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from unidiff_cli.config.schema import Evaluate, Generate
from unidiff_cli.evaluation.eval_set import EvalSet
from unidiff_cli.evaluation.image_features import ImageFeatures
from unidiff_cli.evaluation.model_under_test import ModelUnderTest
from unidiff_cli.evaluation.outputs import ModelOutputs


def normal(n, d=16, seed=0, shift=0.0, dtype=np.float32):
    """Normal numbers (n, d)."""
    return (np.random.default_rng(seed).standard_normal((n, d)) + shift).astype(dtype)


def unit(x):
    """Rows of length 1."""
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def rows_of(
    *captions: str | tuple[str, ...], attributes: Sequence[Mapping[str, Any]] | None = None
) -> list[Any]:
    """A row for each caption or tuple of captions, each its own group."""
    return [
        SimpleNamespace(
            id=str(n),
            group=str(n),
            content="",
            attributes=attributes[n] if attributes else {},
            captions=each if isinstance(each, tuple) else (each,),
        )
        for n, each in enumerate(captions)
    ]


def eval_set_of(rows: list[Any], train: Sequence[Any] = (), **evaluate: Any) -> EvalSet:
    """An eval set of rows whose images do not exist."""
    shards: Any = SimpleNamespace(
        receipt=SimpleNamespace(hash="shards", figures={}), rows=lambda split: list(train)
    )
    return EvalSet(shards, rows, Evaluate(**evaluate), Generate())


class GivenOutputs(ModelOutputs):
    """Outputs that a test gives, by key, in place of a model's."""

    def __init__(
        self,
        eval_set: EvalSet,
        arrays: Mapping[str, np.ndarray] = {},  # noqa: B006
        generated: ImageFeatures | None = None,
        real: ImageFeatures | None = None,
    ) -> None:
        super().__init__(ModelUnderTest("tuned", "nano", "base", 32, "hash"), eval_set)
        self.arrays = arrays
        if generated:
            self._generated = generated
        if real:
            self._real = real

    def array(self, key: str, depends: Any, make: Callable[[], np.ndarray]) -> np.ndarray:
        return self.arrays[key] if key in self.arrays else make()

    def rows(
        self, key: str, depends: Any, count: int, make: Callable[[int, int], np.ndarray]
    ) -> np.ndarray:
        return self.arrays[key] if key in self.arrays else make(0, count)

    def row_features(self, rows: Sequence[Any], label: str) -> ImageFeatures:
        embeds = self.arrays[label][: len(rows)]
        return ImageFeatures(dict.fromkeys(self.eval_set.evaluate.extractors, embeds), embeds)
