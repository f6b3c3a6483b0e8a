import http.client
import json

import pytest

from pipeline.web.responses import MAX_BODY_BYTES
from tests.pipeline.fakes import DEADLINE_S
from tests.pipeline.web.served import CONTROL, request, served


@pytest.fixture
def run():
    with served() as one:
        yield one


@pytest.mark.parametrize(
    ("change", "status", "text"),
    [
        (b'{"min_score": 1.5}', 400, "min_score: expected at most 1"),
        (b'{"masks": "yes"}', 400, "masks: expected true or false"),
        (b'{"mask_alpha": 0.5}', 400, "mask_alpha: extra inputs"),
        (b"[]", 400, "object"),
        (b"{", 400, "JSON"),
        (b"\xff", 400, "JSON"),
        (b" " * (MAX_BODY_BYTES + 1), 413, ""),
    ],
)
def test_invalid_bodies(run, change, status, text):
    before = run.stream.controls.state
    got, _, body = request(f"{run.url}api/overlay", change, CONTROL)
    assert got == status
    assert text in body.decode()
    assert run.stream.controls.state is before


def test_a_body_that_does_not_arrive_is_refused(run, monkeypatch):
    monkeypatch.setattr("pipeline.web.responses.BODY_TIMEOUT_S", 0.2)
    connection = http.client.HTTPConnection("127.0.0.1", run.port, timeout=DEADLINE_S)
    connection.putrequest("POST", "/api/recording")
    for name, value in (CONTROL | {"Content-Length": "12"}).items():
        connection.putheader(name, value)
    connection.endheaders(b'{"on"')
    answer = connection.getresponse()
    assert (answer.status, json.loads(answer.read())) == (408, {"error": "the request did not arrive within 0.2 s"})
    connection.close()
