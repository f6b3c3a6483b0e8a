"""What the page's viewers get of one run: pictures, encoded while somebody watches, and its state."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import cv2
import numpy as np

from pipeline.errors import RunError
from pipeline.records import Image
from pipeline.settings.output_settings import ServeSettings
from pipeline.sinks.base import Presentation
from pipeline.web.view import RunMonitor, RunView
from pipeline.web.viewers import Viewers


class Feed:
    """Distributes the pictures and the state of a run.

    Args:
        settings: quality and limits.
        view: returns the run: see `RunMonitor`.

    Attributes:
        monitor: reports the state of the run.
        pictures, stills: distribute JPEGs for live viewing, and in full size for snapshots.
        listeners: those who receive the state as events.
        ended: set when the run, or its page, has ended.
    """

    def __init__(self, settings: ServeSettings, view: Callable[[], RunView]) -> None:
        self._settings = settings
        self.monitor = RunMonitor(view, settings.stalled_after_s)
        self.pictures, self.listeners = Viewers(settings.max_viewers), Viewers(settings.max_viewers)
        self.stills = Viewers(4, "{} snapshots are being taken: try again")
        self.ended = asyncio.Event()

    @property
    def is_watched(self) -> bool:
        """Whether somebody waits for a picture."""
        return self.pictures.count > 0 or self.stills.count > 0

    def present(self, presentation: Presentation) -> None:
        """Encode a frame for the viewers, if any. Raises RunError if it is too large."""
        self.monitor.presented(presentation)
        if not presentation.drawn:
            return  # the first viewer came after this frame was drawn without an overlay; the next one has it
        if self.pictures.count > 0:
            quality, max_width = self._settings.jpeg_quality, self._settings.max_width
            self.pictures.publish(jpeg(presentation.square_bgr, quality, max_width))
        if self.stills.count > 0:
            self.stills.publish(jpeg(presentation.square_bgr, quality=95))

    def bind(self) -> None:
        """Bind to the running event loop. May be called twice."""
        for viewers in (self.pictures, self.stills, self.listeners):
            viewers.bind()

    def close(self) -> None:
        """End all streams; in the event loop's thread."""
        self.ended.set()
        for viewers in (self.pictures, self.stills, self.listeners):
            viewers.close()


def jpeg(image_bgr: Image, quality: int, max_width: int | None = None) -> bytes:
    """A picture as JPEG, scaled down if it is wider than `max_width` pixels. Raises RunError."""
    height, width = image_bgr.shape[:2]
    if max_width is not None and width > max_width:
        size_wh = (max_width, max(1, round(height * max_width / width)))
        image_bgr = np.asarray(cv2.resize(image_bgr, size_wh, interpolation=cv2.INTER_AREA), np.uint8)
    height, width = image_bgr.shape[:2]
    if max(height, width) > 65500:  # libjpeg's limit
        raise RunError(f"--serve: a frame of {width}x{height} is too large for JPEG: set serve.max_width")
    encoded, data = cv2.imencode(".jpg", image_bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not encoded:
        raise RunError(f"--serve: encoding a frame of {width}x{height} as JPEG failed")
    return bytes(data.tobytes())
