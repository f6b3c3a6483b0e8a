"""The sink behind the page: encodes a JPEG for each presented frame while there are viewers."""

from __future__ import annotations

import logging

import cv2
import numpy as np

from pipeline.errors import RunError
from pipeline.records import Image
from pipeline.settings.output_settings import ServeSettings, split_address
from pipeline.sinks.base import Delivery, Presentation, RunContext, Sink
from pipeline.web.access import Access, allowed_hosts, choose_token
from pipeline.web.routes import make_app
from pipeline.web.server import ConnectionLimits, WebServer, is_local, listen, url_of
from pipeline.web.view import RunMonitor, RunView
from pipeline.web.viewers import Viewers

log = logging.getLogger(__name__)


class WebSink(Sink):
    """Serves the page during the run.

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
        self.stills = Viewers(limit=4)
        self._server: WebServer | None = None
        self.url = ""
        self.token: str | None = None

    @property
    def wants_overlay(self) -> bool:  # type: ignore[override]
        """Whether there are viewers."""
        return self.pictures.count > 0 or self.stills.count > 0

    def open(self, context: RunContext) -> None:
        """Start the server and log its URL. Raises InputError if the address cannot be used."""
        host, port = split_address(self._settings.address or "")
        listening = listen(host, port)
        own_host, own_port = listening.getsockname()[:2]
        try:
            self.token, is_generated = choose_token(self._settings, required=not is_local(own_host))
            self._monitor.labels = context.labels
            self.url = url_of(listening)
            access = Access(self.token, allowed_hosts(self._settings, host), own_port)
            app = make_app(self._monitor, access, self.pictures, self.stills)
            behind_proxy = bool(self._settings.allowed_hosts)
            limits = ConnectionLimits.for_viewers(self._settings.max_viewers, behind_proxy)
            self._server = WebServer(app, listening, limits)
            self._server.start()
        except BaseException:
            listening.close()
            raise
        note = f"?token={self.token}" if is_generated else " (requires the token)" if self.token else ""
        log.info("page: %s%s", self.url, note)

    def write(self, presentation: Presentation) -> None:
        """Encode a frame for the viewers, if any."""
        self._monitor.presented(presentation)
        if not presentation.drawn:
            return  # the first viewer came after this frame was drawn without an overlay; the next one has it
        if self.pictures.count > 0:
            image_bgr = presentation.annotated_bgr
            height, width = image_bgr.shape[:2]
            most = self._settings.max_width
            if most is not None and width > most:
                size_wh = (most, max(1, round(height * most / width)))
                image_bgr = np.asarray(cv2.resize(image_bgr, size_wh, interpolation=cv2.INTER_AREA), np.uint8)
            self.pictures.publish(_jpeg(image_bgr, self._settings.jpeg_quality))
        if self.stills.count > 0:
            self.stills.publish(_jpeg(presentation.annotated_bgr, quality=95))

    def close(self) -> None:
        """Stop the server. May be called twice."""
        server, self._server = self._server, None
        if server is not None:
            server.close()


def _jpeg(image_bgr: Image, quality: int) -> bytes:
    height, width = image_bgr.shape[:2]
    if max(height, width) > 65500:  # libjpeg's limit
        raise RunError(f"--serve: a frame of {width}x{height} is too large for JPEG: set serve.max_width")
    encoded, data = cv2.imencode(".jpg", image_bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not encoded:
        raise RunError(f"--serve: encoding a frame of {width}x{height} as JPEG failed")
    return bytes(data.tobytes())
