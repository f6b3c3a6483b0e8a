"""Requests over real sockets to a run with real threads."""

import http.client
import json
import socket

import cv2
import numpy as np
import pytest

from pipeline.records import SourceKind
from pipeline.web.routes import MAX_BODY_BYTES
from tests.pipeline.fakes import DEADLINE_S
from tests.pipeline.web.served import CONTROL, HEIGHT, WIDTH, Camera, served

TOKEN = "correct-horse-battery"


def decoded(jpeg):
    return cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)


@pytest.fixture
def run():
    with served(serve={"max_viewers": 2, "jpeg_quality": 95, "max_width": 161}) as one:
        one.wait_for_masks()
        yield one


@pytest.fixture
def locked():
    with served(serve={"token": TOKEN}) as one:
        yield one


class Events:
    """An open stream of server-sent events."""

    def __init__(self, run):
        self._connection = http.client.HTTPConnection("127.0.0.1", run.port, timeout=DEADLINE_S)
        self._connection.request("GET", "/api/events")
        self._answer = self._connection.getresponse()
        assert self._answer.status == 200
        assert self._answer.headers["Content-Type"] == "text/event-stream"

    def next(self):
        lines = []
        while (line := self._answer.readline()) != b"\n":
            assert line, "the stream has ended"
            lines.append(line.decode().rstrip("\n"))
        return lines

    def close(self):
        self._answer.close()
        self._connection.close()


def parts(run, count):
    """The first pictures of the Motion JPEG stream."""
    connection = http.client.HTTPConnection("127.0.0.1", run.port, timeout=DEADLINE_S)
    connection.request("GET", "/stream.mjpg")
    answer = connection.getresponse()
    kind = answer.headers["Content-Type"]
    assert kind.startswith("multipart/x-mixed-replace; boundary=")
    boundary = f"--{kind.partition('boundary=')[2]}\r\n".encode()
    pictures = []
    for _ in range(count):
        assert answer.readline() == boundary
        assert answer.readline() == b"Content-Type: image/jpeg\r\n"
        length = int(answer.readline().removeprefix(b"Content-Length: "))
        assert answer.readline() == b"\r\n"
        pictures.append(answer.read(length))
        assert answer.readline() == b"\r\n"
    answer.close()
    connection.close()
    return pictures


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "text/html"),
        ("/app.js", "text/javascript"),
        ("/plots.js", "text/javascript"),
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
    for path in ("/", "/app.js", "/plots.js", "/style.css"):
        text = run.get(path)[2].decode().replace("http://www.w3.org/2000/svg", "")
        assert "http:" not in text
        assert "https:" not in text.replace('location.protocol === "https:"', "")
        assert " style=" not in text
        assert "onclick=" not in text


def test_a_snapshot_is_the_whole_picture_with_its_overlay(run):
    status, headers, body = run.get("/snapshot.jpg")
    assert (status, headers["Content-Type"]) == (200, "image/jpeg")
    assert headers["Content-Disposition"].startswith('attachment; filename="snapshot_20')
    image = decoded(body)
    assert image.shape == (HEIGHT, WIDTH, 3)
    assert int(image[120, 250].max()) - int(image[120, 250].min()) > 20  # in an object's mask: colored
    assert run.sink.stills.count == 0


def test_motion_jpeg_moves_and_has_the_configured_width(run):
    pictures = [decoded(one) for one in parts(run, 3)]
    assert [one.shape for one in pictures] == [(90, 161, 3)] * 3
    assert np.abs(pictures[0].astype(int) - pictures[2]).max() > 60


def test_nothing_is_encoded_while_nobody_watches(run, monkeypatch):
    for _ in range(100):  # who has left may be noticed a moment later
        if not run.sink.wants_overlay:
            break
        run.get("/healthz")
    assert not run.sink.wants_overlay
    encoded = []
    monkeypatch.setattr(cv2, "imencode", lambda *given: encoded.append(given))
    parts_seen = run.status()["frames"]["presented"]
    while run.status()["frames"]["presented"] < parts_seen + 5:
        pass
    assert not encoded


def test_viewers_beyond_the_limit_are_refused(run):
    with run.sink.pictures.watching(), run.sink.pictures.watching():
        status, _, body = run.get("/stream.mjpg")
        assert status == 503
        assert json.loads(body) == {"error": "the limit of 2 viewers is reached (serve.max_viewers)"}
        assert run.status()["viewers"] == 2


def test_events_repeat_the_status(run):
    events = Events(run)
    first, second = (json.loads(events.next()[0].removeprefix("data: ")) for _ in range(2))
    events.close()
    assert second["frames"]["presented"] > first["frames"]["presented"]
    assert first.keys() == run.status().keys()


def test_health(run):
    parts(run, 1)
    status, _, body = run.get("/healthz")
    assert (status, json.loads(body)) == (200, {"ok": True, "reason": ""})


def test_health_fails_when_frames_stop_and_recovers():
    camera = Camera()
    with served(camera, serve={"stalled_after_s": 0.3}) as run:
        assert parts(run, 1)
        assert run.get("/healthz")[0] == 200
        camera.flowing.clear()
        for _ in range(2000):
            status, _, body = run.get("/healthz")
            if status == 503:
                break
        assert status == 503
        answer = json.loads(body)
        assert answer["ok"] is False
        assert answer["reason"].startswith("no frame shown for ")
        camera.flowing.set()
        for _ in range(2000):
            if run.get("/healthz")[0] == 200:
                return
        pytest.fail("health did not come back")


