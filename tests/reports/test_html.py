"""Images inside a page."""

import base64
import io

import pytest
from PIL import Image

from unidiff_cli.reports.html import thumbnail


def opened(uri):
    """The kind of a data: URI and its image."""
    head, data = uri.split(",")
    return head, Image.open(io.BytesIO(base64.b64decode(data)))


def test_a_small_image_is_exact():
    head, image = opened(thumbnail(Image.new("RGB", (64, 64), (1, 2, 3))))
    assert head == "data:image/png;base64"
    assert image.getpixel((5, 5)) == (1, 2, 3)


def test_a_large_image_is_scaled():
    head, image = opened(thumbnail(Image.new("RGB", (1024, 512))))
    assert head == "data:image/jpeg;base64"
    assert image.size == (160, 80)


@pytest.mark.parametrize("size", [(64, 64), (1024, 512)])
def test_the_bytes_of_a_file_give_the_same(size):
    image = Image.new("RGB", size, "red")
    stream = io.BytesIO()
    image.save(stream, "PNG")
    assert thumbnail(stream.getvalue()) == thumbnail(image)
