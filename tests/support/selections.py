"""Images with captions as prepare has them decoded, without a catalogue on disk."""

from collections.abc import Iterable
from pathlib import Path
from tempfile import gettempdir

from PIL import Image

from tests.support.catalogue import bounds, encoded
from unidiff_cli.data.images import PreparedImage, prepare_image
from unidiff_cli.data.kept_images import Place
from unidiff_cli.data.locations import InMemory
from unidiff_cli.data.sample import Sample
from unidiff_cli.data.stored_samples import STORED, Decoded, StoredSample

COLOURS = ("red", "blue", "green", "black", "white", "yellow")
GOODS = ("dress", "shirt", "skirt", "coat", "hat", "bag", "shoe", "scarf")


def caption(n: int) -> str:
    """The caption of product n, unlike those of most other products."""
    return f"{COLOURS[n % 6]} {GOODS[n % 8]} number {n}"


def decoded(rows: Iterable[tuple[Image.Image | bytes, str]], **columns) -> Decoded:
    """Samples of (image or file, caption); a column of the sample is a function of the number."""
    result = Decoded.empty(Path(gettempdir()))
    for n, (image, text) in enumerate(rows):
        data = image if isinstance(image, bytes) else encoded(image, quality=90)
        prepared = prepare_image(InMemory("image", data), 1024, bounds())
        assert isinstance(prepared, PreparedImage), prepared
        values = {name: value(n) for name, value in columns.items()}
        sample = Sample(f"row {n}", STORED, (text,), **values)
        result.samples.append(StoredSample(sample, f"{n}.jpg", prepared, Place(0, 0, 0)))
    return result
