"""The loader of training beside webdataset's: parsing, decoding, and the start in mid-epoch."""

import io
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchmarks.measurement import in_turns, ratio, seconds
from benchmarks.parts.preparing import prepared, write_catalogue
from benchmarks.parts.web_loader import WebLoader, sums_of, tensors_of
from unidiff_cli.data.batch import Batch, Transform
from unidiff_cli.data.by_shape import Maps
from unidiff_cli.data.dataset import BatchPlan, Samples, loader
from unidiff_cli.data.shards import Shards
from unidiff_cli.data.streaming import StreamedSamples
from unidiff_cli.models.diffusion_images import DiffusionImages

# Batches that are compared, and those that a worker may have made before the clock starts.
COMPARED, AHEAD = 4, 8
# A way gives batches of an epoch by so many workers.
Way = Callable[[int], Iterator[Any]]


class Stored(Samples):
    """Batches whose `clip_pixels` are the bytes of their images, one behind the other."""

    def tensors(self, positions: Sequence[int]) -> dict[str, Maps]:
        data = bytearray().join(self.image_bytes(positions))
        return {"clip_pixels": torch.frombuffer(data, dtype=torch.uint8)}


class StoredInSpans(Stored, StreamedSamples):
    """The same, streamed."""


@dataclass(frozen=True)
class Loading:
    """Shards of so many square photos of a side, a fifth of them for other splits.

    `sides` are those of the tensors, of which `steps` batches are made. `folder` keeps the shards.
    """

    side: int
    images: int
    sides: tuple[int, ...]
    steps: int = 20
    batch_size: int = 64
    rounds: int = 3
    folder: Path | None = None

    def measure(self) -> dict[str, float]:
        """Microseconds of the processor a sample, ratios, and differences of what was loaded."""
        torch.set_num_threads(1)
        with self.shards() as folder:
            measured = _Measured(self, folder)
            figures = measured.parsing() | measured.resuming()
            for side in self.sides:
                figures |= measured.decoding(side)
        return figures

    @contextmanager
    def shards(self) -> Iterator[Path]:
        """The folder of the shards, made where it is not there."""
        with tempfile.TemporaryDirectory() as temporary:
            project = self.folder or Path(temporary, "project")
            if not (project / "shards").exists():
                shop = write_catalogue(Path(temporary, "shop"), self.images, (self.side, self.side))
                prepared(project, shop, 1, self.side)
            yield project / "shards"


@dataclass(frozen=True)
class OneWorker(Loading):
    """The same by one worker, timed by the clock: it needs a machine that does nothing else."""

    def measure(self) -> dict[str, float]:
        """Microseconds a sample, and ratios."""
        torch.set_num_threads(1)
        with self.shards() as folder:
            return _Measured(self, folder).by_a_worker()


