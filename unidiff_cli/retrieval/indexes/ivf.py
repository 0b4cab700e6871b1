"""Approximate search: a query is compared with the embeddings in the cells that are nearest to it.

faiss's inverted file (IVF; Sivic and Zisserman 2003, Jégou et al. 2011) with half-precision codes
finds candidates, whose scores are then computed from the embeddings in float32.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import PrivateAttr

from unidiff_cli.errors import Damaged
from unidiff_cli.retrieval.embedding_file import map_embeddings, write_embeddings
from unidiff_cli.retrieval.exact import best_of, search_exactly
from unidiff_cli.retrieval.index import Index, Neighbours, Questions
from unidiff_cli.system import first_line

FILE = "cells.faiss"
# Cells for each square root of the number of images; faiss advises 4 to 16.
CELLS = 4
# Images of a cell from which its centre is found, the fewest that faiss accepts.
SAMPLE = 39
# Images that are added at a time.
BLOCK = 1 << 16
# The recall for which the cells of a search are chosen. On other queries it is a little less, and
# 0.99 is to hold for those.
AIM = 0.993
# Candidates beyond k: half precision orders nearly equal scores wrongly.
SPARE = 10
# A query is compared with at least so many embeddings for each that it finds.
PART = 50
# Rows of a cell that are tested for a filter in the time in which one is compared.
TESTS = 30
# A filter leaves hardly anything near a query where it lets less than this part of its share
# through.
HARDLY = 0.5


class Ivf(Index):
    """Embeddings in cells, of which a search looks into the nearest."""

    exact: ClassVar[bool] = False
    images_from: ClassVar[int | None] = 200_000

    # (N, D) float32, of the file and not in memory once it is opened.
    _embeddings: np.ndarray = PrivateAttr()
    # A faiss.IndexIVF of half-precision codes.
    _cells: Any = PrivateAttr()

    @property
    def cells(self) -> int:
        """How many cells there are."""
        return self._cells.nlist

    @property
    def probes(self) -> int:
        """How many of them a search looks into, the nearest first, where nothing asks for more."""
        return self._cells.nprobe

    def build(self, embeddings: np.ndarray) -> None:
        import faiss

        count, size = embeddings.shape
        cells = max(1, min(int(CELLS * math.sqrt(count)), count // SAMPLE))
        index = faiss.index_factory(size, f"IVF{cells},SQfp16", faiss.METRIC_INNER_PRODUCT)
        if count:
            chosen = np.random.default_rng(0).choice(count, min(count, SAMPLE * cells), False)
            index.train(np.ascontiguousarray(embeddings[np.sort(chosen)]))
        for start in range(0, count, BLOCK):
            index.add(np.ascontiguousarray(embeddings[start : start + BLOCK]))
        # All, until it is known how many are enough.
        index.nprobe = cells
        self._embeddings, self._cells = embeddings, index

    def calibrate(self, questions: Sequence[Questions]) -> None:
        """Looks into as few cells as find the answers to each of several questions."""
        most, low = self.cells, 1
        while low < most and not self._reaches(low, questions):
            low *= 2
        high, low = min(low, most), low // 2
        # `high` is enough, `low` is not.
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self._reaches(middle, questions) else (middle, high)
        self._cells.nprobe = high

    def _reaches(self, cells: int, questions: Sequence[Questions]) -> bool:
        self._cells.nprobe = cells
        return all(each.recall(self.search) >= AIM for each in questions)

    def save(self, folder: Path) -> None:
        import faiss

        write_embeddings(folder, self._embeddings)
        with open(folder / FILE, "wb") as stream:
            faiss.write_index(self._cells, faiss.PyCallbackIOWriter(stream.write))

    def open(self, folder: Path) -> None:
        import faiss

        self._embeddings = map_embeddings(folder)
        try:
            self._cells = faiss.read_index(str(folder / FILE), faiss.IO_FLAG_MMAP_IFC)
        except RuntimeError as problem:
            raise _damaged(folder / FILE, first_line(problem)) from problem
        if (self._cells.ntotal, self._cells.d) != self._embeddings.shape:
            raise _damaged(folder / FILE, "it is of other embeddings")

    def embeddings(self, rows: np.ndarray) -> np.ndarray:
        return self._embeddings[rows]

    def search(self, queries: np.ndarray, k: int, allowed: np.ndarray | None = None) -> Neighbours:
        rows = len(self._embeddings)
        queries = np.ascontiguousarray(queries, np.float32)
        # So many that k is a small part of the rows in them.
        cells = max(self.probes, math.ceil(PART * k * self.cells / max(rows, 1)))
        share = 1 if allowed is None else np.count_nonzero(allowed) / max(rows, 1)
        # Where few rows pass a filter they are compared alone, faster than they are looked for.
        if share * min(1, TESTS * share) * self.cells <= cells:
            return search_exactly(self._embeddings, queries, k, allowed)
        if allowed is None:
            return self._search_cells(queries, k, cells)
        near = self._shares(queries, cells, allowed)
        # What a filter hardly leaves near a query, as color = 'blue' of "red dress", is far away
        # in any of the cells.
        far = near < HARDLY * share
        found = Neighbours(np.empty((len(queries), k), np.int64), np.empty((len(queries), k), "f4"))
        if far.any():
            found.rows[far], found.scores[far] = search_exactly(
                self._embeddings, queries[far], k, allowed
            )
        if not far.all():
            # With fewer rows in each as many more cells are looked into.
            wider = min(self.cells, math.ceil(cells / min(share, near[~far].min())))
            found.rows[~far], found.scores[~far] = self._search_cells(
                queries[~far], k, wider, allowed
            )
        return found

    def _shares(self, queries: np.ndarray, cells: int, allowed: np.ndarray) -> np.ndarray:
        """The share (Q,) of the rows in so many cells near each query that a filter allows."""
        import faiss

        lists = self._cells.invlists
        _, nearest = self._cells.quantizer.search(queries, cells)
        counts = np.zeros((len(queries), 2))
        for query, near in enumerate(nearest.tolist()):
            for cell in near:
                if size := lists.list_size(cell):
                    rows = faiss.rev_swig_ptr(lists.get_ids(cell), size)
                    counts[query] += np.count_nonzero(allowed[rows]), size
        return counts[:, 0] / np.maximum(counts[:, 1], 1)

    def _search_cells(
        self, queries: np.ndarray, k: int, cells: int, allowed: np.ndarray | None = None
    ) -> Neighbours:
        """The k nearest rows of each query's nearest cells."""
        import faiss

        options: dict[str, object] = {"nprobe": cells}
        if allowed is not None:
            bits = np.packbits(allowed, bitorder="little")
            options["sel"] = faiss.IDSelectorBitmap(bits)
        parameters = faiss.SearchParametersIVF(**options)
        _, candidates = self._cells.search(queries, k + SPARE, params=parameters)
        rows = np.empty((len(queries), k), np.int64)
        scores = np.empty((len(queries), k), np.float32)
        for number, (query, near) in enumerate(zip(queries, candidates, strict=True)):
            # −1 where the cells hold fewer.
            near = near[near >= 0]
            if len(near) < k:
                found = search_exactly(self._embeddings, query[None], k, allowed)
                rows[number], scores[number] = found.rows[0], found.scores[0]
            else:
                products = np.vecdot(self._embeddings[near], query)
                rows[number], scores[number] = best_of(near, products, k)
        return Neighbours(rows, scores)


def _damaged(file: Path, reason: str) -> Damaged:
    return Damaged(f"{file} is not what was written: {reason}.", "Run: unidiff index --force")
