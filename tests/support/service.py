"""A client of the service in this process, without a network."""

from starlette.testclient import TestClient

from unidiff_cli.service.app import create_app
from unidiff_cli.service.server import LOOPBACK

HOST = "http://127.0.0.1:8000"


def client_of(service, **options) -> TestClient:
    """It answers to the names of this machine."""
    return TestClient(create_app(service, hosts=LOOPBACK, **options), base_url=HOST)
