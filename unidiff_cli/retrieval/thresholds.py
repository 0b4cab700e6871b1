"""Below which score the best hit of an image is no good match: the validation split says so.

A score says nothing by itself: cosines of one model lie near .9 and of another near .3. Validation
images whose product is there, in another image, tell which scores a good match has. For texts such
a bound was measured to be worth nothing; what `words` misses is said instead
(docs/decisions/2026-11-27-no-good-match.md).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from unidiff_cli.data.row import Row
from unidiff_cli.data.rows import column_of
from unidiff_cli.errors import Damaged
from unidiff_cli.system import first_line

FILE = "threshold.json"
# The share of good matches that may lie below the threshold.
WRONG = 0.05
# Validation images that are needed to find it, and that are enough.
LEAST, MOST = 20, 1_000


@dataclass(frozen=True)
class Threshold:
    """The best hit's score that 95 % of `images` validation images reach whose product is there.

    `score` is None where there are fewer than 20 of them.
    """

    score: float | None
    images: int


def calibrate(rows: Sequence[Row], embeddings: np.ndarray) -> Threshold:
    """The threshold of an index's rows and their unit embeddings (N, D)."""
    groups, names = np.array(list(column_of(rows, "group")), object), column_of(rows, "id")
    pairs = zip(column_of(rows, "content"), names, strict=True)
    contents = np.array([content or name for content, name in pairs], object)
    splits = column_of(rows, "split")
    asking = np.array([n for n, split in enumerate(splits) if split == "val"], np.int64)
    if len(asking) > MOST:
        asking = np.sort(np.random.default_rng(0).choice(asking, MOST, replace=False))
    best = []
    for number in asking:
        others = contents != contents[number]
        if (others & (groups == groups[number])).any():
            best.append(float(np.max(embeddings @ embeddings[number], where=others, initial=-1)))
    score = float(np.quantile(best, WRONG)) if len(best) >= LEAST else None
    return Threshold(score, len(best))


def write_threshold(folder: Path, threshold: Threshold) -> None:
    """Keeps the threshold beside the embeddings that it is for."""
    (folder / FILE).write_text(json.dumps(asdict(threshold)), encoding="utf-8")


def read_threshold(folder: Path) -> Threshold:
    """The threshold that `write_threshold` wrote. Raises Damaged for any other file."""
    try:
        return Threshold(**json.loads((folder / FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as problem:
        raise Damaged(
            f"{folder / FILE} is not what was written: {first_line(problem)}.",
            "Run: unidiff index --force",
        ) from problem