# -- controls ---------------------------------------------------------------------------------------------------------


def test_switches_and_threshold(run):
    status, answer = run.post("/api/overlay", {"masks": False, "min_score": 0.6})
    assert status == 200
    assert answer["display"] == {
        "masks": False,
        "boxes": False,
        "labels": True,
        "ids": False,
        "scores": True,
        "status": False,
        "color_by": "auto",
        "min_score": 0.6,
        "least_score": 0.0,
    }
    assert run.post("/api/overlay", {"color_by": "track"})[1]["display"]["color_by"] == "track"
    assert run.post("/api/overlay", {"color_by": "size"})[0] == 400
    image = decoded(run.get("/snapshot.jpg")[2])
    assert np.abs(image[120, 250].astype(int) - 60).max() < 10  # the mask is gone
    run.post("/api/overlay", {"masks": True, "min_score": 0, "color_by": "auto"})


@pytest.mark.parametrize(
    ("change", "status", "text"),
    [
        ({"min_score": 1.5}, 400, "min_score: expected at most 1"),
        ({"masks": "yes"}, 400, "masks: expected true or false"),
        ({"mask_alpha": 0.5}, 400, "mask_alpha: extra inputs"),
        ([], 400, "object"),
        (b"{", 400, "JSON"),
        (b"\xff", 400, "JSON"),
        (b" " * (MAX_BODY_BYTES + 1), 413, ""),
    ],
)
def test_invalid_changes(run, change, status, text):
    before = run.stream.controls.state
    data = change if isinstance(change, bytes) else json.dumps(change).encode()
    got, _, body = run_post(run, "/api/overlay", data, CONTROL)
    assert got == status
    assert text in body.decode()
    assert run.stream.controls.state is before


def run_post(run, path, data, headers):
    from tests.pipeline.web.served import request

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
@pytest.mark.parametrize(("path", "change"), [("/api/overlay", b"{}"), ("/api/recording", b'{"on": false}')])
def test_controls_are_refused_to_other_sites(run, path, change, headers, status):
    assert run_post(run, path, change, headers)[0] == status


def test_other_methods_are_refused(run):
    connection = http.client.HTTPConnection("127.0.0.1", run.port, timeout=DEADLINE_S)
    for method in ("OPTIONS", "PUT", "DELETE"):
        connection.request(method, "/api/overlay")
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 405
    connection.close()


def test_recording_over_the_network(tmp_path):
    with served(output={"record_dir": str(tmp_path)}) as run:
        assert run.post("/api/recording", {"on": True})[1]["recording"]["on"] is True
        for _ in range(2000):
            name = run.status()["recording"]["file"]
            if name is not None:
                break
        run.post("/api/recording", {"on": False})
        for _ in range(2000):
            if run.status()["recording"]["saved"] == name:
                break
        else:
            pytest.fail("it was not said to be saved")
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert run.stream.summary().outputs == [str(tmp_path / name)]


def test_single_images_are_not_recorded():
    with served(Camera(kind=SourceKind.STILLS)) as run:
        status, answer = run.post("/api/recording", {"on": True})
        assert status == 409
        assert "cannot be recorded" in answer["error"]
        assert run.status()["recording"]["possible"] is False


# -- token ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["/", "/app.js", "/api/status", "/api/events", "/metrics", "/stream.mjpg", "/snapshot.jpg"]
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
    assert run_post(locked, "/api/overlay", b"{}", asked)[0] == 403
    assert run_post(locked, "/api/overlay", b"{}", asked | {"X-Stream-Segment": "1"})[0] == 200
    assert locked.get("/?token=wrong-wrong-wrong")[0] == 401


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


def test_a_snapshot_while_the_camera_is_disconnected_gives_the_reason(monkeypatch):
    monkeypatch.setattr("pipeline.web.routes.STILL_TIMEOUT_S", 0.2)
    camera = Camera()
    camera.text = "camera 0 is gone, trying again"
    camera.flowing.clear()
    with served(camera) as run:
        status, _, body = run.get("/snapshot.jpg")
    assert (status, json.loads(body)) == (503, {"error": "no picture: camera 0 is gone, trying again"})


def test_the_end_of_the_run_is_announced():
    with served() as run:
        events = Events(run)
        events.next()
    while "event: end" not in events.next():
        pass
    events.close()


def test_a_body_that_does_not_arrive_is_refused(run, monkeypatch):
    monkeypatch.setattr("pipeline.web.routes.BODY_TIMEOUT_S", 0.2)
    connection = http.client.HTTPConnection("127.0.0.1", run.port, timeout=DEADLINE_S)
    connection.putrequest("POST", "/api/recording")
    for name, value in (CONTROL | {"Content-Length": "12"}).items():
        connection.putheader(name, value)
    connection.endheaders(b'{"on"')
    answer = connection.getresponse()
    assert (answer.status, json.loads(answer.read())) == (408, {"error": "the request did not arrive within 0.2 s"})
    connection.close()
