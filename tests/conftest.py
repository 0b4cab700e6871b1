"""A tiny base, a tiny catalogue, and a project that has gone through the whole chain once."""

import os
from pathlib import Path

import pytest

from tests.support.base import BASES, write_base
from tests.support.catalogue import write_catalogue
from tests.support.projects import copy_project, load_recipe

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault(
    "OMP_NUM_THREADS", "1"
)  # models this small lose more to threads than they win


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory) -> Path:
    return write_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="session")
def tiny_bases(tmp_path_factory, tiny_base):
    """The folder of a tiny base by its name in BASES, written once."""
    written = {"sd1": tiny_base}

    def folder_of(name: str) -> Path:
        if name not in written:
            written[name] = BASES[name](tmp_path_factory.mktemp("base"))
        return written[name]

    return folder_of


@pytest.fixture(scope="session")
def load_tiny(tiny_bases):
    """A tiny base of one's own by its name in BASES, at 32 px; read once and then copied."""
    import copy

    from unidiff_cli.models import loading

    loaded = {}

    def copy_of(name: str):
        if name not in loaded:
            loaded[name] = loading.load_base(str(tiny_bases(name)), 32)
        return copy.deepcopy(loaded[name])

    return copy_of


@pytest.fixture(scope="session")
def catalogue(tmp_path_factory) -> Path:
    return write_catalogue(tmp_path_factory.mktemp("catalogue") / "shop")


@pytest.fixture(scope="session")
def recipe(tiny_base):
    """The shipped fashion recipe on the tiny base."""
    return load_recipe(tiny_base)


@pytest.fixture(scope="session")
def prepared(tmp_path_factory, catalogue, recipe):
    """A project with shards and nothing else; tests that train copy it."""
    from unidiff_cli import Project, prepare

    project = Project(tmp_path_factory.mktemp("prepared") / "project")
    prepare(project, recipe, catalogue)
    return project


@pytest.fixture(scope="session")
def finished(tmp_path_factory, prepared, recipe):
    """A project after prepare → train → export → index. Read it, do not change it."""
    from unidiff_cli import export, index, train

    project = copy_project(prepared, tmp_path_factory.mktemp("finished"))
    name, _ = train(project, recipe)
    export(project, name)
    index(project)
    return project


@pytest.fixture
def project(tmp_path, prepared):
    """A prepared project of one's own."""
    return copy_project(prepared, tmp_path)


@pytest.fixture(scope="module")
def scorer_folder(tmp_path_factory):
    """The folder of a tiny random CLIP in the place of the shipped scorer."""
    from tests.support.scorer import tiny_scorer

    with tiny_scorer(tmp_path_factory.mktemp("scorer")) as folder:
        yield folder
