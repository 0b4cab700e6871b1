"""What a generated image depends on, and where a PNG file holds it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import IO, Any, Literal

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from unidiff_cli import __version__
from unidiff_cli.config.values import GuidanceScale, Positive, SamplerSteps, Section, Seed, Share
from unidiff_cli.data.buckets import Size
from unidiff_cli.data.plain_files import open_plain
from unidiff_cli.errors import UsageError
from unidiff_cli.models.guidance import ALWAYS, Guidance

# The PNG text chunk that holds a record as JSON.
KEY = "unidiff"


class GenerationRecord(Section):
    """Everything one image depends on."""

    prompt: str
    seed: Seed
    steps: SamplerSteps
    guidance: GuidanceScale
    negative: str
    export: str
    weights_hash: str
    # The side of a square, or width and height.
    size: Positive | tuple[Positive, Positive]
    scheduler: str
    version: str = __version__
    guidance_interval: tuple[Share, Share] = ALWAYS
    guidance_rescale: Share = 0.0
    # Whose prediction without a caption it started from.
    guidance_unconditional: Literal["own", "base"] = "own"
    # The cosine with the prompt by the export's own CLIP, where candidates were ranked.
    score: float | None = None
    # The verdict of the base's safety checker; None where it has none.
    flagged: bool | None = None

    @property
    def guided(self) -> Guidance:
        """How the image was guided."""
        return Guidance(
            self.guidance,
            self.guidance_interval,
            self.guidance_rescale,
            self.guidance_unconditional,
        )

    @property
    def width_height(self) -> Size:
        """The size of the image."""
        return Size.square(self.size) if isinstance(self.size, int) else Size(*self.size)

    def plain(self) -> dict[str, Any]:
        """The record as JSON can hold it."""
        return self.model_dump(mode="json")


def write_image(file: Path | IO[bytes], image: Image.Image, record: GenerationRecord) -> None:
    """Writes an image as a PNG, into a file or a stream, that holds its record."""
    chunks = PngInfo()
    chunks.add_text(KEY, json.dumps(record.plain()))
    image.save(file, "PNG", pnginfo=chunks)


def read_record(file: Path) -> GenerationRecord:
    """The record of a PNG file. Raises UsageError where there is none."""
    try:
        with open_plain(file) as stream, Image.open(stream, formats=["PNG"]) as opened:
            text = opened.text[KEY]  # type: ignore[attr-defined]
        return GenerationRecord.model_validate_json(text, strict=True)
    except FileNotFoundError as problem:
        raise UsageError(f"There is no image {file}.") from problem
    # It is no PNG, has no such chunk, or holds there what we do not write.
    except Exception as problem:
        raise UsageError(
            f"{file} does not hold how it was generated.",
            "Give a PNG that unidiff generate made.",
        ) from problem
