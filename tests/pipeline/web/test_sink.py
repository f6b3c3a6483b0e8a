"""The sink behind the page: the cost of viewers, none without them, and errors before the run."""

import contextlib
import logging
import selectors
import socket
import struct
import threading
import time

import cv2
import numpy as np
import pytest

from pipeline.controls import Controls
from pipeline.errors import InputError, RunError
from pipeline.ledger import RunLedger
from pipeline.settings.output_settings import OverlaySettings, ServeSettings
from pipeline.web.server import listen
from pipeline.web.sink import WebSink
from pipeline.web.view import RunView
from tests.pipeline.fakes import DEADLINE_S
from tests.pipeline.sinks.presentations import context, presentation
from tests.pipeline.web.served import Camera, served

VIEWERS = 20
FPS = 25.0


def sink_of(**values):
    view = RunView(RunLedger(), Controls(OverlaySettings()), time.monotonic)
    return WebSink(ServeSettings.model_validate({"address": "0", **values}), view)


class Crowd:
    """Viewers that read in one thread; `stalled` of them never read."""

    def __init__(self, port, count, stalled):
        self.received = [0] * count
        self._end = threading.Event()
        self._sockets = [self.connect(port, tiny=index < stalled) for index in range(count)]
        self._selector = selectors.DefaultSelector()
        for index, one in enumerate(self._sockets):
            if index >= stalled:
                self._selector.register(one, selectors.EVENT_READ, index)
        self._thread = threading.Thread(target=self._read)

    @staticmethod
    def connect(port, tiny, path=b"/stream.mjpg"):
        one = socket.socket()
        if tiny:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        one.settimeout(DEADLINE_S)
        one.connect(("127.0.0.1", port))
        one.sendall(b"GET " + path + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        return one

    def _read(self):
        while not self._end.is_set():
            for key, _ in self._selector.select(0.2):
                data = key.fileobj.recv(1 << 20)
                self.received[key.data] += data.count(b"Content-Length: ")

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._end.set()
        self._thread.join(DEADLINE_S)
        self._selector.close()
        for one in self._sockets:
            one.close()


def until(condition):
    end_s = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end_s
        threading.Event().wait(0.01)


def test_a_stalled_viewer_holds_up_neither_the_display_nor_the_others():
    with served(Camera(FPS, size_wh=(640, 360)), serve={"max_viewers": VIEWERS}) as run:
        stats = run.stream.ledger
        until(lambda: stats.overall().presented > 10)
        with Crowd(run.port, VIEWERS, stalled=1) as crowd:
            until(lambda: run.sink.pictures.count == VIEWERS)
            until(lambda: min(crowd.received[1:]) > 0)
            seen, shown = min(crowd.received[1:]), stats.overall().presented
            until(lambda: min(crowd.received[1:]) > seen + FPS)
            until(lambda: stats.overall().presented > shown + FPS)
        until(lambda: run.sink.pictures.count == 0)


def test_a_viewer_that_reads_nothing_is_disconnected(monkeypatch):
    monkeypatch.setattr("pipeline.web.responses.SEND_TIMEOUT_S", 0.3)
    with served(Camera(FPS, size_wh=(640, 360)), serve={"jpeg_quality": 100}) as run:
        noisy = np.random.default_rng(3).integers(0, 256, (360, 640, 3), np.uint8)
        with contextlib.closing(Crowd.connect(run.port, tiny=True)):
            until(lambda: run.sink.pictures.count == 1)
            end_s = time.monotonic() + DEADLINE_S
            while run.sink.pictures.count == 1:
                # Much data, so that the system's buffers fill soon.
                run.sink.pictures.publish(noisy.tobytes())
                assert time.monotonic() < end_s
                threading.Event().wait(0.01)


def test_leaving_while_no_pictures_arrive_frees_the_place():
    camera = Camera(FPS)
    with served(camera) as run:
        camera.flowing.clear()
        for path in (b"/stream.mjpg", b"/snapshot.jpg", b"/api/events"):
            with contextlib.closing(Crowd.connect(run.port, tiny=False, path=path)):
                if path != b"/api/events":
                    until(lambda: run.sink.wants_overlay)
            until(lambda: not run.sink.wants_overlay)


def test_viewers_that_come_and_go_leak_nothing():
    with served(Camera(FPS)) as run:
        threads = threading.active_count()
        for round_ in range(30):
            path = (b"/stream.mjpg", b"/api/events", b"/api/status")[round_ % 3]
            with contextlib.closing(Crowd.connect(run.port, tiny=False, path=path)) as one:
                assert one.recv(100).startswith(b"HTTP/1.1 200 OK")
                if round_ % 2:  # vanishes without a word
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        until(lambda: not run.sink.wants_overlay)
        assert threading.active_count() == threads


def test_without_viewers_nothing_is_drawn_or_encoded(monkeypatch):
    def encode(*_):
        raise AssertionError

    monkeypatch.setattr(cv2, "imencode", encode)
    one = sink_of()
    one.open(context())
    made = presentation(0)
    assert not one.wants_overlay
    one.write(made)
    with one.pictures.watching():
        assert one.wants_overlay
        one.write(made)  # bare: drawn before the viewer came
        with pytest.raises(AssertionError):
            one.write(type(made)(made.segmented, made.annotated_bgr.copy()))
    one.close()
    one.close()


def sent(monkeypatch, height, width, **values):
    """Height and width of what a viewer gets of a picture."""
    one, offered = sink_of(**values), []
    one.open(context())
    with contextlib.closing(one), one.pictures.watching():
        monkeypatch.setattr(one.pictures, "publish", offered.append)
        made = presentation(0, image=np.zeros((height, width, 3), np.uint8))
        one.write(type(made)(made.segmented, made.annotated_bgr.copy()))
    return cv2.imdecode(np.frombuffer(offered[0], np.uint8), cv2.IMREAD_COLOR).shape[:2]


def test_wide_pictures_are_sent_smaller_and_none_larger_than_it_is(monkeypatch):
    assert sent(monkeypatch, 101, 400, max_width=200) == (50, 200)
    assert sent(monkeypatch, 101, 400, max_width=400) == (101, 400)
    assert sent(monkeypatch, 101, 400, max_width=None) == (101, 400)
    assert sent(monkeypatch, 1, 4000, max_width=200) == (1, 200)


def test_a_picture_too_large_for_jpeg_is_an_error_with_a_way_out(monkeypatch):
    with pytest.raises(RunError, match=r"serve\.max_width"):
        sent(monkeypatch, 1, 70000, max_width=None)


def test_a_port_in_use_is_an_input_error():
    with contextlib.closing(listen("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        one = sink_of(address=str(port))
        with pytest.raises(InputError, match=f"port {port} is in use"):
            one.open(context())
        one.close()


def test_the_address_is_logged_and_the_token_only_if_generated(caplog, monkeypatch):
    monkeypatch.delenv("STREAM_SEGMENT_TOKEN", raising=False)
    caplog.set_level(logging.INFO)
    cases = (
        ("127.0.0.1:0", None, "page: {url}"),
        ("0.0.0.0:0", None, "page: {url}?token={token}"),
        ("0.0.0.0:0", "correct-horse-battery", "page: {url} (requires the token)"),
        ("127.0.0.1:0", "correct-horse-battery", "page: {url} (requires the token)"),
    )
    for address, token, text in cases:
        caplog.clear()
        one = sink_of(address=address, token=token)
        one.open(context())
        one.close()
        assert caplog.messages == [text.format(url=one.url, token=one.token)]
        assert (one.token is None) == (text == "page: {url}")


def test_a_short_token_in_the_environment_leaves_no_socket_behind(monkeypatch):
    monkeypatch.setenv("STREAM_SEGMENT_TOKEN", "short")
    with contextlib.closing(listen("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with pytest.raises(InputError, match="STREAM_SEGMENT_TOKEN"):
        sink_of(address=str(port)).open(context())
    listen("127.0.0.1", port).close()