class _Measured:
    """What is timed, over opened shards."""

    def __init__(self, options: Loading, folder: Path) -> None:
        self.options, self.folder, self.size = options, folder, options.batch_size
        self.shards = Shards.open(folder)
        self.rows = self.shards.rows("train")
        self.epoch = len(self.rows) // self.size
        self.theirs = WebLoader(sorted(map(str, folder.glob("train-*.tar"))), self.size)

    def parsing(self) -> dict[str, float]:
        """Images and captions out of the shards, nothing decoded; the limit reads the files."""
        ways = self._parsed()

        def read() -> None:
            for tar in self.theirs.tars:
                Path(tar).read_bytes()

        figures = self._compared("parse", ways, self.epoch, read)
        expected = sums_of(self.theirs.raw())
        differ = sum(_sums(way(0)) != expected for name, way in ways.items() if name != "webloader")
        return figures | {"samples": float(len(self.rows)), "parse_differ": float(differ)}

    def decoding(self, side: int) -> dict[str, float]:
        """The tensors of batches at a side; the limit is Pillow's decoding of bytes in memory."""
        name, ways = f"decode_{side}", self._decoded(side)
        steps = min(self.options.steps, self.epoch)
        images = [self.shards.image_bytes(row) for row in self.rows[: steps * self.size]]

        def decode() -> None:
            for image in images:
                Image.open(io.BytesIO(image)).load()

        figures = self._compared(name, ways, steps, decode)
        # In the order of the tars, which is another one than that of the rows.
        in_tars = sorted(self.rows, key=lambda row: (row.shard, row.image_offset))
        plan = BatchPlan(self.size, 0, "listed")
        listed = Samples(self.shards, in_tars, plan, transforms=_made(side))
        ours = torch.cat([_pixels(batch) for batch in loader(listed, range(COMPARED))]).int()
        for other in ("webloader", "webloader_pil"):
            off = ours - tensors_of(ways[other](0), COMPARED).int()
            figures[f"{name}_off_{other}"] = float(off.abs().max())
        return figures

    def resuming(self) -> dict[str, float]:
        """Milliseconds to the decoded batch at 90 % of an epoch, from shards that are closed."""
        step = self.epoch * 9 // 10
        candidates = {
            "ours": lambda: self._resumed(step),
            "skip": lambda: self.theirs.skipped(step),
        }
        spent, results = in_turns(candidates, self.options.rounds, time.process_time)
        (uninterrupted,) = islice(self._ours(Stored), step, step + 1)
        return {
            **{f"resume_{name}_ms": 1e3 * float(np.median(s)) for name, s in spent.items()},
            **ratio("resume_times_skip", spent["skip"], spent["ours"]),
            "resume_differ": float(results["ours"].captions != uninterrupted.captions),
        }

    def _resumed(self, step: int) -> Batch:
        shards = Shards.open(self.folder)
        made, plan = _made(self.options.side), BatchPlan(self.size, 0)
        samples = Samples(shards, shards.rows("train"), plan, transforms=made)
        return next(loader(samples, range(step, step + 1)))

    def by_a_worker(self) -> dict[str, float]:
        """Parsing and decoding, of the steps after those that a worker made while it started."""
        figures: dict[str, float] = {}
        named = {f"decode_{side}": self._decoded(side) for side in self.options.sides}
        for name, ways in {"parse": self._parsed(), **named}.items():
            steps = self.epoch if name == "parse" else min(self.options.steps, self.epoch)
            spent: dict[str, list[float]] = {"ours": [], "webloader": []}
            for _ in range(self.options.rounds):
                for way, times in spent.items():
                    times.append(_steady(ways[way], steps))
            for way, times in spent.items():
                figures[f"{name}_{way}_us"] = 1e6 * float(np.median(times)) / self.size
            both = np.array(spent["webloader"]), np.array(spent["ours"])
            figures |= ratio(f"{name}_times_webloader", *both)
        return figures

    # ------------------------------------------------------------ the same for each

    def _parsed(self) -> dict[str, Way]:
        return {
            "ours": partial(self._ours, Stored),
            "streamed": partial(self._ours, StoredInSpans),
            "webloader": self.theirs.raw,
        }

    def _decoded(self, side: int) -> dict[str, Way]:
        made = _made(side)
        return {
            "ours": partial(self._ours, Samples, transforms=made),
            "streamed": partial(self._ours, StreamedSamples, transforms=made),
            "webloader": partial(self.theirs.by_tensors, side),
            "webloader_pil": partial(self.theirs.by_pillow, side),
        }

    def _ours(self, kind: type[Samples], workers: int = 0, **options: Any) -> Iterator[Batch]:
        """An epoch of our batches."""
        samples = kind(self.shards, self.rows, BatchPlan(self.size, 0), **options)
        return loader(samples, range(len(samples)), workers)

    def _compared(
        self, name: str, ways: Mapping[str, Way], steps: int, limit: Callable[[], None]
    ) -> dict[str, float]:
        """The first batches of each way, by this process alone."""
        candidates: dict[str, Callable[[], Any]] = {
            way: partial(_pass, batches, steps) for way, batches in ways.items()
        }
        spent, _ = in_turns({**candidates, "limit": limit}, self.options.rounds, time.process_time)
        count = steps * self.size
        figures = {
            f"{name}_{way}_us": 1e6 * float(np.median(times)) / count
            for way, times in spent.items()
        }
        for other in (way for way in spent if way != "ours"):
            figures |= ratio(f"{name}_times_{other}", spent[other], spent["ours"])
        return figures


def _made(side: int) -> dict[str, Transform]:
    return {"diffusion_pixels": DiffusionImages(side)}


def _pass(way: Way, steps: int) -> None:
    for _ in islice(way(0), steps):
        pass


def _steady(way: Way, steps: int) -> float:
    """Seconds a batch by one worker, after those that it made while it started."""
    batches = way(1)
    for _ in islice(batches, AHEAD):
        pass
    rest = islice(batches, steps - AHEAD)
    took, count = seconds(lambda: sum(1 for _ in rest))
    return took / count


def _sums(batches: Iterator[Batch]) -> dict[str, tuple[int, str]]:
    """By key the CRC of the image and the caption, of `Stored` batches."""
    sums = {}
    for batch in batches:
        data, start = _bytes(batch), 0
        for row, caption in zip(batch.rows, batch.captions, strict=True):
            sums[row.key] = zlib.crc32(data[start : start + row.image_size]), caption
            start += row.image_size
    return sums


def _bytes(batch: Batch) -> bytes:
    assert batch.clip_pixels is not None
    return batch.clip_pixels.numpy().tobytes()


def _pixels(batch: Batch) -> Tensor:
    assert isinstance(batch.diffusion_pixels, Tensor)
    return batch.diffusion_pixels
