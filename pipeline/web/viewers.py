"""Brings the newest picture to everybody who watches; holds one picture, however many and however slow they are."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class TooManyViewers(Exception):
    """Every place is taken."""


class NoMorePictures(Exception):
    """The run has ended."""


class Viewers:
    """The newest picture, and a place for each who waits for it.

    Pictures are offered from any thread; everything else happens in the event loop's thread.

    Args:
        limit: how many may watch at the same time.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._lock = threading.Lock()
        self._count = 0
        self._number = 0
        self._picture: bytes | None = None
        self._wake_pending = False
        self._closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._changed: asyncio.Event | None = None

    def attach(self) -> None:
        """Belong to the running event loop."""
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()

    @property
    def count(self) -> int:
        """How many watch now; from any thread."""
        return self._count

    def offer(self, picture: bytes) -> None:
        """Here is a newer picture; from any thread. It is forgotten at once if nobody watches."""
        with self._lock:
            if self._count == 0 or self._closed or self._loop is None:
                return
            self._number += 1
            self._picture = picture
            if self._wake_pending:
                return
            self._wake_pending = True
            self._loop.call_soon_threadsafe(self._wake)

    @contextmanager
    def place(self) -> Iterator[None]:
        """Watch, inside the block. Raises TooManyViewers."""
        with self._lock:
            if self._count >= self.limit:
                raise TooManyViewers
            self._count += 1
        try:
            yield
        finally:
            with self._lock:
                self._count -= 1
                if self._count == 0:
                    self._picture = None  # who comes next must not see it: it is old by then

    async def newer_than(self, number: int) -> tuple[int, bytes]:
        """The newest picture and its number, as soon as that is above `number`. Raises NoMorePictures."""
        while True:
            with self._lock:
                if self._closed or self._changed is None:
                    raise NoMorePictures
                if self._picture is not None and self._number > number:
                    return self._number, self._picture
                changed = self._changed
            await changed.wait()

    def close(self) -> None:
        """Nothing comes any more: wake everybody; in the event loop's thread."""
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
