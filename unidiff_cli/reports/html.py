"""Reports as single HTML files: templates filled, images inside, nothing fetched."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from PIL import Image

MARKS = {
    "better": "▲",
    "worse": "▼",
    "not distinguishable": "≈",
}  # a paired test's word, where there is no room for it


def render(template: str, **values: Any) -> str:
    """The HTML of `templates/<template>`; every value is escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    loader = FileSystemLoader(Path(__file__).parent / "templates")
    # autoescape by hand: jinja's default goes by the ending, and .j2 is none it knows
    environment = Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["thousands"] = lambda number: f"{number:,}"
    environment.globals["marks"] = MARKS
    return environment.get_template(template).render(**values)


def thumbnail(data: bytes, side: int = 128) -> str:
    """An image's bytes as a small `data:` address."""
    with Image.open(io.BytesIO(data)) as image:
        image.thumbnail((side, side))
        stream = io.BytesIO()
        image.convert("RGB").save(stream, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()


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
