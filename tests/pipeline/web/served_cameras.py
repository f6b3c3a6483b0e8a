"""A served run with several cameras: sources controlled by the test, one segmenter without a network."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from typing import Any

from pipeline.runtime.camera_group import Cameras
from tests.pipeline.web.served import CONTROL, Camera, TwoThings, request

DEADLINE_S = 30.0


class ServedCameras:
    """Cameras that run in a thread, their sources by name, and the address of the page."""

    def __init__(self, cameras: Cameras, sources: dict[str, Camera]) -> None:
        self.cameras, self.sources = cameras, sources
        assert cameras.pages is not None
        self.url = cameras.pages.page.url
        self.port = int(self.url.rsplit(":", 1)[1].rstrip("/"))

    def get(self, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body; redirects are not followed."""
        return request(self.url + path.lstrip("/"), None, headers)

    def post(self, path: str, change: Any, headers: dict[str, str] | None = None) -> tuple[int, dict[str, Any]]:
        """Status and decoded answer."""
        data = json.dumps(change).encode()
        status, _, body = request(self.url + path.lstrip("/"), data, CONTROL if headers is None else headers)
        return status, json.loads(body)

    def json(self, path: str) -> Any:
        """A decoded answer."""
        return json.loads(self.get(path)[2])

    def until(self, condition) -> None:
        """Returns once a condition holds."""
        end_s = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < end_s, self.json("/api/status")
            threading.Event().wait(0.01)

    def until_state(self, camera: str, state: str) -> None:
        """Returns once the page shows this state of a camera; "" once its frames come."""

        def shown():
            (one,) = [one for one in self.json("/api/status")["cameras"] if one["name"] == camera]
            return one["state"] == state

        self.until(shown)


@contextlib.contextmanager
def served_cameras(
    *names: str, disabled: tuple[str, ...] = (), serve=None, segmenter=None, **values: Any
) -> Iterator[ServedCameras]:
    """A run with these cameras and the page on a free port, for as long as the block lasts."""
    sources: dict[str, Camera] = {}

    def source_of(name, _):
        sources[name] = Camera()
        return sources[name]

    settings = {
        "cameras": [{"name": name, "uri": "test:", "enabled": name not in disabled} for name in names],
        "window": {"mode": "off"},
        "tracking": {"enabled": False},
        "motion": {"carry": "hold", "fade_s": 0, "blend_s": 0},
        "serve": {"address": "0", **(serve or {})},
        **values,
    }
    with Cameras(settings, segmenter=segmenter or TwoThings(), source_of=source_of) as cameras:
        thread = threading.Thread(target=cameras.run)
        thread.start()
        try:
            yield ServedCameras(cameras, sources)
        finally:
            cameras.stop()
            thread.join(DEADLINE_S)
            assert not thread.is_alive()
