"""`unidiff prepare` beside img2dataset's command: whole processes over the same files."""

import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image

import unidiff_cli
from benchmarks.measurement import ratio
from benchmarks.parts.preparing import write_catalogue
from benchmarks.parts.resizing import Size, fitting, likeness

# Images that are compared with the best of their files.
LIKENED = 40
PEER = "import sys, img2dataset; sys.argv[0] = 'img2dataset'; img2dataset.main()"


@dataclass(frozen=True)
class Commands:
    """So many photos of a size made so that their larger side is `side`, by two processes.

    img2dataset opens `file://` addresses, by so many threads a process. `folder` keeps the photos.
    """

    size: Size
    side: int
    images: int
    rounds: int = 3
    threads: int = 16
    folder: Path | None = None

    def measure(self) -> dict[str, float]:
        """Seconds by the clock and of all processors, ratios, and images that are wrong."""
        with tempfile.TemporaryDirectory() as temporary:
            shop = self.catalogue(self.folder or Path(temporary, "made"))
            out = Path(temporary, "out")
            ways = {"ours": self._ours(shop, out)}
            if find_spec("img2dataset"):
                ways["img2dataset"] = self._theirs(shop, out)
            clock: dict[str, list[float]] = {name: [] for name in ways}
            processor: dict[str, list[float]] = {name: [] for name in ways}
            quality, wrong = {}, 0
            for _ in range(self.rounds):
                for name, words in ways.items():
                    shutil.rmtree(out, ignore_errors=True)
                    took = _run(words, alone=name == "ours")
                    clock[name].append(took[0])
                    processor[name].append(took[1])
                    made = dict(_images(out))
                    wrong += sum(not self._is_right(made.get(n)) for n in range(self.images))
                    quality[name] = self._likeness(made, shop)
        figures = {f"psnr_{name}": value for name, value in quality.items()}
        for kind, spent in (("seconds", clock), ("cpu_seconds", processor)):
            figures |= {f"{name}_{kind}": float(np.median(s)) for name, s in spent.items()}
            if "img2dataset" in spent:
                both = np.array(spent["img2dataset"]), np.array(spent["ours"])
                figures |= ratio(f"{kind}_times_img2dataset", *both)
        return figures | {"wrong": float(wrong)}

    def catalogue(self, folder: Path) -> Path:
        """The photos and a table of them; beside it a table of their addresses."""
        shop = folder / "shop"
        if not shop.exists():
            write_catalogue(shop, self.images, self.size)
            with open(folder / "addresses.csv", "w", newline="") as stream:
                table = csv.writer(stream)
                table.writerow(("url", "caption"))
                for line in open(shop / "captions.jsonl"):
                    row = json.loads(line)
                    table.writerow(((shop / row["image"]).resolve().as_uri(), row["caption"]))
        return shop

    def _ours(self, shop: Path, out: Path) -> list[str]:
        options = (f"prepare.max_side={self.side}", "prepare.workers=2")
        command = [sys.executable, "-m", "unidiff_cli.cli", "-C", str(out), "prepare", str(shop)]
        return [*command, "--yes", *(word for option in options for word in ("--set", option))]

    def _theirs(self, shop: Path, out: Path) -> list[str]:
        """As ours: the larger side bounded, JPEG of 95, sums and EXIF; a shard for each process."""
        options = {
            "url_list": shop.parent / "addresses.csv",
            "input_format": "csv",
            "url_col": "url",
            "caption_col": "caption",
            "output_folder": out,
            "output_format": "webdataset",
            "processes_count": 2,
            "thread_count": self.threads,
            "number_sample_per_shard": -(-self.images // 4),
            "image_size": self.side,
            "resize_mode": "keep_ratio_largest",
            "resize_only_if_bigger": True,
            "encode_quality": 95,
        }
        return [
            sys.executable,
            "-c",
            PEER,
            *(f"--{name}={value}" for name, value in options.items()),
        ]

    def _is_right(self, image: bytes | None) -> bool:
        """Whether there is an image, of the size that is wanted."""
        return image is not None and Image.open(io.BytesIO(image)).size == fitting(
            self.size, self.side
        )

    def _likeness(self, made: dict[int, bytes], shop: Path) -> float:
        """The mean PSNR of some images against the best of their files."""
        files = {
            n: (shop / "images" / f"{n}.jpg").read_bytes() for n in range(LIKENED) if n in made
        }
        return float(np.mean([likeness(made[n], file, self.side) for n, file in files.items()]))


def _run(words: list[str], *, alone: bool) -> tuple[float, float]:
    """Seconds of a command by the clock, and of the processors, by all of its processes.

    `alone`: without what peers need on the path.
    """
    # albumentations asks the network for a newer version of itself.
    environment = {**os.environ, "NO_ALBUMENTATIONS_UPDATE": "1"}
    if alone:
        environment["PYTHONPATH"] = str(Path(unidiff_cli.__file__).parents[1])
    with tempfile.TemporaryFile() as said:
        begun = time.perf_counter()
        process = subprocess.Popen(words, env=environment, stdout=said, stderr=said)
        _, status, used = os.wait4(process.pid, 0)
        took = time.perf_counter() - begun
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            raise RuntimeError(f"{words} failed: {said.read().decode(errors='replace')[-2000:]}")
    return took, used.ru_utime + used.ru_stime


def _images(out: Path) -> Iterator[tuple[int, bytes]]:
    """The photos' numbers, which their captions hold, and what became of them."""
    for path in out.rglob("*.tar"):
        with tarfile.open(path) as tar:
            files = {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore
        for name, text in files.items():
            if name.endswith(".json"):
                number = re.search(r"\d+$", json.loads(text)["caption"])
                assert number
                yield int(number.group()), files[name.replace(".json", ".jpg")]
