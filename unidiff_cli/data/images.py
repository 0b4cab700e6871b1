"""Prepares an image of a catalogue for the shards: upright, opaque, in sRGB, not too large.

A JPEG that needs none of this keeps its bytes. Everything else becomes a JPEG of quality 95 without
chroma subsampling. Whatever a file holds, `prepare_image` returns an image or a reason.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageColor
from PIL.JpegImagePlugin import JpegImageFile

from unidiff_cli.data.image_content import content_of
from unidiff_cli.data.image_files import ImageBounds, with_image
from unidiff_cli.data.locations import Location
from unidiff_cli.data.perceptual_hash import fingerprint
from unidiff_cli.data.sample import Reason

# How much larger than asked for an image stays that is first made smaller by plain means.
GAP = 3.0
# Pixels whose grey is brought to 8 bits at a time.
STRIP = 1 << 20
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


# What may be done to an image.
CHANGES = ("first_frame", "rotated", "alpha", "resized", "profile", "reencoded")


@dataclass(frozen=True)
class PreparedImage:
    """An image as it goes into a shard, and what tells it from others.

    `content` is the sha256 of `data`; `phash` are 32 bytes; `colour` is the mean colour of 4 x 4
    fields, 48 bytes; `flat` says that it has nothing to recognise it by, `mask` that it looks as
    masks do, `coloured` that it is no image in greys. `changes` names those of CHANGES that
    were done to it.
    """

    data: bytes
    width: int
    height: int
    content: str
    phash: bytes
    colour: bytes
    flat: bool
    mask: bool
    coloured: bool
    changes: frozenset[str]


def prepare_image(
    source: Location, max_side: int, bounds: ImageBounds, background: str = "white"
) -> PreparedImage | Reason:
    """The image as it goes into a shard, or in a few words why there is none.

    Transparent parts get the colour `background`.
    """
    return with_image(source, bounds, partial(_prepared, max_side, ImageColor.getrgb(background)))


def rgb_image(source: Location, bounds: ImageBounds) -> Image.Image | Reason:
    """The pixels of an image and nothing changed, or in a few words why there are none."""
    return with_image(source, bounds, lambda data, image: image.convert("RGB"))


def _prepared(
    max_side: int, background: tuple[int, ...], data: bytes, image: Image.Image
) -> PreparedImage:
    plain_jpeg = image.format == "JPEG" and image.mode == "RGB"
    # Before it is decoded: whoever looks for a second frame starts anew.
    changes = {"first_frame"} if _has_frames(image) else set()
    size = _within(image.size, max_side)
    changes |= {"resized"} if size != image.size else set()
    box = _load(image, size, len(data))
    turn, profile = _turn(image), image.info.get("icc_profile")
    rgb, alpha = _opaque(image, background)
    if rgb is not image:
        # A large image is in memory once, not once for each step.
        image.close()
    changes |= {"alpha"} if alpha else set()
    # First of all that is done with pixels: it leaves the fewest.
    if rgb.size != size:
        rgb = rgb.resize(size, Image.Resampling.LANCZOS, box, GAP)
    rgb, converted = _srgb(rgb, profile)
    changes |= {"profile"} if converted else set()
    # Not by truth: FLIP_LEFT_RIGHT is 0.
    if turn is not None:
        rgb = rgb.transpose(turn)
        changes.add("rotated")
    if changes or not plain_jpeg:
        changes.add("reencoded")
        data = _jpeg(rgb)
    mark, shows = fingerprint(rgb), content_of(rgb)
    return PreparedImage(
        data,
        *rgb.size,
        content=hashlib.sha256(data).hexdigest(),
        phash=mark.phash,
        colour=mark.colour,
        flat=mark.flat,
        mask=shows.mask,
        coloured=shows.coloured,
        changes=frozenset(changes),
    )


def _load(
    image: Image.Image, size: tuple[int, int], most: int
) -> tuple[float, float, float, float] | None:
    """Decodes an image that is to have this size; returns the part of it to use, None: all.

    A JPEG is decoded at 1/2, 1/4 or 1/8 where that still covers the size. Its last column and row
    may then stand for less than a pixel, and the part leaves out the rest. EXIF turns come after.
    `most` are the bytes of its file.
    """
    box = None
    if isinstance(image, JpegImageFile):
        if size != image.size:
            drafted = image.draft(None, size)
            box = drafted[1] if drafted else None
        # In one piece. Of pieces Pillow copies what is left of one before the next.
        image.decodermaxblock = most
    image.load()
    return box


def _has_frames(image: Image.Image) -> bool:
    """Whether a file holds more than the one image that is taken: an animation, pages, views."""
    try:
        return bool(getattr(image, "is_animated", False))
    # A later frame is broken.
    except Exception:
        return True


def _turn(image: Image.Image) -> Image.Transpose | None:
    """What the EXIF orientation asks for; broken EXIF asks for nothing."""
    try:
        return _TURNS.get(image.getexif().get(0x0112, 1))
    except Exception:
        return None


def _within(size: tuple[int, int], side: int) -> tuple[int, int]:
    scale = min(1.0, side / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _opaque(image: Image.Image, background: tuple[int, ...]) -> tuple[Image.Image, bool]:
    """The image as RGB, L or CMYK, transparent parts on a colour; and whether any were."""
    if image.mode.startswith("I") or image.mode == "F":
        return _eight_bits(image), False
    if image.has_transparency_data:
        image = image if image.mode == "RGBA" else image.convert("RGBA")
        alpha = image.getchannel("A")
        if alpha.getextrema()[0] == 255:
            return image.convert("RGB"), False
        opaque = Image.new("RGB", image.size, background)
        opaque.paste(image, mask=alpha)
        return opaque, True
    return image if image.mode in ("RGB", "L", "CMYK") else image.convert("RGB"), False


def _eight_bits(image: Image.Image) -> Image.Image:
    """Grey of 16 or 32 bits, or of floats, as L.

    Pillow's own convert cuts everything above 255 to white. It is done in strips: as float64 a
    large image would take eight times its size.
    """
    top = max((float(_finite(strip).max(initial=0.0)) for _, strip in _strips(image)), default=0.0)
    scale = 255 / 65535
    if image.mode == "F" and top <= 1:
        scale = 255
    elif image.mode in ("I", "F") and top <= 255:
        scale = 1
    grey = Image.new("L", image.size)
    for row, strip in _strips(image):
        values = np.clip(np.rint(_finite(strip) * scale), 0, 255).astype(np.uint8)
        grey.paste(Image.fromarray(values), (0, row))
    return grey


def _strips(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """(first row, rows) of an image, from the top down."""
    height = max(1, STRIP // max(1, image.width))
    for row in range(0, image.height, height):
        yield row, image.crop((0, row, image.width, min(row + height, image.height)))


def _finite(strip: Image.Image) -> NDArray[np.float64]:
    values = np.asarray(strip).astype(np.float64)
    return np.nan_to_num(values, copy=False, nan=0.0, posinf=0.0, neginf=0.0)


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
