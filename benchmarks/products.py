"""One hit for each product: how many products ten hits show, and whether the right one is there.

    python -m benchmarks.products PROJECT

Captions and images of the test rows ask an index of all rows, with every image a hit and with one
hit for each product. An image asks for other products than its own, which is left out.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from unidiff_cli.data.shards import Row
from unidiff_cli.project.project import Project
from unidiff_cli.retrieval.composition import Part
from unidiff_cli.retrieval.hits import Hit
from unidiff_cli.retrieval.retriever import NO_GROUPS, PRODUCT, Retriever

K = 10


def products(hits: list[Hit]) -> list[str]:
    """The products of hits, in their order."""
    return [hit.row.group for hit in hits]


def main() -> None:
    given = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    given.add_argument("project", type=Path)
    retriever = Retriever.open(Project(given.parse_args().project))
    rows = [r for r in retriever.items.rows(range(len(retriever.items))) if r.split == "test"]
    texts = [[Part(row.captions[0])] for row in rows]
    for group_by in (NO_GROUPS, PRODUCT):
        by_text = retriever.search_all(texts, K, group_by=group_by, words=False)
        shown = [len(set(products(hits))) for hits in by_text]
        right = [row.group in products(hits) for row, hits in zip(rows, by_text, strict=True)]
        by_image = [_others(retriever, row, group_by) for row in rows]
        print(
            f"{group_by:8} n={len(rows)}  captions: {np.mean(shown):.1f} products of {K} hits, "
            f"the right one among them {100 * np.mean(right):.1f} %  "
            f"images: {np.mean(by_image):.1f} other products of {K} hits"
        )


def _others(retriever: Retriever, row: Row, group_by: str) -> int:
    """How many other products the hits of an image show, itself and its own views left out."""
    [hits] = retriever.search_all(
        [[retriever.like(row.id)]], K, group_by=group_by, without=[row.id], words=False
    )
    return len(set(products(hits)))


if __name__ == "__main__":
    main()
