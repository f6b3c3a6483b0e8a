"""The sink behind the page: the cost of viewers, none without them, and errors before the run."""

import contextlib
import selectors
import socket
import struct
import threading
import time

import cv2
import numpy as np
import pytest

from pipeline.controls import Controls
from pipeline.ledger import RunLedger
from pipeline.settings.output_settings import OverlaySettings, ServeSettings
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
            until(lambda: run.sink.feed.pictures.count == VIEWERS)
            until(lambda: min(crowd.received[1:]) > 0)
            seen, shown = min(crowd.received[1:]), stats.overall().presented
            until(lambda: min(crowd.received[1:]) > seen + FPS)
            until(lambda: stats.overall().presented > shown + FPS)
        until(lambda: run.sink.feed.pictures.count == 0)


def test_a_viewer_that_reads_nothing_is_disconnected(monkeypatch):
    monkeypatch.setattr("pipeline.web.responses.SEND_TIMEOUT_S", 0.3)
    with served(Camera(FPS, size_wh=(640, 360)), serve={"jpeg_quality": 100}) as run:
        noisy = np.random.default_rng(3).integers(0, 256, (360, 640, 3), np.uint8)
        with contextlib.closing(Crowd.connect(run.port, tiny=True)):
            until(lambda: run.sink.feed.pictures.count == 1)
            end_s = time.monotonic() + DEADLINE_S
            while run.sink.feed.pictures.count == 1:
                # Much data, so that the system's buffers fill soon.
                run.sink.feed.pictures.publish(noisy.tobytes())
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
    with one.feed.pictures.watching():
        assert one.wants_overlay
        one.write(made)  # bare: drawn before the viewer came
        with pytest.raises(AssertionError):
            one.write(type(made)(made.segmented, made.annotated_bgr.copy()))
    one.close()
    one.close()
