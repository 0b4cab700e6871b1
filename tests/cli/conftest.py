"""The command in this process, a place to work in, and projects that name the tiny base."""

import pytest

from tests.support.cli import on_tiny_base
from tests.support.commands import unidiff, workplace  # noqa: F401
from tests.support.projects import copy_project


@pytest.fixture
def project(tmp_path, prepared, tiny_base):
    """A prepared project of this test's own."""
    return on_tiny_base(copy_project(prepared, tmp_path), tiny_base)


@pytest.fixture(scope="module")
def exported(tmp_path_factory, finished, tiny_base):
    """A project of this module's own, with an export and an index."""
    return on_tiny_base(copy_project(finished, tmp_path_factory.mktemp("cli")), tiny_base)
