"""Requests that no browser sends, to every route: none is an error of the server, and none leaves a traceback."""

import logging

import pytest
from hypothesis import HealthCheck, example, given, settings

from tests.fuzz.requests import BODY, HEAD, METHOD, PATH, QUERY, TOKEN, ask, batch, one_source, several_cameras

REQUESTS = 150
"""`python -m tests.fuzz --target page` sends more."""


@pytest.mark.parametrize("served_run", [one_source, several_cameras, batch])
@pytest.mark.parametrize("token", [None, TOKEN])
def test_no_request_is_an_error_of_the_server(token, served_run, caplog):
    caplog.set_level(logging.INFO)
    with served_run({"token": token, "max_viewers": 1000}) as run:
        statuses = []

        @settings(max_examples=REQUESTS, deadline=None, suppress_health_check=list(HealthCheck), database=None)
        @given(METHOD, PATH, QUERY, HEAD, BODY)
        @example(b"GET", b"/", b"", [(b"Authorization", b"Bearer \xff\xfe")], b"")
        @example(b"GET", b"/", b"", [(b"Cookie", b"stream_segment=\xff")], b"")
        @example(b"GET", b"/api/status", b"", [(b"Origin", b"http://[")], b"")
        @example(b"GET", b"/x%0d%0aSet-Cookie:%20a=b", b"?token=x", [], b"")
        @example(b"GET", b"//evil.example/x", b"?token=" + TOKEN.encode(), [], b"")
        @example(b"GET", b"/", b"", [(b"Expect", b"\xff")], b"")
        @example(b"PUT", b"/x", b"", [(b"Content-Encoding", b"gzip")], b"no gzip")
        @example(b"GET", b"/recordings/%2f%2fevil.example", b"?token=" + TOKEN.encode(), [], b"")
        @example(b"GET", b"/cameras/%2f%2fevil.example/", b"?token=" + TOKEN.encode(), [], b"")
        @example(b"GET", b"/snapshot.jpg", b"?token=" + TOKEN.encode(), [], b"")
        def fuzz(method, path, query, head, body):
            caplog.clear()
            statuses.append(ask(run, method, path, query, head, body))
            assert [r.getMessage() for r in caplog.records if r.exc_info or r.levelno >= logging.WARNING] == []

        fuzz()
        assert statuses.count(None) < len(statuses) / 2
        assert run.get("/healthz")[0] == (404 if served_run is batch else 200)
