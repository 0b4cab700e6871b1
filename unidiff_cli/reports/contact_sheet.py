"""Contact sheets: many images on one page, each with a line of text."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw

# Pixels between images and around them, and of a line of text.
GAP, LINE = 8, 18


def contact_sheet(
    images: Sequence[Image.Image], labels: Sequence[str] = (), columns: int = 4, side: int = 256
) -> Image.Image:
    """Images on white, each fitted into a square of `side` pixels, with its label below it."""
    columns = max(1, min(columns, len(images)))
    rows, line = -(-len(images) // columns), LINE if labels else 0
    width, height = side + GAP, side + line + GAP
    page = Image.new("RGB", (columns * width + GAP, rows * height + GAP), "white")
    pen = ImageDraw.Draw(page)
    for i, image in enumerate(images):
        fitted = _fitted(image, side)
        x, y = GAP + i % columns * width, GAP + i // columns * height
        page.paste(fitted, (x + (side - fitted.width) // 2, y + (side - fitted.height) // 2))
        if i < len(labels):
            pen.text((x, y + side + 2), _shortened(labels[i], pen, side), fill="black")
    return page


def _fitted(image: Image.Image, side: int) -> Image.Image:
    """The image scaled so that its longer side is `side`."""
    scale = side / max(image.size)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    resample = Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.BICUBIC
    return image.resize(size, resample)


def _shortened(text: str, pen: ImageDraw.ImageDraw, width: int) -> str:
    """The text, cut with an ellipsis where it is wider than `width` pixels."""
    short = text
    while short and pen.textlength(short) > width:
        short = short[:-2]
    return short if short == text else f"{short}…"
