"""A service over the project that went through the whole chain, asked without a network."""

import pytest

pytest.importorskip("fastapi", reason="comes with the extra `serve`")

from tests.support.service import client_of
from unidiff_cli.data.shards import Shards
from unidiff_cli.service.service import Service


@pytest.fixture(scope="module")
def service(finished):
    return Service(finished)


@pytest.fixture(scope="module")
def client(service):
    with client_of(service) as client:
        yield client


@pytest.fixture(scope="session")
def item(finished):
    """The id of an item."""
    return Shards.open(finished.path("shards")).rows()[7].id


@pytest.fixture(scope="session")
def another(finished):
    """The id of an item of another product."""
    rows = Shards.open(finished.path("shards")).rows()
    return next(row.id for row in rows if row.group != rows[7].group)
