"""TODO docstring."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw

if TYPE_CHECKING:
    pass


def contact_sheet(
    images: Sequence[Image.Image], labels: Sequence[str] = (), columns: int = 4, side: int = 256
) -> Image.Image:
    """A contact sheet on white, each image fitted into a square of `side` pixels with a line of text below."""
    columns = max(1, min(columns, len(images)))
    rows, line = -(-len(images) // columns), 18 if labels else 0
    page = Image.new("RGB", (columns * (side + 8) + 8, rows * (side + line + 8) + 8), "white")
    pen = ImageDraw.Draw(page)
    for i, image in enumerate(images):
        scale = side / max(image.size)
        resample = Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.BICUBIC
        fitted = image.resize(
            (max(1, round(image.width * scale)), max(1, round(image.height * scale))), resample
        )
        x, y = 8 + (i % columns) * (side + 8), 8 + (i // columns) * (side + line + 8)
        page.paste(fitted, (x + (side - fitted.width) // 2, y + (side - fitted.height) // 2))
        if i < len(labels):
            text = labels[i]
            while text and pen.textlength(text) > side:
                text = text[:-2]
            pen.text((x, y + side + 2), text if text == labels[i] else text + "…", fill="black")
    return page
