"""Reports as single HTML files: templates filled, images inside, nothing loaded."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from PIL import Image

from unidiff_cli.reports.wording import MARKS

# The longest side of an image in a page, in px: sharp at the size it is shown.
THUMBNAIL = 160


def render(template: str, **values: Any) -> str:
    """The HTML of `templates/<template>`; every value is escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    # autoescape by hand: jinja's default goes by the ending, and .j2 is none it knows
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["thousands"] = lambda number: f"{number:,}"
    environment.globals["marks"] = MARKS
    return environment.get_template(template).render(**values)


def thumbnail(image: Image.Image | bytes, side: int = THUMBNAIL) -> str:
    """An image, or an image file's bytes, as a data: URI of at most `side` px.

    A small image stays exact (PNG, since JPEG smears 64 px); a larger one is a JPEG.
    """
    opened = Image.open(io.BytesIO(image)) if isinstance(image, bytes) else image
    exact = max(opened.size) <= side // 2
    small = opened.convert("RGB")
    if max(small.size) > side:
        small.thumbnail((side, side), Image.Resampling.LANCZOS)
    stream, form = io.BytesIO(), "png" if exact else "jpeg"
    small.save(stream, form, **({"optimize": True} if exact else {"quality": 85}))
    return f"data:image/{form};base64,{base64.b64encode(stream.getvalue()).decode()}"


def bars(values: Iterable[int], most: int = 24) -> list[tuple[str, int, float]]:
    """A histogram of whole numbers: (label, count, height of 1) a bar, at most so many."""
    numbers = sorted(values)
    if not numbers:
        return []
    low, high = numbers[0], numbers[-1]
    width = max(1, -(-(high - low + 1) // most))
    counts = [0] * ((high - low) // width + 1)
    for number in numbers:
        counts[(number - low) // width] += 1
    return [
        (
            str(low + n * width)
            if width == 1
            else f"{low + n * width}–{low + (n + 1) * width - 1}",
            count,
            count / max(counts),
        )
        for n, count in enumerate(counts)
    ]
