"""Cameras that come and go while a run lasts."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.errors import StreamSegmentError
from pipeline.runtime.camera_group import Cameras
from pipeline.runtime.camera_summaries import CameraSummary


class Visitors:
    """A thread that adds a camera and removes it, again and again; a context manager.

    Args:
        cameras: an open run.
        urls: of the cameras to add, in turn.
        times: how often.
        period_s: from one to the next, each of which stays for half of it.
        settings: of each of them, besides name and address.

    Attributes:
        summaries: of all that came and went.
        error: what failed; "" if nothing.
    """

    def __init__(
        self, cameras: Cameras, urls: Sequence[str], times: int, period_s: float, settings: Mapping[str, Any]
    ) -> None:
        self._cameras, self._urls, self._times, self._period_s = cameras, urls, times, period_s
        self._settings = settings
        self._leave = threading.Event()
        self._thread = threading.Thread(target=self._run, name="soak visitors")
        self.summaries: list[CameraSummary] = []
        self.error = ""

    def __enter__(self) -> Visitors:
        return self

    def __exit__(self, *_error: object) -> None:
        self._leave.set()
        if self._thread.ident is not None:
            self._thread.join(60.0)

    def begin(self) -> None:
        """Let the first one come."""
        self._thread.start()

    def _run(self) -> None:
        try:
            for number in range(self._times):
                name = f"visitor-{number:02}"
                self._cameras.add({"name": name, "uri": self._urls[number % len(self._urls)], **self._settings})
                entry = self._cameras.entries[name]
                self._leave.wait(self._period_s / 2)
                self._cameras.remove(name)
                self.summaries.append(CameraSummary(name, tuple(entry.summaries), entry.error))
                del entry  # it holds its last frames
                if self._leave.wait(self._period_s / 2):
                    return
        except StreamSegmentError as error:
            self.error = f"a camera could not be added or removed: {error}"
