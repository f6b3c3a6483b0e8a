"""The page of a batch over HTTP: what it shows, to whom, and that nothing can be changed through it."""

import http.client
import json
import os
import socket

import pytest

from pipeline.web.access import Access
from pipeline.web.batch_routes import BatchRoutes
from pipeline.web.routes import Site
from tests.pipeline.fakes import DEADLINE_S
from tests.pipeline.web.served import CONTROL, request
from tests.pipeline.web.served_batch import REPORT, served_batch

TOKEN = "correct-horse-battery"


@pytest.fixture
def run(tmp_path):
    with served_batch(tmp_path) as one:
        yield one


def test_the_status_as_json(run, tmp_path):
    run.status.event("failed", name="day1/cam7.mp4", reason="no video", attempts=1)
    run.work()
    status, headers, body = run.get("/api/status")
    assert (status, headers["Content-Type"]) == (200, "application/json; charset=utf-8")
    found = json.loads(body)
    assert (found["results"], found["report"]) == (tmp_path.name, False)
    assert [found[key] for key in ("inputs", "done", "failed", "skipped", "frames")] == [40, 3, 1, 36, 450]
    assert found["workers"][1] == {"worker": 1, "name": "day1/cam1.mp4", "frames": 30, "total": 120}
    assert found["troubles"][0]["reason"] == "no video"


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "text/html"),
        ("/batch.js", "text/javascript"),
        ("/style.css", "text/css"),
        ("/api/status", "application/json"),
        ("/report.html", "text/html"),
    ],
)
def test_every_response_has_strict_headers(run, path, kind):
    run.report.write_text(REPORT, encoding="utf-8")
    status, headers, body = run.get(path)
    assert (status, headers["Content-Type"].partition(";")[0]) == (200, kind)
    assert body
    assert [headers[name] for name in ("X-Content-Type-Options", "Referrer-Policy", "X-Frame-Options")] == [
        "nosniff",
        "no-referrer",
        "DENY",
    ]
    assert headers["Cache-Control"] == "no-store"
    policy = headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in policy
    assert policy.startswith("default-src 'none';" if path == "/report.html" else "default-src 'self';")
    assert "script-src" not in policy


def test_the_page_fetches_nothing_from_elsewhere(run):
    for path in ("/", "/batch.js"):
        text = run.get(path)[2].decode()
        assert "http:" not in text
        assert "https:" not in text
        assert " style=" not in text


def test_events_end_with_the_last_status(run):
    connection = http.client.HTTPConnection("127.0.0.1", run.port, timeout=DEADLINE_S)
    connection.request("GET", "/api/events")
    answer = connection.getresponse()
    assert answer.headers["Content-Type"] == "text/event-stream"
    first = json.loads(answer.readline().removeprefix(b"data: "))
    assert first["done"] == 0
    run.work(done=39)
    run.page.close()
    events = answer.read().decode().strip().split("\n\n")
    connection.close()
    assert events[-1] == "event: end\ndata: {}"
    assert json.loads(events[-2].removeprefix("data: "))["done"] == 39


def test_the_report_once_it_exists(run):
    status, _, body = run.get("/report.html")
    assert (status, json.loads(body)) == (404, {"error": "there is no report yet: the command `report` makes it"})
    run.report.write_text(REPORT, encoding="utf-8")
    assert json.loads(run.get("/api/status")[2])["report"] is True
    status, headers, body = run.get("/report.html")
    assert (status, headers["Content-Type"], body.decode()) == (200, "text/html; charset=utf-8", REPORT)


@pytest.mark.skipif(os.name != "posix", reason="links need privileges on Windows")
def test_a_link_in_place_of_the_report_is_not_followed(run, tmp_path):
    (tmp_path / "secret").write_text("secret")
    run.report.symlink_to(tmp_path / "secret")
    status, _, body = run.get("/report.html")
    assert status == 500
    assert b"secret" not in body


def test_nothing_can_be_changed(run, tmp_path):
    site = Site(Access(None), dict)
    BatchRoutes(dict, tmp_path / "report.html", 1).add_to(site)
    assert {route.method for route in site.app.router.routes()} == {"GET", "HEAD"}
    for path in ("/", "/api/status", "/report.html"):
        assert request(run.url + path.lstrip("/"), b"{}", CONTROL)[0] == 405


@pytest.mark.parametrize("path", ["/", "/batch.js", "/api/status", "/api/events", "/report.html"])
def test_a_token_is_needed_where_one_is_set(tmp_path, path):
    with served_batch(tmp_path, {"token": TOKEN}) as run:
        run.report.write_text(REPORT, encoding="utf-8")
        assert run.get(path)[0] == 401
        assert run.get(path, Host="evil.example", Authorization=f"Bearer {TOKEN}")[0] == 403
        assert run.get(path, Origin="http://evil.example", Authorization=f"Bearer {TOKEN}")[0] == 403
        if path != "/api/events":
            assert run.get(path, Authorization=f"Bearer {TOKEN}")[0] == 200


def test_viewers_are_limited(tmp_path):
    with served_batch(tmp_path, {"max_viewers": 1}) as run:
        with socket.create_connection(("127.0.0.1", run.port), DEADLINE_S) as viewer:
            viewer.sendall(b"GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert b"200 OK" in viewer.recv(4096)
            status, _, body = run.get("/api/events")
        assert (status, json.loads(body)) == (503, {"error": "the limit of 1 viewers is reached (serve.max_viewers)"})
