"""Below which score the best hit of an image is no good match: the validation split says so.

A score says nothing by itself: cosines of one model lie near .9 and of another near .3. Validation
images whose product is there, in another image, tell which scores a good match has. For texts such
a bound was measured to be worth nothing; what `words` misses is said instead
(docs/decisions/2026-11-27-no-good-match.md).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b
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
# Rows that are compared at a time with all of those.
BLOCK = 4_096


@dataclass(frozen=True)
class Threshold:
    """The best hit's score that 95 % of `images` validation images reach whose product is there.

    `score` is None where there are fewer than 20 of them.
    """

    score: float | None
    images: int


def calibrate(rows: Sequence[Row], embeddings: np.ndarray) -> Threshold:
    """The threshold of an index's rows and their unit embeddings (N, D)."""
    names = zip(column_of(rows, "content"), column_of(rows, "id"), strict=True)
    contents = _numbers(content or name for content, name in names)
    groups = np.unique(_numbers(column_of(rows, "group")), return_inverse=True)[1]
    # A product of several contents has another image of each of its images.
    least, most = np.full(len(rows), ~np.uint64(0)), np.zeros(len(rows), np.uint64)
    np.minimum.at(least, groups, contents)
    np.maximum.at(most, groups, contents)
    splits = column_of(rows, "split")
    asking = np.array([n for n, split in enumerate(splits) if split == "val"], np.int64)
    if len(asking) > MOST:
        asking = np.sort(np.random.default_rng(0).choice(asking, MOST, replace=False))
    asking = asking[least[groups[asking]] < most[groups[asking]]]
    if len(asking) < LEAST:
        return Threshold(None, len(asking))
    best = _best_of_others(embeddings, contents, asking)
    return Threshold(float(np.quantile(best, WRONG)), len(asking))


def _numbers(texts: Iterable[str]) -> np.ndarray:
    """(N,) uint64: equal for equal texts, and hardly ever for others."""
    digests = (blake2b(text.encode(), digest_size=8).digest() for text in texts)
    return np.frombuffer(b"".join(digests), np.uint64)


def _best_of_others(embeddings: np.ndarray, contents: np.ndarray, asking: np.ndarray) -> np.ndarray:
    """The best score of each asking row (A,) among images of another content, (A,)."""
    queries, own = embeddings[asking], contents[asking]
    best = np.full(len(asking), -1, np.float32)
    for start in range(0, len(embeddings), BLOCK):
        scores = embeddings[start : start + BLOCK] @ queries.T
        scores[contents[start : start + BLOCK, None] == own] = -1
        best = np.maximum(best, scores.max(axis=0))
    return best


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
