"""Reports as single HTML files: templates filled, images inside, nothing loaded."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

from PIL import Image

from unidiff_cli.reports.wording import MARKS, format_value

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
    environment.filters["number"] = lambda number: format_value(number, percent=False)
    environment.globals["marks"] = MARKS
    return environment.get_template(template).render(**values)


def thumbnail(image: Image.Image | bytes, side: int = THUMBNAIL) -> str:
    """An image, or an image file's bytes, as a data: URI of at most `side` px.

    A small image stays exact (PNG, since JPEG smears it); a larger one is a JPEG.
    """
    opened = Image.open(io.BytesIO(image)) if isinstance(image, bytes) else image
    exact = max(opened.size) <= side // 2
    small = opened.convert("RGB")
    if max(small.size) > side:
        small.thumbnail((side, side), Image.Resampling.LANCZOS)
    stream, form = io.BytesIO(), "png" if exact else "jpeg"
    small.save(stream, form, **({"optimize": True} if exact else {"quality": 85}))
    return f"data:image/{form};base64,{base64.b64encode(stream.getvalue()).decode()}"
