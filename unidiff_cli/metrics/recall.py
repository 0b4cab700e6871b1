"""Retrieval recall: how often the right answer is among the first k, both ways, equal captions counted as right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import comb, sqrt
from typing import ClassVar

import numpy as np

from . import Evidence, Figure, Metric, same

KS = (1, 5, 10)
WAYS = {"t2i": "text → picture", "i2t": "picture → text"}


def ranks(similarity: np.ndarray, relevant: np.ndarray) -> np.ndarray:
    """How many wrong answers come before the best right one, int64 (Q,), for scores and rightness (Q, N).

    Of equal scores the wrong ones come first, so a model that gives everything one score finds nothing, not
    everything. A score that is no number is the worst. A query without a right answer ranks last of all.
    """
    score = np.where(np.isfinite(similarity), similarity, -np.inf)
    best = np.where(relevant, score, -np.inf).max(axis=1, keepdims=True)
    before = ((score >= best) & ~relevant).sum(axis=1)
    return np.where(relevant.any(axis=1), before, np.iinfo(np.int64).max)


def recall(
    similarity: np.ndarray, relevant: np.ndarray, ks: Sequence[int] = KS, weights: np.ndarray | None = None
) -> dict[int, float]:
    """R@k: the share of queries (rows of (Q, N)) with a right answer among the k best, by weight of each query."""
    rank = ranks(similarity, relevant)
    return {k: float(np.average(rank < k, weights=weights)) for k in ks}


def chance(
    relevant: np.ndarray, ks: Sequence[int] = KS, weights: np.ndarray | None = None
) -> dict[int, float]:
    """R@k of a random order, exactly: 1 − C(N−r, k)/C(N, k) for a query with r right answers of N."""
    n, right = relevant.shape[1], relevant.sum(axis=1)
    missed = {(r, k): comb(n - r, min(k, n)) / comb(n, min(k, n)) for r in set(right.tolist()) for k in ks}
    return {k: float(np.average([1 - missed[r, k] for r in right.tolist()], weights=weights)) for k in ks}


def both_ways(similarity: np.ndarray, relevant: np.ndarray) -> dict[str, float]:
    """r1_t2i … r10_i2t for cosines and rightness (C, N) of C distinct captions and N pictures.

    Cosines are taken to 6 decimals: what differs by less is float32's rounding, and a tie.
    """
    score = np.round(similarity, 6)
    found = {"t2i": recall(score, relevant, weights=relevant.sum(axis=1)), "i2t": recall(score.T, relevant.T)}
    return {f"r{k}_{way}": found[way][k] for way in WAYS for k in KS}


def recall_both_ways(images: np.ndarray, texts: np.ndarray, captions: Sequence[str]) -> dict[str, float]:
    """The same for a picture and a caption a row: unit vectors (N, D), (N, D) and the N captions."""
    keys = [same(caption) for caption in captions]
    first = [keys.index(key) for key in dict.fromkeys(keys)]  # the C rows where a caption is met first
    relevant = np.array([[key == keys[c] for key in keys] for c in first])
    return both_ways(texts[first] @ images.T, relevant)


class Recall(Metric):
    """R@1, R@5 and R@10 over the held-out split.

    Every row is a query both ways. Text → picture: each of a row's captions asks for a picture that has an
    equal caption. Picture → text: the list holds each distinct caption once, so that repeats do not crowd the
    first k. Captions are equal when they are the same but for case and blanks.
    """

    reads: ClassVar[frozenset[str]] = frozenset({"image_embeds", "text_embeds"})
    figures: ClassVar[Mapping[str, Figure]] = {
        f"r{k}_{way}": Figure(f"R@{k} {words}", "retrieval", "higher", percent=True, headline=k == 1)
        for way, words in WAYS.items()
        for k in KS
    }

    def compute(self, evidence: Evidence) -> dict[str, float]:
        return both_ways(evidence.similarity, evidence.held.relevant)

    def references(self, evidence: Evidence) -> dict[str, dict[str, float]]:
        relevant = evidence.held.relevant
        level = {"t2i": chance(relevant, weights=relevant.sum(axis=1)), "i2t": chance(relevant.T)}
        return {"chance": {f"r{k}_{way}": level[way][k] for way in WAYS for k in KS}}

    def margins(self, evidence: Evidence) -> dict[str, float]:
        # Pictures of one caption succeed together, so the captions are what was sampled. (x+1)/(n+2): 0 % and
        # 100 % of few queries are not certain.
        n = len(evidence.held.captions)
        shares = {key: (value * n + 1) / (n + 2) for key, value in self.compute(evidence).items()}
        return {key: 2 * sqrt(2 * p * (1 - p) / n) for key, p in shares.items()}

    def notes(self, evidence: Evidence) -> list[str]:
        rows, texts = len(evidence.held.rows), len(evidence.held.captions)
        said = [
            f"{rows:,} pictures with {texts:,} distinct captions; equal captions count as right, ties against the model."
        ]
        if texts < 200:
            said.append(f"One caption more or less moves a figure by about {100 / texts:.1f} points.")
        guessed = chance(evidence.held.relevant.T)[10]
        if guessed > 0.2:
            said.append(f"So few captions that a random order has R@10 {100 * guessed:.0f} %: look at R@1.")
        return said
