"""A catalogue of N rows from a table to an epoch of training: the time and memory of each stage."""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from math import log
from pathlib import Path

import numpy as np

from benchmarks.measurement import in_fresh_process, peak_growth
from benchmarks.parts.preparing import prepared, write_table
from benchmarks.parts.resizing import fields
from unidiff_cli import Project, export, index, load_recipe, train
from unidiff_cli.data.dataset import BatchPlan, Samples, loader
from unidiff_cli.data.parts import Part
from unidiff_cli.data.row import Row
from unidiff_cli.data.shards import Shards
from unidiff_cli.models.diffusion_images import DiffusionImages
from unidiff_cli.retrieval.embed_work import EmbedWork
from unidiff_cli.retrieval.retriever import Retriever

STAGES = ("prepare", "index", "epoch")
BATCH = 64


@dataclass(frozen=True)
class CatalogueStages:
    """Catalogues of so many photos of `side` px, each stage in a process of its own."""

    counts: tuple[int, ...]
    side: int = 32
    workers: int = 2

    def measure(self) -> dict[str, float]:
        """Seconds and MB of each stage and count, and exponents of the time.

        An exponent is the slope of log time over log rows, from one count to the next.
        """
        figures: dict[str, float] = {"wrong": 0.0}
        for count in self.counts:
            with tempfile.TemporaryDirectory() as top:
                figures["wrong"] += self._run(figures, Path(top), count)
        for few, many in pairwise(self.counts):
            for stage in STAGES:
                grown = log(figures[f"{stage}_{many}_seconds"] / figures[f"{stage}_{few}_seconds"])
                figures[f"{stage}_{few}_to_{many}_exponent"] = grown / log(many / few)
        return figures

    def _run(self, figures: dict[str, float], top: Path, count: int) -> int:
        """All stages of one catalogue; how many of them lost rows."""
        catalogue = write_table(top / "shop", count, (self.side, self.side), fields)
        stages = {
            "prepare": partial(_prepare, top / "project", catalogue, self.workers),
            "index": partial(_index, top / "project"),
            "epoch": partial(_epoch, top / "project", count, self.side, self.workers),
        }
        wrong = 0
        for name, stage in stages.items():
            if name == "index":
                in_fresh_process(_tuned, top / "project")
            peak, took, found = in_fresh_process(stage)
            figures |= {f"{name}_{count}_seconds": took, f"{name}_{count}_mb": peak}
            wrong += found != count
        return wrong


Measured = tuple[float, float, int]


def _prepare(project: Path, catalogue: Path, workers: int) -> Measured:
    """The peak is that of the process that writes; decoding ones are as large as ever."""
    return peak_growth(partial(prepared, project, catalogue, workers, 1024))


def _tuned(folder: Path) -> None:
    """Gives a project an export, of two steps, and embeddings that no tower computed.

    A tower's time an image is measured apart (`benchmarks.retrieve --only embedding`): of nano it
    would be over an hour for a million images.
    """
    project = Project(folder)
    changes = ["base=nano", "train.steps=2", "train.batch_size=16", "train.preview_every=0"]
    train(project, load_recipe("clip-only", assignments=changes))
    export(project)
    work = EmbedWork.of(project, None)
    work.encoders = [_MadeUp(encoder.name, encoder.dimension) for encoder in work.encoders]
    work.fill(Part(1, 1))


@dataclass
class _MadeUp:
    """Unit embeddings around a hundred centres, as an encoder gives them."""

    name: str
    dimension: int

    def embed_stream(
        self, shards: Shards, rows: Sequence[Row], batch_size: int = 64
    ) -> Iterator[np.ndarray]:
        rng = np.random.default_rng(rows[0].image_offset)
        centres = np.random.default_rng(0).standard_normal((100, self.dimension), np.float32)
        for start in range(0, len(rows), batch_size):
            size = min(batch_size, len(rows) - start)
            near = centres[rng.integers(0, 100, size)]
            made = near + rng.standard_normal(near.shape, np.float32) / 2
            yield made / np.linalg.norm(made, axis=1, keepdims=True)


def _index(folder: Path) -> Measured:
    """Of embeddings that are there."""
    project = Project(folder)
    peak, took, _ = peak_growth(partial(index, project))
    found = Retriever.open(project).index.embeddings(np.array([0])).shape[0]
    return peak, took, int(project.receipt("index").counts["images"]) if found else 0


def _epoch(folder: Path, count: int, side: int, workers: int) -> Measured:
    """All rows of the catalogue in batches, decoded, without two images of a product in one.

    How many of them came. The last batch may have rows of the next epoch too.
    """

    def run() -> int:
        shards, plan = Shards.open(folder / "shards"), BatchPlan(BATCH, 0, "distinct")
        made = {"diffusion_pixels": DiffusionImages(side)}
        samples = Samples(shards, shards.rows(), plan, transforms=made)
        came = np.zeros(count, bool)
        for batch in loader(samples, range(len(samples)), workers):
            came[[int(caption.rpartition(" ")[2]) for caption in batch.captions]] = True
        return int(came.sum())

    return peak_growth(run)
