"""The sink behind the page: one JPEG for each presented frame, and only while somebody watches."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.errors import RunError
from pipeline.settings.output_settings import ServeSettings, split_address
from pipeline.sinks.base import Delivery, Presentation, RunContext, Sink
from pipeline.web.access import Access, choose_token, own_names
from pipeline.web.address import is_loopback, listen, url_of
from pipeline.web.routes import make_app
from pipeline.web.server import WebServer
from pipeline.web.view import RunMonitor, RunView
from pipeline.web.viewers import Viewers

log = logging.getLogger(__name__)

STILL_QUALITY = 95
MOST_STILLS_AT_ONCE = 4
_LONGEST_JPEG_SIDE = 65500


class WebSink(Sink):
    """Serves the page while the run goes on.

    Args:
        settings: address, token, quality, limits.
        view: the run.
    """

    name = "page"
    delivery = Delivery.NEWEST

    def __init__(self, settings: ServeSettings, view: RunView) -> None:
        if settings.address is None:
            raise ValueError("a WebSink needs settings.address")
        self._settings = settings
        self._monitor = RunMonitor(view, settings.stalled_after_s)
        self.pictures = Viewers(settings.max_viewers)
        self.stills = Viewers(MOST_STILLS_AT_ONCE)
        self._server: WebServer | None = None
        self.url = ""
        self.token: str | None = None

    @property
    def wants_overlay(self) -> bool:  # type: ignore[override]
        """While somebody watches."""
        return self.pictures.count > 0 or self.stills.count > 0

    def open(self, context: RunContext) -> None:
        """Start the server and say where it is. Raises InputError if it cannot be there."""
        host, port = split_address(self._settings.address or "")
        listening = listen(host, port)
        try:
            self.token, made_up = choose_token(self._settings, needed=not is_loopback(listening))
            self._monitor.open(context)
            self.url = url_of(listening)
            access = Access(self.token, own_names(self._settings, host), listening.getsockname()[1])
            app = make_app(self._monitor, access, self.pictures, self.stills)
            self._server = WebServer(app, listening)
            self._server.start()
        except BaseException:
            listening.close()
            raise
        if made_up:
            log.info("page: %s?token=%s", self.url, self.token)
        else:
            log.info("page: %s%s", self.url, " (asks for the token)" if self.token else "")

    def write(self, presentation: Presentation) -> None:
        """Encode a frame for those who watch."""
        self._monitor.presented(presentation)
        if not presentation.drawn:
            return  # somebody began to watch after the frame was made: the next one has its overlay
        if self.pictures.count > 0:
            image = _scaled(presentation.annotated_bgr, self._settings.max_width)
            self.pictures.offer(_jpeg(image, self._settings.jpeg_quality))
        if self.stills.count > 0:
            self.stills.offer(_jpeg(presentation.annotated_bgr, STILL_QUALITY))

    def close(self) -> None:
        """End the server. May be called twice."""
        server, self._server = self._server, None
        if server is not None:
            server.close()

    @property
    def outputs(self) -> Sequence[str]:
        """None."""
        return ()


def _scaled(image_bgr: NDArray[np.uint8], max_width: int | None) -> NDArray[np.uint8]:
    height, width = image_bgr.shape[:2]
    if max_width is None or width <= max_width:
        return image_bgr
    size_wh = (max_width, max(1, round(height * max_width / width)))
    return np.asarray(cv2.resize(image_bgr, size_wh, interpolation=cv2.INTER_AREA), np.uint8)


def _jpeg(image_bgr: NDArray[np.uint8], quality: int) -> bytes:
    height, width = image_bgr.shape[:2]
    if max(height, width) > _LONGEST_JPEG_SIDE:
        raise RunError(f"--serve: a picture of {width}x{height} is too large for JPEG. Set serve.max_width.")
    done, data = cv2.imencode(".jpg", image_bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise RunError(f"--serve: a picture of {width}x{height} could not be encoded as JPEG.")
    return bytes(data.tobytes())
