"""Hands items of several cameras to one thread."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

T = TypeVar("T")


class NewestByCamera(Generic[T]):
    """Holds one item of each camera: the newest, or the one that the camera waits with. They come out in turn."""

    def __init__(self) -> None:
        self._items: dict[str, T] = {}
        self._changed = threading.Condition()
        self._closed = False

    def put(self, camera: str, item: T, waits: bool) -> None:
        """Hold an item; in place of the one before, or once that has been taken, if the camera `waits`."""
        with self._changed:
            if waits:
                self._changed.wait_for(lambda: self._closed or camera not in self._items)
            self._items[camera] = item
            self._changed.notify_all()

    def get(self, timeout_s: float) -> tuple[str, T]:
        """The item of the camera that has waited longest. Raises TimeoutError when none came in time."""
        with self._changed:
            if not self._changed.wait_for(lambda: bool(self._items), timeout_s):
                raise TimeoutError
            camera = next(iter(self._items))
            self._changed.notify_all()
            return camera, self._items.pop(camera)

    def forget(self, camera: str) -> None:
        """Drop the item of a camera, which may wait with the next one while nobody takes any."""
        with self._changed:
            self._items.pop(camera, None)
            self._changed.notify_all()

    def close(self) -> None:
        """Let nobody wait any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
