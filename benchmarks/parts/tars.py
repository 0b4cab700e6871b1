"""Shards written, beside webdataset's writers: photos resized on the way, and ready bytes."""

import io
import shutil
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measurement import in_turns, ratio
from benchmarks.parts.resizing import Size, likeness, ours, photos, pillow
from unidiff_cli.data.shard_writer import shard_name, write_shard
from unidiff_cli.data.shards import Row

CAPTION = "a red dress with short sleeves"


@dataclass(frozen=True)
class Written:
    """Photos of one size, made smaller and written as shards."""

    size: Size
    side: int
    images: int
    rounds: int = 7

    def measure(self) -> dict[str, float]:
        """Milliseconds of the processor for an image, and how good the images are."""
        import webdataset

        files = list(photos(self.images, self.size))
        way, other = ours(self.side), pillow(self.side)

        def theirs(folder: Path) -> None:
            with webdataset.ShardWriter(f"{folder}/%05d.tar", maxcount=1000, verbose=0) as writer:
                for number, file in enumerate(files):
                    writer.write(_sample(number, other(file)))

        candidates = {"ours": lambda f: _ours(f, map(way, files)), "shardwriter": theirs}
        spent, read = _in_turns(candidates, self.rounds)
        figures = {
            f"{name}_ms": 1e3 * float(np.median(times)) / self.images
            for name, times in spent.items()
        }
        quality = [
            likeness(image, file, self.side)
            for image, file in zip(read["ours"], files, strict=True)
        ]
        return figures | {
            **ratio("times_shardwriter", spent["shardwriter"], spent["ours"]),
            "psnr": float(np.mean(quality)),
            "wrong": float(len(read["shardwriter"]) != self.images),
        }


@dataclass(frozen=True)
class Passed:
    """Ready bytes of so many kilobytes written as shards."""

    kilobytes: tuple[int, ...] = (7, 30, 200)
    images: int = 1_000
    rounds: int = 7

    def measure(self) -> dict[str, float]:
        """Microseconds of the processor for a sample, and samples that are not as they were."""
        import webdataset

        figures: dict[str, float] = {"wrong": 0.0}
        for size in self.kilobytes:
            files = list(np.random.default_rng(0).bytes(1000 * size) for _ in range(self.images))

            def theirs(folder: Path, files: list[bytes] = files) -> None:
                with webdataset.TarWriter(f"{folder}/00000.tar", mtime=0) as writer:
                    for number, file in enumerate(files):
                        writer.write(_sample(number, file))

            def raw(folder: Path, files: list[bytes] = files) -> None:
                with open(folder / "00000.tar", "wb") as stream:
                    for file in files:
                        stream.write(file)

            candidates: dict[str, Callable[[Path], Any]] = {
                "ours": lambda folder, files=files: _ours(folder, files),
                "tarwriter": theirs,
                "raw": raw,
            }
            spent, read = _in_turns(candidates, self.rounds)
            for name, times in spent.items():
                figures[f"{name}_us_{size}k"] = 1e6 * float(np.median(times)) / self.images
            figures |= ratio(f"times_tarwriter_{size}k", spent["tarwriter"], spent["ours"])
            figures["wrong"] += (read["ours"] != files) + (read["tarwriter"] != files)
        return figures


def _sample(number: int, data: bytes) -> dict[str, Any]:
    return {"__key__": f"{number:09d}", "jpg": data, "json": _row(number).json()}


def _row(number: int) -> Row:
    return Row(f"{number:09d}", f"id-{number}", "train", f"g{number}", (CAPTION,), {"color": "red"})


def _ours(folder: Path, images: Iterable[bytes]) -> None:
    name = shard_name("train", 0)
    write_shard(folder / name, name, ((_row(n), image) for n, image in enumerate(images)))


def _in_turns(
    candidates: dict[str, Callable[[Path], Any]], rounds: int
) -> tuple[dict[str, np.ndarray], dict[str, list[bytes]]]:
    """Seconds of each, which gets an empty folder each time; the images in the tars of the last."""
    with tempfile.TemporaryDirectory() as top:
        folders = {name: Path(top, name) for name in candidates}

        def run(name: str) -> None:
            shutil.rmtree(folders[name], ignore_errors=True)
            folders[name].mkdir()
            candidates[name](folders[name])

        timed = {name: lambda name=name: run(name) for name in candidates}
        spent, _ = in_turns(timed, rounds, time.process_time)
        return spent, {name: _images(folders[name]) for name in candidates if name != "raw"}


def _images(folder: Path) -> list[bytes]:
    images = []
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(fileobj=io.BytesIO(path.read_bytes())) as tar:
            images += [
                tar.extractfile(member).read()  # type: ignore[union-attr]
                for member in tar
                if not member.name.endswith(".json")
            ]
    return images
