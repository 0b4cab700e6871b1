"""Whole runs of prepare: by one process and by two, and of ever more images."""

import json
import resource
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from benchmarks.measurement import in_fresh_process, in_turns, ratio, seconds
from benchmarks.parts.resizing import Size, photos
from unidiff_cli import Project, Recipe, prepare
from unidiff_cli.config.prepare import Prepare
from unidiff_cli.data.shards import Shards

MakePhotos = Callable[[int, Size], Iterator[bytes]]


@dataclass(frozen=True)
class Workers:
    """A catalogue prepared by one worker and by two."""

    size: Size
    side: int
    images: int
    rounds: int = 3

    def measure(self) -> dict[str, float]:
        """Seconds of each, and samples that are missing."""
        with tempfile.TemporaryDirectory() as top:
            catalogue = write_catalogue(Path(top, "shop"), self.images, self.size)
            project = Path(top, "project")
            candidates = {
                name: lambda workers=workers: prepared(project, catalogue, workers, self.side)
                for name, workers in (("one", 1), ("two", 2))
            }
            spent, found = in_turns(candidates, self.rounds)
        return {
            **{f"{name}_seconds": float(np.median(times)) for name, times in spent.items()},
            **ratio("times_one", spent["one"], spent["two"]),
            "wrong": float(sum(count != self.images for count in found.values())),
        }


@dataclass(frozen=True)
class Growth:
    """Catalogues of so many tiny photos, each prepared by one worker in a process of its own."""

    counts: tuple[int, ...]
    side: int = 96

    def measure(self) -> dict[str, float]:
        """Microseconds an image by count, and samples that are missing."""
        figures, costs, wrong = {}, [], 0
        for count in self.counts:
            with tempfile.TemporaryDirectory() as top:
                catalogue = write_catalogue(Path(top, "shop"), count, (self.side, self.side))
                took, found = in_fresh_process(_timed, Path(top, "project"), catalogue)
            costs.append(1e6 * took / count)
            wrong += found != count
            figures[f"us_{count}"] = costs[-1]
        # A start of a second is spread over few images: the least of all counts is the bound.
        return figures | {"last_over_least": costs[-1] / min(costs), "wrong": float(wrong)}


@dataclass(frozen=True)
class Memory:
    """Catalogues of so many tiny photos, each prepared by one worker in a process of its own."""

    counts: tuple[int, int]
    side: int = 48

    def measure(self) -> dict[str, float]:
        """MB of each kind and count, bytes that one more row takes, and runs of another count."""
        figures: dict[str, float] = {"wrong": 0.0}
        for kind, write in CATALOGUES.items():
            peaks = []
            for count in self.counts:
                with tempfile.TemporaryDirectory() as top:
                    catalogue = write(Path(top, "shop"), count, (self.side, self.side))
                    peak, found = in_fresh_process(_peak, Path(top, "project"), catalogue)
                peaks.append(peak)
                figures[f"{kind}_mb_{count}"] = peak / 1e6
                figures["wrong"] += found != count
            figures[f"{kind}_bytes_a_row"] = (peaks[1] - peaks[0]) / (
                self.counts[1] - self.counts[0]
            )
        return figures


def _peak(project: Path, catalogue: Path) -> tuple[int, int]:
    """The most bytes that were resident, and the samples."""
    found = prepared(project, catalogue, 1, 1024)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10, found


def _timed(project: Path, catalogue: Path) -> tuple[float, int]:
    return seconds(lambda: prepared(project, catalogue, 1, 1024))


def prepared(project: Path, catalogue: Path, workers: int, side: int) -> int:
    """Prepares a catalogue anew; returns how many samples the shards hold."""
    options = Prepare(workers=workers, max_side=side)
    prepare(Project(project), Recipe(prepare=options), catalogue, force=True, yes=True)
    return len(Shards.open(project / "shards").rows())


def write_catalogue(folder: Path, count: int, size: Size) -> Path:
    """So many photos and a table that names them."""
    (folder / "images").mkdir(parents=True)
    with open(folder / "captions.jsonl", "w") as table:
        for number, photo in enumerate(photos(count, size)):
            (folder / "images" / f"{number}.jpg").write_bytes(photo)
            row = {"image": f"images/{number}.jpg", "caption": f"thing number {number}"}
            table.write(json.dumps(row) + "\n")
    return folder


def write_table(folder: Path, count: int, size: Size, made: MakePhotos = photos) -> Path:
    """So many photos in a table, with an id and six attributes, three of a product."""
    import pyarrow
    import pyarrow.parquet

    folder.mkdir()
    rows = ({"image": {"bytes": photo}} | _cells(n) for n, photo in enumerate(made(count, size)))
    schema = pyarrow.Table.from_pylist([{"image": {"bytes": b""}} | _cells(0)]).schema
    with pyarrow.parquet.ParquetWriter(folder / "train.parquet", schema) as table:
        while piece := list(islice(rows, 500)):
            table.write_table(pyarrow.Table.from_pylist(piece, schema))
    return folder


def _cells(number: int) -> dict[str, str | int]:
    return {
        "caption": f"Chaz women's dress in navy blue, number {number}",
        "id": f"sku-{number}",
        "product": f"p{number // 3}",
        "category": "dress",
        "color": ("navy blue", "red", "black")[number % 3],
        "brand": f"Chaz {number % 97}",
        "season": "summer",
        "price": number % 100,
        "year": 2012,
    }


# How catalogues are kept.
CATALOGUES = {"table": write_table, "files": write_catalogue}
