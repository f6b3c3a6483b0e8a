"""Distributes the newest picture to all viewers; holds one picture, however many and however slow they are."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class TooManyViewers(Exception):
    """The limit of viewers is reached, as its text says."""


class Viewers:
    """Holds the newest picture and wakes the viewers that wait for it.

    Pictures are published from any thread; everything else runs in the event loop's thread.

    Args:
        limit: the largest number of simultaneous viewers.
        reached: what one more is told; {} stands for the limit.

    Attributes:
        count: the current number of viewers; may be read from any thread.
    """

    def __init__(self, limit: int, reached: str = "the limit of {} viewers is reached (serve.max_viewers)") -> None:
        self.limit = limit
        self._reached = reached
        self._lock = threading.Lock()
        self.count = 0
        self._number = 0
        self._picture: bytes | None = None
        self._wake_pending = False
        self._closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._changed: asyncio.Event | None = None

    def bind(self) -> None:
        """Bind to the running event loop. May be called twice."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            self._changed = asyncio.Event()

    def publish(self, picture: bytes) -> None:
        """Replace the newest picture, from any thread. Without viewers, it is discarded."""
        with self._lock:
            if self.count == 0 or self._closed or self._loop is None:
                return
            self._number += 1
            self._picture = picture
            if self._wake_pending:
                return
            self._wake_pending = True
            self._loop.call_soon_threadsafe(self._wake)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Counts as a viewer inside the block. Raises TooManyViewers."""
        with self._lock:
            if self.count >= self.limit:
                raise TooManyViewers(self._reached.format(self.limit))
            self.count += 1
        try:
            yield
        finally:
            with self._lock:
                self.count -= 1
                if self.count == 0:
                    self._picture = None  # it will be outdated for the next viewer

    async def newer_than(self, number: int) -> tuple[int, bytes] | None:
        """Wait for a picture with a higher number; returns number and picture, None when the run has ended."""
        while True:
            with self._lock:
                if self._closed or self._changed is None:
                    return None
                if self._picture is not None and self._number > number:
                    return self._number, self._picture
                changed = self._changed
            await changed.wait()

    def close(self) -> None:
        """End the stream and wake all viewers; in the event loop's thread."""
        with self._lock:
            self._closed = True
            self._picture = None
        self._wake()

    def _wake(self) -> None:
        with self._lock:
            self._wake_pending = False
            changed, self._changed = self._changed, asyncio.Event()
        if changed is not None:
            changed.set()
