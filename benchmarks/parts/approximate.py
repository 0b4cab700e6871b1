"""Approximate search beside exact search: time, recall, filters, and what building takes."""

import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.measurement import in_turns, peak_growth, ratio, seconds
from benchmarks.parts.filters import FILTERS, write_catalogue
from benchmarks.parts.nearest import ROUNDING, catalogue, in_double
from unidiff_cli.retrieval.embedding_file import map_embeddings
from unidiff_cli.retrieval.exact import nearest_rows
from unidiff_cli.retrieval.indexes.ivf import FILE, Ivf
from unidiff_cli.retrieval.items import Items
from unidiff_cli.retrieval.recall import Questions
from unidiff_cli.retrieval.where import mask_of

# How far captions lie from images, and how much of them is of the image: as in CLIP, a caption's
# cosine with its image is about 0.3.
GAP, SHARE = 2.0, 1.0


@dataclass(frozen=True)
class Approximate:
    """k nearest of `rows` embeddings by an approximate index that is written, and opened again."""

    rows: int = 1_000_000
    dimension: int = 512
    batches: tuple[int, ...] = (1, 16, 256)
    k: int = 10
    rounds: int = 9
    # Queries of either kind that set the cells, and others that measure recall in double.
    queries: int = 512
    checked: int = 200

    def measure(self) -> dict[str, float]:
        """Seconds, MB, recall, and ratios to exact search and to search without a filter."""
        embeddings, images = catalogue(self.rows, self.dimension, self.queries + self.checked)
        captions = captions_near(images)
        questions = [
            Questions.ask(partial(nearest_rows, embeddings), queries[: self.queries])
            for queries in (images, captions)
        ]
        asked = {"images": images[self.queries :], "captions": captions[self.queries :]}
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            figures: dict[str, float] = {"rows": self.rows}
            index = Ivf()
            grown, built, _ = peak_growth(lambda: index.build(embeddings))
            figures |= {"build_seconds": built, "build_mb": grown}
            figures["calibrate_seconds"] = seconds(lambda: index.calibrate(questions))[0]
            figures["save_seconds"] = seconds(lambda: index.save(folder))[0]
            del index
            write_catalogue(folder, len(embeddings))
            figures["file_mb"] = (folder / FILE).stat().st_size / 1e6
            opened, index = seconds(lambda: _open(folder))
            items = Items.open(folder)
            figures |= {"open_ms": 1e3 * opened, "cells": index.cells, "looked_into": index.probes}
            figures["first_search_ms"] = 1e3 * seconds(lambda: index.search(images[:1], 10))[0]
            exact = map_embeddings(folder)
            for kind, queries in asked.items():
                scores = in_double(embeddings, queries.T.astype(float))
                for k in (self.k, 4 * self.k):
                    figures[f"recall_{kind}_{k}"] = recall_of(index.search(queries, k).rows, scores)
                figures |= self._filters(scores, index, items, queries, kind)
            for count in self.batches:
                figures |= self._times(exact, index, images[:count])
            return figures | self._filter_times(index, items, images)

    def _times(self, exact: np.ndarray, index: Ivf, asked: np.ndarray) -> dict[str, float]:
        count = len(asked)
        candidates = {
            "exact": lambda: nearest_rows(exact, asked, self.k),
            "ours": lambda: index.search(asked, self.k),
        }
        spent, _ = in_turns(candidates, self.rounds)
        return {
            **{f"{name}_ms_{count}": 1e3 * float(np.median(t)) for name, t in spent.items()},
            **ratio(f"times_faster_{count}", spent["exact"], spent["ours"]),
        }

    def _filters(
        self, scores: np.ndarray, index: Ivf, items: Items, queries: np.ndarray, kind: str
    ) -> dict[str, float]:
        """The recall of searches with filters; one by one, as one query is searched."""
        figures = {}
        for name, where in FILTERS.items():
            mask = mask_of(where, items)
            rows = [index.search(query[None], self.k, mask).rows[0] for query in queries]
            figures[f"{name}_recall_{kind}"] = recall_of(np.stack(rows), scores, mask)
        return figures

    def _filter_times(self, index: Ivf, items: Items, queries: np.ndarray) -> dict[str, float]:
        """One query with filters, whose rows are found for each search anew."""
        candidates = {
            "unfiltered": lambda: index.search(queries[:1], self.k),
            **{
                name: lambda where=where: index.search(queries[:1], self.k, mask_of(where, items))
                for name, where in FILTERS.items()
            },
            **{
                f"{name}_mask": lambda where=where: mask_of(where, items)
                for name, where in FILTERS.items()
            },
        }
        spent, _ = in_turns(candidates, self.rounds)
        figures = {f"{n}_ms": 1e3 * float(np.median(t)) for n, t in spent.items()}
        for name in FILTERS:
            figures |= ratio(f"{name}_of_unfiltered", spent[name], spent["unfiltered"])
        return figures


def captions_near(images: np.ndarray) -> np.ndarray:
    """Unit queries (Q, D) beside image embeddings as captions' are: farther, and to one side."""
    rng = np.random.default_rng(3)
    count, dimension = images.shape
    aside = rng.standard_normal(dimension) / np.sqrt(dimension)
    noise = rng.standard_normal((count, dimension)) / np.sqrt(dimension)
    captions = (SHARE * images + GAP * aside + noise).astype(np.float32)
    return captions / np.linalg.norm(captions, axis=1, keepdims=True)


def recall_of(rows: np.ndarray, scores: np.ndarray, allowed: np.ndarray | None = None) -> float:
    """The share of rows (Q, k) that are among the k with the best scores (N, Q)."""
    right = 0
    for query, found in enumerate(rows):
        of_query = scores[:, query]
        if allowed is not None:
            of_query = np.where(allowed, of_query, -np.inf)
        least = np.partition(of_query, -len(found))[-len(found)]
        right += int((of_query[np.unique(found)] >= least - ROUNDING).sum())
    return right / rows.size


def _open(folder: Path) -> Ivf:
    index = Ivf()
    index.open(folder)
    return index
