"""Projects that name the tiny base."""

import pytest

from tests.support.cli import on_tiny_base
from tests.support.projects import copy_project


@pytest.fixture
def project(tmp_path, prepared, tiny_base):
    """A prepared project of this test's own."""
    return on_tiny_base(copy_project(prepared, tmp_path), tiny_base)


@pytest.fixture
def exported(tmp_path, finished, tiny_base):
    """A project of this test's own with an export and an index."""
    return on_tiny_base(copy_project(finished, tmp_path), tiny_base)
