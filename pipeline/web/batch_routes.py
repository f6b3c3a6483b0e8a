"""The page of a batch: read-only; shows how far it is, and its report once there is one."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, Callable, Iterator
from pathlib import Path
from typing import Any

from aiohttp import web

from pipeline.file_names import utf8_name
from pipeline.settings.output_settings import ServeSettings
from pipeline.web.access import Access
from pipeline.web.responses import RequestError, event, file_parts, open_no_link, send_all, send_events, until_set
from pipeline.web.routes import Site
from pipeline.web.served_page import ServedPage
from pipeline.web.view import SAMPLE_EVERY_S
from pipeline.web.viewers import Viewers

BATCH_PAGE = "batch.html"
_REPORT_POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
"""A report holds its style and pictures itself, and needs no script: see `pipeline.report.page`."""


class BatchRoutes:
    """The request handlers; all run in the server's event loop.

    Args:
        status: returns what the page shows, JSON-serializable.
        report: the file of the report, which may come and go.
        max_viewers: of the page at the same time.
    """

    def __init__(self, status: Callable[[], dict[str, Any]], report: Path, max_viewers: int) -> None:
        self._read, self._report = status, report
        self._listeners = Viewers(max_viewers)
        self._ended = asyncio.Event()
        self._has_report = False

    def add_to(self, site: Site) -> None:
        """Add the routes to an application."""
        site.app.on_shutdown.append(self._end)
        site.app.add_routes(
            [
                web.get("/", site.file(BATCH_PAGE)),
                web.get("/api/status", self.status),
                web.get("/api/events", self.events, allow_head=False),
                web.get("/report.html", self.report, allow_head=False),
            ]
        )

    async def _end(self, _: web.Application) -> None:
        self._ended.set()

    async def status(self, _: web.Request) -> web.Response:
        """Sends what the page shows, as JSON."""
        await self._look()
        return web.json_response(self._status())

    async def _look(self) -> None:
        self._has_report = await asyncio.to_thread(self._report.is_file)  # a network drive may be slow

    def _status(self) -> dict[str, Any]:
        return {"results": utf8_name(self._report.parent.name), **self._read(), "report": self._has_report}

    async def events(self, request: web.Request) -> web.StreamResponse:
        """Sends the status twice per second as server-sent events, and "end" when the batch ends."""
        with self._listeners.watching():
            return await send_events(request, self._status_events())

    async def _status_events(self) -> AsyncGenerator[bytes]:
        while not self._ended.is_set():
            await self._look()
            yield event(self._status())
            await until_set(self._ended, SAMPLE_EVERY_S)
        yield event(self._status())
        yield event({}, "end")

    async def report(self, request: web.Request) -> web.StreamResponse:
        """Sends the report."""
        try:
            file = await asyncio.to_thread(open, self._report, "rb", opener=open_no_link)
        except FileNotFoundError:
            raise RequestError(404, "there is no report yet: the command `report` makes it") from None
        except OSError as error:
            raise RequestError(500, f"the report cannot be read: {error.strerror or error}") from None
        with file:
            headers = {"Content-Type": "text/html; charset=utf-8", "Content-Security-Policy": _REPORT_POLICY}
            response = web.StreamResponse(headers=headers)
            response.content_length = size = os.fstat(file.fileno()).st_size
            await response.prepare(request)
            return await send_all(request, response, file_parts(file, 0, size))


@contextlib.contextmanager
def served_batch(settings: ServeSettings, status: Callable[[], dict[str, Any]], report: Path) -> Iterator[ServedPage]:
    """Serves the page of a batch for as long as the block lasts.

    Args:
        settings: address, token, limits.
        status, report: see `BatchRoutes`.

    Raises:
        InputError: the address cannot be used.
    """

    def make_app(access: Access) -> web.Application:
        site = Site(access, dict)
        BatchRoutes(status, report, settings.max_viewers).add_to(site)
        return site.app

    page = ServedPage(settings)
    page.open(make_app)
    try:
        yield page
    finally:
        page.close()
