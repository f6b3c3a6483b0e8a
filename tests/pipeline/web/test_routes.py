"""Who may send which request, and with which headers the answers come."""

import http.client
import json
import socket

import pytest

from tests.pipeline.fakes import DEADLINE_S
from tests.pipeline.web.served import CONTROL, request, served

TOKEN = "correct-horse-battery"


@pytest.fixture
def run():
    with served() as one:
        yield one


@pytest.fixture
def locked():
    with served(serve={"token": TOKEN}) as one:
        yield one


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "text/html"),
        ("/app.js", "text/javascript"),
        ("/plots.js", "text/javascript"),
        ("/recordings.js", "text/javascript"),
        ("/style.css", "text/css"),
        ("/icon.svg", "image/svg+xml"),
        ("/api/status", "application/json"),
        ("/metrics", "text/plain"),
        ("/absent", "text/plain"),
    ],
)
def test_every_response_has_strict_headers(run, path, kind):
    status, headers, body = run.get(path)
    assert status == (404 if path == "/absent" else 200)
    assert headers["Content-Type"].startswith(kind)
    assert body
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cache-Control"] == "no-store"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    policy = headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'self';")
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert "Access-Control-Allow-Origin" not in headers
    assert headers["Server"] == "stream_segment"


def test_the_page_fetches_nothing_from_elsewhere(run):
    for path in ("/", "/app.js", "/plots.js", "/recordings.js", "/style.css"):
        text = run.get(path)[2].decode().replace("http://www.w3.org/2000/svg", "")
        assert "http:" not in text
        assert "https:" not in text
        assert " style=" not in text
        assert "onclick=" not in text


def post(run, path, data, headers):
    return request(run.url + path.lstrip("/"), data, headers)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Type": "application/json"}, 403),
        ({"Content-Type": "text/plain", "X-Stream-Segment": "1"}, 415),
        (CONTROL | {"Origin": "http://evil.example"}, 403),
        (CONTROL | {"Sec-Fetch-Site": "cross-site"}, 403),
        (CONTROL | {"Host": "evil.example"}, 403),
        (CONTROL, 200),
    ],
)
@pytest.mark.parametrize(
    ("path", "change", "accepted"),
    [
        ("/api/overlay", b"{}", 200),
        ("/api/recording", b'{"on": false}', 200),
        ("/api/recordings/delete", b'{"name": "absent.mp4"}', 404),
    ],
)
def test_controls_are_refused_to_other_sites(run, path, change, accepted, headers, status):
    assert post(run, path, change, headers)[0] == (accepted if status == 200 else status)


def test_other_methods_are_refused(run):
    connection = http.client.HTTPConnection("127.0.0.1", run.port, timeout=DEADLINE_S)
    for method in ("OPTIONS", "PUT", "DELETE"):
        connection.request(method, "/api/overlay")
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 405
    connection.close()


# -- token ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    "/ /app.js /api/status /api/events /metrics /stream.mjpg /snapshot.jpg /api/recordings /recordings/a.mp4".split(),
)
def test_without_the_token_everything_is_refused(locked, path):
    status, headers, body = locked.get(path)
    assert status == 401
    assert headers["WWW-Authenticate"] == "Bearer"
    assert "A token is required" in json.loads(body)["error"]
    assert headers["X-Content-Type-Options"] == "nosniff"


def test_a_browser_without_the_token_gets_a_page(locked):
    status, headers, body = locked.get("/", Accept="text/html,*/*")
    assert (status, headers["Content-Type"]) == (401, "text/html; charset=utf-8")
    assert "A token is required" in body.decode()
    assert locked.get("/style.css")[0] == 200


def test_health_is_public(locked):
    assert locked.get("/healthz")[0] in (200, 503)


def test_a_bearer_token(locked):
    assert locked.get("/metrics", Authorization=f"Bearer {TOKEN}")[0] == 200
    assert locked.get("/metrics", Authorization="Bearer wrong-wrong-wrong")[0] == 401


def test_the_token_in_the_address_becomes_a_cookie(locked):
    status, headers, _ = locked.get(f"/?token={TOKEN}")
    assert (status, headers["Location"]) == (303, "/")
    cookie, *attributes = headers["Set-Cookie"].split("; ")
    assert TOKEN not in cookie
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(attributes)
    assert locked.get("/api/status", Cookie=cookie)[0] == 200
    # The cookie alone steers nothing from another site.
    asked = {"Cookie": cookie, "Content-Type": "application/json"}
    assert post(locked, "/api/overlay", b"{}", asked)[0] == 403
    assert post(locked, "/api/overlay", b"{}", asked | {"X-Stream-Segment": "1"})[0] == 200
    assert locked.get("/?token=wrong-wrong-wrong")[0] == 401


def test_the_token_in_the_address_of_a_recording(locked):
    for path in ("/recordings/stra%C3%9Fe%20%231.mp4", "/recordings/%2F%2Fevil.example"):
        status, headers, _ = locked.get(f"{path}?token={TOKEN}")
        assert (status, headers["Location"]) == (303, path)


def test_an_unnecessary_token_is_removed_from_the_address(run):
    status, headers, _ = run.get("/?token=whatever")
    assert (status, headers["Location"]) == (303, "/")
    assert "Set-Cookie" not in headers


def handshake(run, **headers):
    lines = ["GET /live HTTP/1.1", f"Host: 127.0.0.1:{run.port}", "Connection: Upgrade", "Upgrade: websocket"]
    lines += ["Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    with socket.create_connection(("127.0.0.1", run.port), DEADLINE_S) as connection:
        connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        return connection.recv(4096).split(b"\r\n")[0]


def test_pictures_are_refused_to_other_sites(run, locked):
    assert b" 101 " in handshake(run, Origin=f"http://127.0.0.1:{run.port}")
    assert b" 403 " in handshake(run, Origin="http://evil.example")
    assert b" 401 " in handshake(locked, Origin=f"http://127.0.0.1:{locked.port}")
