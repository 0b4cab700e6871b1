"""Photos made smaller: decode, resize, encode, beside img2dataset and libjpeg-turbo."""

import io
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.measurement import in_turns, ratio
from unidiff_cli.data.image_files import ImageBounds
from unidiff_cli.data.images import PreparedImage, prepare_image
from unidiff_cli.data.locations import InMemory

Size = tuple[int, int]
Way = Callable[[bytes], bytes]
# Photos that are drawn from nothing.
DRAWN = 40
# Coloured fields along a side.
FIELDS = 12
BOUNDS = ImageBounds(pixels=10**9, bytes=10**9, scans=100)


@dataclass(frozen=True)
class Resizing:
    """So many photos of one size, each made so that its larger side is `side`."""

    size: Size
    side: int
    images: int
    rounds: int = 7

    def measure(self) -> dict[str, float]:
        """Milliseconds of the processor for an image, ratios, and how good the images are."""
        files = list(photos(self.images, self.size))
        ways = {"ours": ours(self.side), "pillow": pillow(self.side), **peers(self.side)}
        candidates = {
            name: lambda way=way: [way(file) for file in files] for name, way in ways.items()
        }
        spent, results = in_turns(candidates, self.rounds, time.process_time)
        figures: dict[str, float] = {"file_kb": sum(map(len, files)) / len(files) / 1e3}
        for name, times in spent.items():
            figures[f"{name}_ms"] = 1e3 * float(np.median(times)) / self.images
        for name in (name for name in ways if name not in ("ours", "limit")):
            figures |= ratio(f"times_{name}", spent[name], spent["ours"])
        if "limit" in spent:
            figures |= ratio("of_limit", spent["limit"], spent["ours"])
        quality = {
            name: float(
                np.mean([likeness(*pair, self.side) for pair in zip(made, files, strict=True)])
            )
            for name, made in results.items()
        }
        figures["psnr"] = quality["ours"]
        for name in (name for name in ways if name != "ours"):
            figures[f"psnr_{name}"] = quality[name]
            figures[f"psnr_over_{name}"] = quality["ours"] - quality[name]
        return figures


# ---------------------------------------------------------------- photos


def photos(count: int, size: Size) -> Iterator[bytes]:
    """JPEG files as heavy as photos: coloured fields of all scales, soft edges and grain.

    A few are drawn; further ones are those moved round and mirrored, which no hash knows again.
    """
    rng = np.random.default_rng(0)
    drawn = [_photo(rng, size) for _ in range(min(count, DRAWN))]
    for number in range(count):
        pixels = drawn[number % DRAWN]
        if number >= DRAWN:
            pixels = np.roll(pixels, rng.integers(0, size[::-1], 2).tolist(), axis=(0, 1))
            pixels = pixels[:, :: rng.choice([-1, 1])]
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "JPEG", quality=90)
        yield stream.getvalue()


def fields(count: int, size: Size) -> Iterator[bytes]:
    """JPEG files of soft coloured fields, each image of its own colours; fast to make.

    Of so many fields hashes share bands as rarely as those of photos. Of sixteen, all would share
    one, and `prepare` would compare all with all.
    """
    rng = np.random.default_rng(0)
    for _ in range(count):
        colours = Image.fromarray(rng.integers(0, 256, (FIELDS, FIELDS, 3), np.uint8))
        stream = io.BytesIO()
        colours.resize(size, Image.Resampling.BICUBIC).save(stream, "JPEG", quality=90)
        yield stream.getvalue()


def _photo(rng: np.random.Generator, size: Size) -> np.ndarray:
    pixels = np.full((size[1], size[0], 3), 128.0, np.float32)
    # Amplitudes fall with the frequency, as those of photos do.
    for cells in (3, 6, 12, 24, 48, 96, 192, 384):
        noise = Image.fromarray(rng.integers(0, 256, (cells, cells, 3), np.uint8))
        enlarged = noise.resize(size, Image.Resampling.BICUBIC)
        pixels += (np.asarray(enlarged, np.float32) - 127) * (1.6 / cells**0.7)
    pixels += rng.normal(0, 3, (size[1], size[0], 1)).astype(np.float32)
    return pixels.clip(0, 255).astype(np.uint8)


# ---------------------------------------------------------------- ways


def ours(side: int) -> Way:
    """All that prepare does with an image, its hashes too."""

    def way(data: bytes) -> bytes:
        image = prepare_image(InMemory("photo", data), side, BOUNDS)
        assert isinstance(image, PreparedImage)
        return image.data

    return way


def pillow(side: int) -> Way:
    """Decoded whole, resized by Lanczos, saved as ours are."""

    def way(data: bytes) -> bytes:
        stream = io.BytesIO()
        best(data, side).save(stream, "JPEG", quality=95, subsampling=0)
        return stream.getvalue()

    return way


def peers(side: int) -> dict[str, Way]:
    """The peers that are installed.

    resizer: img2dataset's own. cv2: what that does with OpenCV, without what is around it. limit:
    the scaled decode, areas, and encoding of libjpeg-turbo, with no checks and no hashes.
    """
    ways: dict[str, Way] = {}
    if find_spec("cv2"):
        ways["cv2"] = _cv2(side)
        if find_spec("img2dataset") and find_spec("albumentations"):
            ways["resizer"] = _resizer(side)
        if find_spec("simplejpeg"):
            ways["limit"] = _limit(side)
    return ways


def _resizer(side: int) -> Way:
    # albumentations asks the network for a newer version of itself.
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
    package = find_spec("img2dataset")
    assert package and package.submodule_search_locations
    # The file alone: the package imports a downloader, trackers and pandas.
    path = Path(package.submodule_search_locations[0], "resizer.py")
    spec = spec_from_file_location("img2dataset_resizer", path)
    assert spec and spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    resizer = module.Resizer(side, "keep_ratio_largest", resize_only_if_bigger=True)
    return lambda data: resizer(io.BytesIO(data))[0]


def _cv2(side: int) -> Way:
    import cv2

    cv2.setNumThreads(1)

    def way(data: bytes) -> bytes:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        size = fitting((image.shape[1], image.shape[0]), side)
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()

    return way


def _limit(side: int) -> Way:
    import cv2
    import simplejpeg

    cv2.setNumThreads(1)

    def way(data: bytes) -> bytes:
        height, width, *_ = simplejpeg.decode_jpeg_header(data)
        across, down = fitting((width, height), side)
        image = simplejpeg.decode_jpeg(data, min_width=across, min_height=down, min_factor=1)
        if image.shape[:2] != (down, across):
            image = cv2.resize(image, (across, down), interpolation=cv2.INTER_AREA)
        return simplejpeg.encode_jpeg(image, 95, colorspace="RGB", colorsubsampling="444")

    return way


# ---------------------------------------------------------------- how good they are


def fitting(size: Size, side: int) -> Size:
    """The size whose larger side is `side`."""
    scale = side / max(size)
    return round(size[0] * scale), round(size[1] * scale)


def best(data: bytes, side: int) -> Image.Image:
    """The image that a whole decode and Lanczos give."""
    image = Image.open(io.BytesIO(data))
    return image.resize(fitting(image.size, side), Image.Resampling.LANCZOS)


def likeness(made: bytes, data: bytes, side: int) -> float:
    """PSNR in dB of an encoded image against the best of its file."""
    image = np.asarray(Image.open(io.BytesIO(made)).convert("RGB"), float)
    return float(10 * np.log10(255**2 / np.square(image - np.asarray(best(data, side))).mean()))
