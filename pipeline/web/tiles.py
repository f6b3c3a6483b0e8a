"""The small pictures of all cameras on one page: a few a second of each, as many as the slowest connection takes."""

from __future__ import annotations

import json
import struct
import threading
import time
from collections.abc import AsyncGenerator, Iterable

from pipeline.records import Clock
from pipeline.web.viewers import Viewers

EVERY_S = 0.2
"""The least time between two pictures of a camera."""


class Tiles:
    """Holds the newest small picture of each camera while somebody watches.

    Args:
        limit: the largest number of simultaneous viewers.
        clock: seconds, monotonic.
    """

    def __init__(self, limit: int, clock: Clock = time.monotonic) -> None:
        self.viewers = Viewers(limit)
        self._clock = clock
        self._lock = threading.Lock()
        self._number = 0
        self._pictures: dict[str, tuple[int, bytes]] = {}
        self._published_s: dict[str, float] = {}

    def is_due(self, camera: str) -> bool:
        """Whether somebody waits for the next picture of a camera; from any thread."""
        if self.viewers.count == 0:
            return False
        with self._lock:
            return self._clock() - self._published_s.get(camera, float("-inf")) >= EVERY_S

    def publish(self, camera: str, picture: bytes) -> None:
        """Replace a camera's picture; from any thread."""
        with self._lock:
            self._number += 1
            self._pictures[camera] = self._number, picture
            self._published_s[camera] = self._clock()
        self.viewers.publish(b"")  # wakes them: each takes what it has not had yet

    def forget(self, cameras: Iterable[str]) -> None:
        """Drop the pictures of cameras that send none any more."""
        with self._lock:
            for camera in cameras:
                self._pictures.pop(camera, None)

    async def messages(self) -> AsyncGenerator[bytes]:
        """For a viewer: the pictures that are new, packed: see `packed`."""
        seen = number = 0
        while (newer := await self.viewers.newer_than(number)) is not None:
            number, _ = newer
            with self._lock:
                new = {camera: picture for camera, (at, picture) in self._pictures.items() if at > seen}
                seen = self._number
            if new:
                yield packed(new)


def packed(pictures: dict[str, bytes]) -> bytes:
    """One message: 4 bytes with the length of a JSON list of [camera, size], that list, the JPEGs in its order."""
    head = json.dumps([[camera, len(picture)] for camera, picture in pictures.items()]).encode()
    return b"".join((struct.pack(">I", len(head)), head, *pictures.values()))
