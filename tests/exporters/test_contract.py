"""What every format of exports keeps to, whoever wrote it."""

import hashlib

import pytest

from tests.support.adapters import adapters_in
from unidiff_cli import registry
from unidiff_cli.models import loading

FORMATS = registry.names("exporters")


@pytest.fixture(scope="module")
def base(tiny_base):
    """A base that holds all that a format may ask for."""
    base = loading.load_base(str(tiny_base), 32)
    adapters = adapters_in(base)
    base.adapter = adapters.factors()
    adapters.taken_out()
    return base


def contents(folder):
    """Every file below a folder with the hash of its bytes."""
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in folder.rglob("*")
        if file.is_file()
    }


@pytest.mark.parametrize("name", FORMATS)
def test_it_says_what_it_is(name):
    exporter = registry.load("exporters", name)
    assert exporter.description and not exporter.description.endswith(".")


@pytest.mark.parametrize("name", FORMATS)
def test_check_writes_nothing(base, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    registry.load("exporters", name)().check(base)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", FORMATS)
def test_it_writes_files_and_nothing_outside(base, name, tmp_path):
    folder = tmp_path / "export"
    folder.mkdir()
    registry.load("exporters", name)().write(base, folder)
    assert contents(folder)
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.parametrize("name", FORMATS)
def test_the_same_base_gives_the_same_bytes(base, name, tmp_path):
    folders = tmp_path / "one", tmp_path / "two"
    for folder in folders:
        folder.mkdir()
        registry.load("exporters", name)().write(base, folder)
    assert contents(folders[0]) == contents(folders[1])


@pytest.mark.parametrize("name", FORMATS)
def test_it_leaves_the_model_as_it_was(base, name, tmp_path):
    before = base.weights_hash
    registry.load("exporters", name)().write(base, tmp_path)
    assert base.weights_hash == before


@pytest.mark.parametrize("name", [n for n in FORMATS if registry.load("exporters", n).is_base])
def test_a_format_that_is_a_base_loads_again_with_the_same_weights(base, name, tmp_path):
    registry.load("exporters", name)().write(base, tmp_path)
    assert loading.load_base(str(tmp_path), 32).weights_hash == base.weights_hash
