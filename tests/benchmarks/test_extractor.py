"""The extractor that is measured: the images' order, what an image may be, and errors."""

import numpy as np
import pytest
import torch
from PIL import Image

from unidiff_cli.evaluation.extractors.inception import BATCH, Inception


class MeanLayers(torch.nn.Module):
    """An image's first feature is its mean; 2,047 zeros follow."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.pad(x.mean(dim=(1, 2, 3)).unsqueeze(1), (0, 2047))


class Means(torch.nn.Module):
    """Called as NVIDIA's file is."""

    def __init__(self):
        super().__init__()
        self.layers = MeanLayers()

    def forward(self, x: torch.Tensor, return_features: bool = False) -> torch.Tensor:
        # The file's own resize: not what clean-fid asks for.
        return self.layers(x) * 0 - 1


@pytest.fixture(scope="module")
def extractor():
    return Inception(torch.jit.script(Means().eval()), "means")


def test_features_keep_the_images_order_over_batches(extractor):
    grays = np.arange(2 * BATCH + 3)
    features = extractor.features(np.full((9, 7, 3), gray, np.uint8) for gray in grays)
    assert features.shape == (len(grays), 2048) and features.dtype == np.float32
    assert features[:, 0] == pytest.approx((grays - 128) / 128, abs=1e-5)


def test_images_are_arrays_or_files(extractor, tmp_path):
    Image.fromarray(np.full((8, 8), 64, np.uint8)).save(tmp_path / "gray.png")
    images = [Image.open(tmp_path / "gray.png"), np.full((8, 8, 3), 64, np.uint8)]
    assert extractor.features(images)[:, 0] == pytest.approx([-0.5, -0.5])


def test_no_image_is_no_feature(extractor):
    assert extractor.features([]).shape == (0, 2048)


def test_an_image_that_cannot_be_read_is_an_error(extractor, tmp_path):
    (tmp_path / "cut.jpg").write_bytes(b"")
    with pytest.raises(OSError):
        extractor.features(Image.open(path) for path in tmp_path.iterdir())
