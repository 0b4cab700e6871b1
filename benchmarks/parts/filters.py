"""Filtered search beside unfiltered, and how long it takes to open an index of a million rows."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.measurement import in_turns, ratio, seconds
from benchmarks.parts.nearest import catalogue, wrong
from unidiff_cli.data.attributes import infer
from unidiff_cli.data.shards import Row
from unidiff_cli.retrieval.indexes.flat import Flat
from unidiff_cli.retrieval.items import Items, write_items
from unidiff_cli.retrieval.where import mask_of

COLOURS = ("red", "orange", "yellow", "green", "blue", "violet", "black", "white", "grey", "brown")
# By the share of the rows that they let through.
FILTERS = {
    "half": "price < 50",
    "tenth": "color = 'red'",
    "hundredth": "color = 'red' and price < 10",
}


@dataclass(frozen=True)
class Filters:
    """Searches of one query over `rows` rows with two attributes, of their opening too."""

    rows: int = 100_000
    dimension: int = 512
    rounds: int = 15

    def measure(self) -> dict[str, float]:
        """Milliseconds, ratios to the search without a filter, and answers that must be right."""
        embeddings, queries = catalogue(self.rows, self.dimension, 1)
        with tempfile.TemporaryDirectory() as folder:
            written = seconds(lambda: _write(Path(folder), embeddings))[0]
            opened, (items, index) = seconds(lambda: _open(Path(folder)))
            first = seconds(lambda: index.search(queries, 10))[0]
            candidates = {
                "unfiltered": lambda: index.search(queries, 10),
                **{
                    name: lambda where=where: index.search(queries, 10, mask_of(where, items))
                    for name, where in FILTERS.items()
                },
            }
            spent, results = in_turns(candidates, self.rounds)
            figures = {"rows": self.rows, "write_seconds": written, "open_ms": 1e3 * opened}
            figures["first_search_ms"] = 1e3 * first
            for name, where in FILTERS.items():
                mask = mask_of(where, items)
                figures[f"{name}_share"] = float(mask.mean())
                figures |= ratio(f"{name}_of_unfiltered", spent[name], spent["unfiltered"])
                figures[f"{name}_wrong"] = wrong(embeddings, queries, results[name].rows, mask)
            return figures | {f"{n}_ms": 1e3 * float(np.median(t)) for n, t in spent.items()}


def _write(folder: Path, embeddings: np.ndarray) -> None:
    index = Flat()
    index.build(embeddings)
    index.save(folder)
    write_catalogue(folder, len(embeddings))


def write_catalogue(folder: Path, count: int) -> None:
    """Writes so many rows with a colour and a price, which `FILTERS` ask for."""
    rng = np.random.default_rng(1)
    colours = rng.integers(0, len(COLOURS), count).tolist()
    prices = rng.integers(0, 10_000, count).tolist()
    rows = [
        Row(
            f"{n:09d}",
            f"sku-{n}",
            "train",
            f"p{n // 5}",
            (f"a {COLOURS[colour]} thing number {n}",),
            {"color": COLOURS[colour], "price": f"{price / 100:.2f} EUR"},
            path=f"images/{n:09d}.jpg",
        )
        for n, (colour, price) in enumerate(zip(colours, prices, strict=True))
    ]
    write_items(folder, rows, infer([row.attributes for row in rows]))


def _open(folder: Path) -> tuple[Items, Flat]:
    index = Flat()
    index.open(folder)
    return Items.open(folder), index
