"""Requests over real sockets to a run with real threads."""

import contextlib
import http.client
import json

import cv2
import numpy as np
import pytest

from pipeline.records import SourceKind
from tests.pipeline.fakes import DEADLINE_S
from tests.pipeline.web.served import HEIGHT, WIDTH, Camera, served


def decoded(jpeg):
    return cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)


@pytest.fixture
def run():
    with served(serve={"max_viewers": 2, "jpeg_quality": 95, "max_width": 161}) as one:
        one.wait_for_masks()
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


def test_a_snapshot_is_the_whole_picture_with_its_overlay(run):
    status, headers, body = run.get("/snapshot.jpg")
    assert (status, headers["Content-Type"]) == (200, "image/jpeg")
    assert headers["Content-Disposition"].startswith('attachment; filename="snapshot_20')
    image = decoded(body)
    assert image.shape == (HEIGHT, WIDTH, 3)
    assert int(image[120, 250].max()) - int(image[120, 250].min()) > 20  # in an object's mask: colored
    assert run.sink.feed.stills.count == 0


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
    with run.sink.feed.pictures.watching(), run.sink.feed.pictures.watching():
        status, _, body = run.get("/stream.mjpg")
        assert status == 503
        assert json.loads(body) == {"error": "the limit of 2 viewers is reached (serve.max_viewers)"}
        assert run.status()["viewers"] == 2


def test_snapshots_beyond_the_limit_are_refused(run):
    with contextlib.ExitStack() as stack:
        for _ in range(4):
            stack.enter_context(run.sink.feed.stills.watching())
        status, _, body = run.get("/snapshot.jpg")
    assert (status, json.loads(body)) == (503, {"error": "4 snapshots are being taken: try again"})


def test_events_begin_with_the_history_and_repeat_the_status(run):
    events = Events(run)
    kind, history = events.next()
    assert kind == "event: history"
    samples = json.loads(history.removeprefix("data: "))
    assert samples[0].keys() == {"fps", "latency_ms", "objects", "drops", "sink_drops"}
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


def test_a_snapshot_while_the_camera_is_disconnected_gives_the_reason(monkeypatch):
    monkeypatch.setattr("pipeline.web.run_routes.STILL_TIMEOUT_S", 0.2)
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
