"""A service over the project that went through the whole chain, asked without a network."""

import pytest

pytest.importorskip("fastapi", reason="comes with the extra `serve`")

from starlette.testclient import TestClient

from unidiff_cli.service.app import create_app
from unidiff_cli.service.server import LOOPBACK
from unidiff_cli.service.service import Service

HOST = "http://127.0.0.1:8000"


def client_of(service, **options) -> TestClient:
    return TestClient(create_app(service, hosts=LOOPBACK, **options), base_url=HOST)


@pytest.fixture(scope="module")
def service(finished):
    return Service(finished)


@pytest.fixture(scope="module")
def client(service):
    with client_of(service) as client:
        yield client
