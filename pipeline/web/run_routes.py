"""The request handlers of one run: pictures, status, metrics, controls, recordings."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from datetime import datetime
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

from pipeline.controls import DisplayChange
from pipeline.settings.section import Section
from pipeline.web.feed import Feed
from pipeline.web.prometheus import Metrics
from pipeline.web.recording_routes import RecordingRoutes
from pipeline.web.responses import (
    RequestError,
    event,
    json_response,
    limit_send_buffer,
    read_body,
    send_acknowledged,
    send_all,
    send_events,
    until_set,
)
from pipeline.web.view import SAMPLE_EVERY_S

STILL_TIMEOUT_S = 3.0
_BOUNDARY = "stream_segment_frame"


class RecordingChange(Section):
    """Starts or stops a recording."""

    on: bool


class RunRoutes:
    """The request handlers; all run in the server's event loop.

    Args:
        feed: pictures and state of the run.
        camera: its name, in a run with several.
    """

    def __init__(self, feed: Feed, camera: str = "") -> None:
        self.feed = feed
        self._monitor = feed.monitor
        self._metrics = Metrics({camera: feed})
        self._recordings = RecordingRoutes(lambda: feed.monitor.view)

    # -- pictures -----------------------------------------------------------------------------------------------------

    async def live(self, request: web.Request) -> web.StreamResponse:
        """Sends pictures over a WebSocket, each one after the viewer has acknowledged showing the previous one."""
        with self.feed.pictures.watching():
            return await send_acknowledged(request, self._pictures())

    async def _pictures(self) -> AsyncGenerator[bytes]:
        number = 0
        while (newer := await self.feed.pictures.newer_than(number)) is not None:
            number, picture = newer
            yield picture

    async def mjpeg(self, request: web.Request) -> web.StreamResponse:
        """Sends pictures as Motion JPEG, for <img>, VLC, OBS and other programs."""
        with self.feed.pictures.watching():
            response = web.StreamResponse(
                headers={"Content-Type": f"multipart/x-mixed-replace; boundary={_BOUNDARY}", "Connection": "close"}
            )
            await response.prepare(request)
            limit_send_buffer(request)
            return await send_all(request, response, self._parts())

    async def _parts(self) -> AsyncGenerator[bytes]:
        # Browsers show a part only once they have received the boundary after it.
        yield f"--{_BOUNDARY}\r\n".encode()
        async with contextlib.aclosing(self._pictures()) as pictures:
            async for picture in pictures:
                head = f"Content-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n"
                yield b"".join((head.encode(), picture, f"\r\n--{_BOUNDARY}\r\n".encode()))

    async def snapshot(self, request: web.Request) -> web.Response:
        """Sends the next frame at its full size."""
        newer = None
        with self.feed.stills.watching(), contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STILL_TIMEOUT_S):
                newer = await self.feed.stills.newer_than(0)
        if newer is None:
            reason = self._monitor.view.waiting_for() or f"no frame arrived within {STILL_TIMEOUT_S:g} s"
            raise RequestError(503, f"no picture: {reason}")
        name = f"snapshot_{datetime.now():%Y-%m-%d_%H-%M-%S}.jpg"
        return web.Response(
            body=newer[1], content_type="image/jpeg", headers={"Content-Disposition": f'attachment; filename="{name}"'}
        )

    # -- status --------------------------------------------------------------------------------------------------------

    async def status(self, _: web.Request) -> web.Response:
        """Sends everything the page shows, as JSON."""
        return web.json_response(self._status())

    def _status(self) -> dict[str, Any]:
        return self._monitor.status(self.feed.pictures.count) | {"max_viewers": self.feed.pictures.limit}

    async def events(self, request: web.Request) -> web.StreamResponse:
        """Sends server-sent events: the history first, the status twice per second, "end" when the run ends."""
        with self.feed.listeners.watching():
            return await send_events(request, self._status_events())

    async def _status_events(self) -> AsyncGenerator[bytes]:
        yield event(self._monitor.history, "history")
        while not self.feed.ended.is_set():
            yield event(self._status())
            await until_set(self.feed.ended, SAMPLE_EVERY_S)
        yield event({}, "end")

    async def healthz(self, _: web.Request) -> web.Response:
        """Answers 200 while frames are being presented, otherwise 503 with the kind of trouble; needs no token."""
        health = self._monitor.health()
        return json_response(200 if health.ok else 503, ok=health.ok, reason=health.trouble)

    async def metrics(self, _: web.Request) -> web.Response:
        """Sends the metrics for Prometheus."""
        return web.Response(body=self._metrics.text(), headers={"Content-Type": self._metrics.content_type})

    # -- controls -----------------------------------------------------------------------------------------------------

    async def overlay(self, request: web.Request) -> web.Response:
        """Changes what is drawn."""
        self._monitor.view.controls.change_display(await read_body(request, DisplayChange))
        return await self.status(request)

    async def recording(self, request: web.Request) -> web.Response:
        """Starts or stops a recording."""
        change = await read_body(request, RecordingChange)
        if not self._monitor.can_record:
            raise RequestError(409, "the source consists of images, which cannot be recorded as a video")
        self._monitor.view.controls.set_recording(change.on)
        return await self.status(request)

    async def recordings(self, request: web.Request) -> web.Response:
        """Lists what was recorded."""
        return await self._recordings.listing(request)

    async def download(self, request: web.Request) -> web.StreamResponse:
        """Sends a recording."""
        return await self._recordings.download(request)

    async def delete(self, request: web.Request) -> web.Response:
        """Deletes a recording."""
        return await self._recordings.delete(request)


def run_routes(of: Callable[[web.Request], RunRoutes], prefix: str = "/") -> list[web.RouteDef]:
    """The routes of a run, or of all cameras of one.

    Args:
        of: returns the run that a request is for. May raise RequestError.
        prefix: of their paths.
    """

    def to(method: Callable[[RunRoutes, web.Request], Awaitable[web.StreamResponse]]) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            return await method(of(request), request)

        return handle

    return [
        web.get(f"{prefix}live", to(RunRoutes.live), allow_head=False),
        web.get(f"{prefix}stream.mjpg", to(RunRoutes.mjpeg), allow_head=False),
        web.get(f"{prefix}snapshot.jpg", to(RunRoutes.snapshot), allow_head=False),
        web.get(f"{prefix}api/status", to(RunRoutes.status)),
        web.get(f"{prefix}api/events", to(RunRoutes.events), allow_head=False),
        web.post(f"{prefix}api/overlay", to(RunRoutes.overlay)),
        web.post(f"{prefix}api/recording", to(RunRoutes.recording)),
        web.get(f"{prefix}api/recordings", to(RunRoutes.recordings)),
        web.post(f"{prefix}api/recordings/delete", to(RunRoutes.delete)),
        web.get(f"{prefix}recordings/{{name}}", to(RunRoutes.download), allow_head=False),
        web.get(f"{prefix}healthz", to(RunRoutes.healthz)),
        web.get(f"{prefix}metrics", to(RunRoutes.metrics)),
    ]
