"""An image file opened within bounds; whatever it holds, there is a result or a reason.

Pillow raises ValueError, SyntaxError, NotImplementedError and more on broken files, not only
OSError. What a header tells is checked before anything is decoded. What it does not tell is bounded
by the process that decodes: see `executors.py`, and `is_light` for what needs no such process.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, TypeVar

import numpy as np
from PIL import Image, UnidentifiedImageError

from unidiff_cli.data import heic
from unidiff_cli.data.locations import Location
from unidiff_cli.data.png_notes import without_notes
from unidiff_cli.data.sample import NO_FILE, Cause, Reason, unreadable

# Not ICO (icons), TGA (no signature), PSD and EPS; nor JPEG 2000, which is rare and one decoder
# more in C that reads files of strangers. Each is refused by its name.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "PPM")
# What decodes in a few seconds at most, so that it may be done in any process: formats whose cost
# follows from their pixels, bytes and scans, and how many of each.
LIGHT_FORMATS = ("JPEG", "PNG", "WEBP", "GIF")
LIGHT_PIXELS, LIGHT_BYTES, LIGHT_SCANS, LIGHT_EXIF = 25_000_000, 16 << 20, 20, 1 << 16
# How files of other kinds begin, and what they are.
_SIGNS = (
    (b"8BPS", "a Photoshop file"),
    (b"%PDF", "a PDF"),
    (b"<svg", "an SVG drawing"),
    (b"PK\3\4", "a zip archive"),
    (b"\0\0\1\0", "an icon file"),
    (b"\0\0\0\x0cjP  ", "a JPEG 2000 image"),
    (b"\xff\x4f\xff\x51", "a JPEG 2000 image"),
    (b"\0\0\0\x0cJXL ", "a JPEG XL image"),
    (b"<!doc", "a web page"),
    (b"<html", "a web page"),
    (b"<?xml", "an XML file"),
    (b"\x1f\x8b", "a gzip file"),
    (b"II*\0\x10\0\0\0CR", "a camera raw file"),
    (b"%!PS", "a PostScript file"),
)

Result = TypeVar("Result")


class ImageBounds(NamedTuple):
    """What an image may have at most: pixels, bytes of its file, scans of a JPEG.

    `side` is the least length of its shorter side, `aspect` how many times that its longer side may
    be; 0: any.
    """

    pixels: int
    bytes: int
    scans: int
    side: int = 0
    aspect: float = 0


def with_image(
    source: Location, bounds: ImageBounds, work: Callable[[bytes, Image.Image], Result]
) -> Result | Reason:
    """What the work makes of a file's bytes and of the image in it, opened and not yet decoded."""
    data = _read(source, bounds.bytes)
    if isinstance(data, Reason):
        return data
    try:
        with _quiet(bounds.pixels):
            image = _opened(data, FORMATS)
            return _excess(data, image, bounds) or _unfit(image, bounds) or work(data, image)
    except Image.DecompressionBombError:
        return Reason(f"more than {bounds.pixels:,} pixels (prepare.max_pixels)")
    except UnidentifiedImageError:
        return Reason(_foreign(data))
    except MemoryError:
        return Reason("it needs more memory than prepare.limits.image_memory")
    # What broken files raise has no common base class.
    except Exception as problem:
        return _damaged(problem)


def is_light(source: Location) -> bool:
    """Whether an image is known to decode in seconds and a few hundred megabytes, by its header."""
    data = _read(source, LIGHT_BYTES)
    if isinstance(data, Reason):
        return source.kind() != "file" or source.size <= LIGHT_BYTES
    try:
        with _quiet(LIGHT_PIXELS):
            image = _opened(data, LIGHT_FORMATS)
            exif = image.info.get("exif") or b""
            few = image.width * image.height <= LIGHT_PIXELS and len(exif) <= LIGHT_EXIF
            return few and _scans(data) <= LIGHT_SCANS
    # Its own process says what it is.
    except Exception:
        return False


def _opened(data: bytes, formats: tuple[str, ...]) -> Image.Image:
    """An image of one of these formats, or of HEIC where it can be read."""
    if formats is FORMATS and heic.is_heic(data) and heic.can_read_heic():
        formats = (heic.FORMAT,)
    return Image.open(io.BytesIO(without_notes(data)), formats=formats)


def _read(source: Location, most: int) -> bytes | Reason:
    try:
        kind, size, *_ = source.stat()
        if kind == "file" and size > most:
            return Reason(f"larger than {most >> 20:,} MiB (prepare.limits.image_bytes)")
        return source.read(most) or Reason("an empty file")
    except FileNotFoundError:
        return Reason(NO_FILE)
    except (OSError, ValueError) as problem:
        return unreadable(problem)


def _excess(data: bytes, image: Image.Image, bounds: ImageBounds) -> Reason | None:
    """What an image has too much of, by its header."""
    if image.width * image.height > bounds.pixels:
        return Reason(
            f"{image.width:,} x {image.height:,} pixels, "
            f"more than prepare.max_pixels ({bounds.pixels:,})"
        )
    if image.format in ("JPEG", "MPO") and (scans := _scans(data)) > bounds.scans:
        return Reason(
            f"a JPEG of {scans:,} scans, more than prepare.limits.image_scans ({bounds.scans:,})"
        )
    return None


def _unfit(image: Image.Image, bounds: ImageBounds) -> Reason | None:
    """Why an image cannot be a product's, by its size."""
    short, long = sorted(image.size)
    if bounds.aspect and long > bounds.aspect * short:
        return Reason(
            f"{image.width:,} x {image.height:,} pixels, longer than prepare.max_aspect "
            f"({bounds.aspect:g}) allows",
            Cause.STRIP,
        )
    if short < bounds.side:
        return Reason(
            f"{image.width:,} x {image.height:,} pixels, smaller than prepare.min_side "
            f"({bounds.side:,})",
            Cause.SMALL,
        )
    return None


def _scans(data: bytes) -> int:
    """The scans of a JPEG: FF DA, which compressed data does not hold.

    Four times as fast as to count in bytes.
    """
    values = np.frombuffer(data, np.uint8)
    return int(np.count_nonzero((values[1:] == 0xDA) & (values[:-1] == 0xFF)))


@contextmanager
def _quiet(max_pixels: int) -> Iterator[None]:
    """Pillow's own pixel cap set to ours, its warnings held back."""
    before = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = max_pixels
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def _foreign(data: bytes) -> str:
    start = data[:512].lstrip().lower()
    for sign, what in _SIGNS:
        if start.startswith(sign.lower()):
            return f"{what}, not an image unidiff reads"
    if heic.is_heic(data):
        way = f"{heic.PIP}, or save it as JPEG"
        return "a damaged HEIC image" if heic.can_read_heic() else f"a HEIC image; {way}"
    try:
        data[:512].decode("utf-8")
        return "text, not an image"
    except UnicodeDecodeError:
        return f"not an image of a format unidiff reads ({', '.join(FORMATS)})"


def _damaged(problem: Exception) -> Reason:
    text = " ".join(str(problem).split())[:120]
    if "truncated" in text.lower() or isinstance(problem, EOFError):
        return Reason("truncated: the file ends before the image does")
    return Reason(f"damaged: {text or type(problem).__name__}", Cause.DAMAGED)
