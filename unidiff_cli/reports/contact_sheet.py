"""contact_sheet: several images on one page, with a line of text below each."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw

# Pixels between images, and below one for its text.
GAP, LINE = 8, 18


def contact_sheet(
    images: Sequence[Image.Image], labels: Sequence[str] = (), columns: int = 4, side: int = 256
) -> Image.Image:
    """Images on white, each fitted into a square of `side` px, in rows of at most `columns`."""
    columns = max(1, min(columns, len(images)))
    rows, line = -(-len(images) // columns), LINE if labels else 0
    width, height = columns * (side + GAP) + GAP, rows * (side + line + GAP) + GAP
    page = Image.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(page)
    for i, image in enumerate(images):
        fitted = _fitted(image, side)
        x = GAP + (i % columns) * (side + GAP)
        y = GAP + (i // columns) * (side + line + GAP)
        page.paste(fitted, (x + (side - fitted.width) // 2, y + (side - fitted.height) // 2))
        if i < len(labels):
            pen.text((x, y + side + 2), _shortened(labels[i], side, pen), fill="black")
    return page


def _fitted(image: Image.Image, side: int) -> Image.Image:
    scale = side / max(image.size)
    resample = Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.BICUBIC
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, resample)


def _shortened(label: str, side: int, pen: ImageDraw.ImageDraw) -> str:
    text = label
    while text and pen.textlength(text) > side:
        text = text[:-2]
    return text if text == label else text + "…"
