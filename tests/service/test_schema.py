"""What schemathesis sends to every route of the document: no answer is a mistake of ours."""

import pytest
from starlette.testclient import TestClient

from unidiff_cli.service.app import create_app
from unidiff_cli.service.limits import Limits
from unidiff_cli.service.service import Service

schemathesis = pytest.importorskip("schemathesis", reason="comes with the extra `test`")


@pytest.mark.slow
def test_no_request_is_a_server_error(finished):
    from hypothesis import HealthCheck, given, settings

    service = Service(finished, limits=Limits(queue=2, images=1))
    # Generations that are asked for by chance need not be drawn.
    service.jobs.stop()
    app = create_app(service)
    with TestClient(app):
        schema = schemathesis.openapi.from_asgi("/openapi.json", app)
        operations = [result.ok() for result in schema.get_all_operations()]
        assert len(operations) >= 10
        tried = []
        for operation in operations:
            tried.clear()

            @settings(
                max_examples=60,
                deadline=None,
                suppress_health_check=list(HealthCheck),
                database=None,
            )
            @given(case=operation.as_strategy())
            def send(case):
                answer = case.call()
                tried.append(answer.status_code)
                assert answer.status_code < 500, (case.operation.label, answer.text)

            send()
            assert tried
