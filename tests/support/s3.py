"""A local S3 server (moto), which s3:// addresses of this process and its children lead to."""

import logging
from contextlib import contextmanager

import pytest


@contextmanager
def local_s3(bucket: str):
    """A client of it, with a bucket."""
    import boto3
    from moto.server import ThreadedMotoServer

    patch = pytest.MonkeyPatch()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        patch.setenv(name, "testing")
    patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    # Objects of one page of a list; S3 has 1000.
    patch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "10")
    # It logs each request.
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    client = boto3.client("s3")
    client.create_bucket(Bucket=bucket)
    try:
        yield client
    finally:
        server.stop()
        patch.undo()
