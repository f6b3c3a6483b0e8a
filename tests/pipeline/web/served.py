"""A served run: a live source controlled by the test, a segmenter without a network, the whole stream between."""

from __future__ import annotations

import contextlib
import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np

from pipeline.records import Frame, Instances, SourceInfo, SourceKind
from pipeline.runtime.stream import Stream
from pipeline.settings.schema import Settings
from pipeline.web.sink import WebSink
from tests.pipeline.fakes import FakeSegmenter, FakeSource

HEIGHT, WIDTH = 180, 322
MILLISECOND = Fraction(1, 1000)
CONTROL = {"Content-Type": "application/json", "X-Stream-Segment": "1"}


class Camera(FakeSource):
    """A live source of `fps` frames a second, brighter from one to the next, that can be made to stall."""

    def __init__(
        self, fps: float = 25.0, kind: SourceKind = SourceKind.LIVE, size_wh: tuple[int, int] = (WIDTH, HEIGHT)
    ):
        super().__init__(None, kind, clock=time.monotonic)
        self.flowing = threading.Event()
        self.flowing.set()
        self._step_s = 1.0 / fps
        self._size_wh = size_wh

    def open(self) -> SourceInfo:
        return SourceInfo("camera <1>", self.kind, *self._size_wh, fps=25.0, time_base=MILLISECOND)

    def read(self) -> Frame | None:
        self.interrupted.wait(self._step_s)
        while not self.flowing.wait(0.02):
            if self.interrupted.is_set():
                return None
        if self.interrupted.is_set():
            return None
        width, height = self._size_wh
        index, self.given = self.given, self.given + 1
        image = np.full((height, width, 3), 60, np.uint8)
        x = (7 * index) % (width - 20)
        image[40:80, x : x + 20] = (0, 200, 255)
        return Frame("camera <1>", index, index * 40, MILLISECOND, self._clock(), image)


class TwoThings(FakeSegmenter):
    """Finds a "thing" with score 0.9 and an "other" with 0.5, always in the same places."""

    def segment(self, image_bgr: np.ndarray) -> Instances:
        boxes = np.array([[20, 100, 120, 170], [200, 90, 300, 150]], np.float32)
        return Instances(
            boxes, np.array([1, 2], np.int32), np.array([0.9, 0.5], np.float32), np.ones((2, 28, 28), np.float32)
        )


class Served:
    """A stream that runs in a thread, and its address."""

    def __init__(self, stream: Stream, camera: Camera) -> None:
        self.stream = stream
        self.camera = camera
        (self.sink,) = [sink for sink in stream.sinks if isinstance(sink, WebSink)]
        self.url = self.sink.page.url
        self.port = int(self.url.rsplit(":", 1)[1].rstrip("/"))

    def get(self, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body; redirects are not followed."""
        return request(self.url + path.lstrip("/"), None, headers)

    def post(self, path: str, change: Any, headers: dict[str, str] | None = None) -> tuple[int, dict[str, Any]]:
        """Status and decoded answer."""
        data = change if isinstance(change, bytes) else json.dumps(change).encode()
        status, _, body = request(self.url + path.lstrip("/"), data, CONTROL if headers is None else headers)
        return status, json.loads(body)

    def wait_for_masks(self, deadline_s: float = 20.0) -> None:
        """Returns once frames are presented that carry a result; the first ones of a live run do not."""
        end_s = time.monotonic() + deadline_s
        shown_before: int | None = None
        while shown_before is None or self.stream.ledger.overall().presented < shown_before + 3:
            assert time.monotonic() < end_s, "no frame with a result was presented"
            if shown_before is None and self.stream.ledger.overall().inferred > 0:
                shown_before = self.stream.ledger.overall().presented
            threading.Event().wait(0.01)

    def status(self) -> dict[str, Any]:
        """What the page shows."""
        return json.loads(self.get("/api/status")[2])


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect)


def request(url: str, data: bytes | None = None, headers: dict[str, str] | None = None):
    """Status, headers and body of a GET, or of a POST if there are data."""
    asked = urllib.request.Request(url, data, headers or {})
    try:
        with _OPENER.open(asked, timeout=20) as answer:
            return answer.status, dict(answer.headers), answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, dict(error.headers), error.read()


@contextlib.contextmanager
def served(camera: Camera | None = None, segmenter=None, serve=None, **values: Any) -> Iterator[Served]:
    """A run with the page on a free port, for as long as the block lasts."""
    camera = camera or Camera()
    settings = Settings.model_validate(
        {
            "window": {"mode": "off"},
            "tracking": {"enabled": False},
            "motion": {"carry": "hold", "fade_s": 0, "blend_s": 0},
            "serve": {"address": "0", **(serve or {})},
            **values,
        }
    )
    stream = Stream(settings, source=camera, segmenter=segmenter or TwoThings())
    with stream:
        thread = threading.Thread(target=lambda: [None for _ in stream])
        thread.start()
        try:
            yield Served(stream, camera)
        finally:
            stream.stop()
            thread.join(20)
            assert not thread.is_alive()
