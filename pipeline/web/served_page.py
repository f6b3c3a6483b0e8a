"""The page at its address: socket, token, server."""

from __future__ import annotations

import logging
from collections.abc import Callable

from aiohttp import web

from pipeline.settings.output_settings import ServeSettings, split_address
from pipeline.web.access import Access, allowed_hosts, choose_token
from pipeline.web.server import ConnectionLimits, WebServer, is_local, listen, url_of

log = logging.getLogger(__name__)


class ServedPage:
    """Serves an application at `settings.address`.

    Args:
        settings: address, token, limits.

    Attributes:
        url: the address to open; "" before `open`.
        token: that requests must have; None if they need none.
    """

    def __init__(self, settings: ServeSettings) -> None:
        if settings.address is None:
            raise ValueError("a page needs settings.address")
        self._settings = settings
        self._server: WebServer | None = None
        self.url = ""
        self.token: str | None = None

    def open(self, make_app: Callable[[Access], web.Application]) -> None:
        """Start the server and log its URL. Raises InputError if the address cannot be used."""
        host, port = split_address(self._settings.address or "")
        listening = listen(host, port)
        own_host, own_port = listening.getsockname()[:2]
        try:
            self.token, is_generated = choose_token(self._settings, required=not is_local(own_host))
            self.url = url_of(listening)
            app = make_app(Access(self.token, allowed_hosts(self._settings, host), own_port))
            behind_proxy = bool(self._settings.allowed_hosts)
            limits = ConnectionLimits.for_viewers(self._settings.max_viewers, behind_proxy)
            self._server = WebServer(app, listening, limits)
            self._server.start()
        except BaseException:
            listening.close()
            raise
        note = f"?token={self.token}" if is_generated else " (requires the token)" if self.token else ""
        log.info("page: %s%s", self.url, note)

    def close(self) -> None:
        """Stop the server. May be called twice."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
