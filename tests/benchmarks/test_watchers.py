"""Viewers in a process of their own, on a camera's server."""

import threading
from urllib.parse import urlsplit

from benchmarks.watchers import HEALTHY, Watchers
from tests.pipeline.sources.mjpeg_server import MjpegServer

DEADLINE_S = 20.0
PICTURES = 8


class CountingServer(MjpegServer):
    """Tells when every viewer was sent a few pictures."""

    def __init__(self):
        super().__init__()
        self._lock = threading.Lock()
        self._served = 0
        self.all_served = threading.Event()

    def jpeg(self, number):
        with self._lock:
            self._served += number == PICTURES
            if self._served > HEALTHY:
                self.all_served.set()
        return super().jpeg(number)


def test_healthy_viewers_count_pictures_and_a_stalled_one_takes_none():
    with CountingServer() as server, Watchers() as watchers:
        watchers.watch(urlsplit(server.url).port)
        assert server.all_served.wait(DEADLINE_S)
        report = watchers.report()
    assert len(report.pictures) == HEALTHY
    assert min(report.pictures) >= PICTURES - 2
    assert report.connections == (1,) * HEALTHY
    assert report.stalled_connections == 1
