"""Prepares an image of a catalogue for the shards: upright, on white, in sRGB, not too large.

A JPEG that needs none of this keeps its bytes. Everything else becomes a JPEG of quality 95 without
chroma subsampling. Whatever a file holds, `prepare_image` returns an image or a reason: Pillow
raises ValueError, SyntaxError, NotImplementedError and more on broken files, not only OSError.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms, UnidentifiedImageError

from unidiff_cli.data.locations import Location
from unidiff_cli.data.perceptual_hash import perceptual_hash
from unidiff_cli.data.sample import Cause, Reason

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
MAX_BYTES = 1 << 29
# How files of other kinds begin, and what they are.
_SIGNS = (
    (b"8BPS", "a Photoshop file"),
    (b"%PDF", "a PDF"),
    (b"<svg", "an SVG drawing"),
    (b"PK\3\4", "a zip archive"),
    (b"\0\0\1\0", "an icon file"),
    (b"<!doc", "a web page"),
    (b"<html", "a web page"),
    (b"<?xml", "an XML file"),
    (b"\x1f\x8b", "a gzip file"),
    (b"II*\0\x10\0\0\0CR", "a camera raw file"),
    (b"%!PS", "a PostScript file"),
)
# EXIF orientation -> what puts the image upright.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class PreparedImage:
    """An image as it goes into a shard, and what tells it from others.

    `content` is the sha256 of `data`; `phash` are 32 bytes; `colour` is the mean colour of 4 x 4
    fields, 48 bytes; `changes` names what was done to it: rotated, alpha, resized, profile,
    reencoded.
    """

    data: bytes
    width: int
    height: int
    content: str
    phash: bytes
    colour: bytes
    flat: bool
    changes: frozenset[str]


def prepare_image(source: Location, max_side: int, max_pixels: int) -> PreparedImage | Reason:
    """The image as it goes into a shard, or in a few words why there is none."""
    data = _read(source)
    if isinstance(data, Reason):
        return data
    try:
        with _quiet(max_pixels):
            return _prepared(data, max_side, max_pixels)
    except Image.DecompressionBombError:
        return Reason(f"more than {max_pixels:,} pixels (prepare.max_pixels)")
    except UnidentifiedImageError:
        return Reason(_foreign(data))
    except MemoryError:
        return Reason("not enough memory to decode it")
    # What broken files raise has no common base class.
    except Exception as problem:
        return _damaged(problem)


def _read(source: Location) -> bytes | Reason:
    try:
        kind, size, *_ = source.stat()
        if kind != "file":
            return Reason("not a file")
        if size > MAX_BYTES:
            return Reason(f"larger than {MAX_BYTES >> 20} MiB")
        return source.read()
    except FileNotFoundError:
        return Reason("no such file")
    except (OSError, ValueError) as problem:
        return Reason(f"cannot be read: {getattr(problem, 'strerror', None) or problem}")


def _prepared(data: bytes, max_side: int, max_pixels: int) -> PreparedImage | Reason:
    if not data:
        return Reason("an empty file")
    image: Image.Image = Image.open(io.BytesIO(data), formats=FORMATS)
    if image.width * image.height > max_pixels:
        return Reason(
            f"{image.width:,} x {image.height:,} pixels, "
            f"more than prepare.max_pixels ({max_pixels:,})"
        )
    plain_jpeg = image.format == "JPEG" and image.mode == "RGB"
    if plain_jpeg and max(image.size) > 2 * max_side:
        # Decoded at 1/2, 1/4 or 1/8, still twice the side that is asked for.
        image.draft("RGB", (2 * max_side, 2 * max_side))
    image.load()
    changes = set()
    rgb, alpha = _opaque(image)
    changes |= {"alpha"} if alpha else set()
    rgb, converted = _srgb(rgb, image.info.get("icc_profile"))
    changes |= {"profile"} if converted else set()
    # Not by truth: FLIP_LEFT_RIGHT is 0.
    if (turn := _turn(image)) is not None:
        rgb = rgb.transpose(turn)
        changes.add("rotated")
    if max(rgb.size) > max_side:
        rgb = rgb.resize(_within(rgb.size, max_side), Image.Resampling.LANCZOS)
        changes.add("resized")
    if changes or not plain_jpeg:
        changes.add("reencoded")
        data = _jpeg(rgb)
    phash, flat = perceptual_hash(rgb)
    colour = np.asarray(rgb.resize((4, 4), Image.Resampling.BOX)).tobytes()
    content = hashlib.sha256(data).hexdigest()
    return PreparedImage(data, *rgb.size, content, phash, colour, flat, frozenset(changes))


def _turn(image: Image.Image) -> Image.Transpose | None:
    """What the EXIF orientation asks for; broken EXIF asks for nothing."""
    try:
        return _TURNS.get(image.getexif().get(0x0112, 1))
    except Exception:
        return None


def _within(size: tuple[int, int], side: int) -> tuple[int, int]:
    scale = min(1.0, side / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _opaque(image: Image.Image) -> tuple[Image.Image, bool]:
    """The image as RGB, L or CMYK, transparent parts on white; and whether any were."""
    if image.mode.startswith("I") or image.mode == "F":
        return _eight_bits(image), False
    if image.has_transparency_data:
        image = image.convert("RGBA")
        alpha = image.getchannel("A")
        if alpha.getextrema()[0] == 255:
            return image.convert("RGB"), False
        white = Image.new("RGB", image.size, "white")
        white.paste(image, mask=alpha)
        return white, True
    return image if image.mode in ("RGB", "L", "CMYK") else image.convert("RGB"), False


def _eight_bits(image: Image.Image) -> Image.Image:
    """Grey of 16 or 32 bits, or of floats, as L.

    Pillow's own convert cuts everything above 255 to white.
    """
    values = np.asarray(image).astype(np.float64)
    values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    top = float(values.max(initial=0.0))
    scale = 255 / 65535
    if image.mode == "F" and top <= 1:
        scale = 255
    elif image.mode in ("I", "F") and top <= 255:
        scale = 1
    return Image.fromarray(np.clip(np.rint(values * scale), 0, 255).astype(np.uint8))


def _srgb(image: Image.Image, profile: bytes | None) -> tuple[Image.Image, bool]:
    """The image in sRGB; and whether an embedded profile had to be applied."""
    transform = _transform(profile, image.mode) if profile else None
    if transform is None:
        return (image if image.mode == "RGB" else image.convert("RGB")), False
    return ImageCms.applyTransform(image, transform), True  # type: ignore[return-value]


@lru_cache(maxsize=16)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """What takes a profile's colours to sRGB; None where it is sRGB or cannot be used."""
    try:
        given = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "srgb" in ImageCms.getProfileDescription(given).lower():
            return None
        return ImageCms.buildTransform(given, ImageCms.createProfile("sRGB"), mode, "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None


def _jpeg(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=95, subsampling=0)
    return stream.getvalue()


# ---------------------------------------------------------------- words for what went wrong


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
    if data[4:12] in (b"ftypheic", b"ftypheix", b"ftypmif1"):
        return "a HEIC image; save it as JPEG"
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
