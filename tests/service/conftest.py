"""A service over the project that went through the whole chain, asked without a network."""

import pytest

pytest.importorskip("fastapi", reason="comes with the extra `serve`")

from tests.support.service import client_of
from unidiff_cli.service.service import Service


@pytest.fixture(scope="module")
def service(finished):
    return Service(finished)


@pytest.fixture(scope="module")
def client(service):
    with client_of(service) as client:
        yield client
