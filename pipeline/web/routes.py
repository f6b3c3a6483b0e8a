"""The HTTP routes: page, pictures, status, metrics, controls."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator
from datetime import datetime
from importlib import resources
from typing import Any
from urllib.parse import quote

from aiohttp import web
from aiohttp.typedefs import Handler

from pipeline.controls import DisplayChange
from pipeline.settings.section import Section
from pipeline.web.access import Access, Refusal
from pipeline.web.prometheus import Metrics
from pipeline.web.recordings import RecordingRoutes
from pipeline.web.responses import (
    MAX_BODY_BYTES,
    SEND_TIMEOUT_S,
    RequestError,
    abort,
    json_response,
    limit_send_buffer,
    read_body,
    send_all,
)
from pipeline.web.view import SAMPLE_EVERY_S, RunMonitor
from pipeline.web.viewers import TooManyViewers, Viewers

STILL_TIMEOUT_S = 3.0
_BOUNDARY = "stream_segment_frame"
_PAGE_FILES = {
    "/": ("index.html", "text/html"),
    "/app.js": ("app.js", "text/javascript"),
    "/plots.js": ("plots.js", "text/javascript"),
    "/recordings.js": ("recordings.js", "text/javascript"),
    "/style.css": ("style.css", "text/css"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; object-src 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Server": "stream_segment",
}


class RecordingChange(Section):
    """Starts or stops a recording."""

    on: bool


def make_app(monitor: RunMonitor, access: Access, pictures: Viewers, stills: Viewers) -> web.Application:
    """Returns the web application of one run.

    Args:
        monitor: reports the state of the run.
        access: accepts or refuses requests.
        pictures, stills: distribute JPEGs for live viewing, and in full size for snapshots.
    """
    routes = Routes(monitor, access, pictures, stills)
    app = web.Application(middlewares=[routes.guard], client_max_size=MAX_BODY_BYTES)
    app.on_startup.append(routes.start)
    app.on_shutdown.append(routes.end)
    app.on_response_prepare.append(_add_headers)
    app.add_routes(
        [
            *(web.get(path, routes.page) for path in _PAGE_FILES),
            web.get("/live", routes.live, allow_head=False),
            web.get("/stream.mjpg", routes.mjpeg, allow_head=False),
            web.get("/snapshot.jpg", routes.snapshot, allow_head=False),
            web.get("/api/status", routes.status),
            web.get("/api/events", routes.events, allow_head=False),
            web.post("/api/overlay", routes.overlay),
            web.post("/api/recording", routes.recording),
            web.get("/api/recordings", routes.recordings.listing),
            web.post("/api/recordings/delete", routes.recordings.delete),
            web.get("/recordings/{name}", routes.recordings.download, allow_head=False),
            web.get("/healthz", routes.healthz),
            web.get("/metrics", routes.metrics),
        ]
    )
    return app


class Routes:
    """The request handlers; all run in the server's event loop."""

    def __init__(self, monitor: RunMonitor, access: Access, pictures: Viewers, stills: Viewers) -> None:
        self._monitor = monitor
        self._access = access
        self._pictures = pictures
        self._stills = stills
        self._listeners = Viewers(pictures.limit)
        self._metrics = Metrics(monitor, lambda: pictures.count)
        self.recordings = RecordingRoutes(monitor.view.recordings, monitor.view.controls)
        self._sampler: asyncio.Task[None] | None = None
        self._ending = asyncio.Event()
        self._folder = resources.files("pipeline.web") / "page"
        self._files = {path: (self._folder / name).read_bytes() for path, (name, _) in _PAGE_FILES.items()}

    async def start(self, _: web.Application) -> None:
        """Called when the server starts."""
        for viewers in (self._pictures, self._stills, self._listeners):
            viewers.bind()
        self._sampler = asyncio.create_task(self._sample())

    async def end(self, _: web.Application) -> None:
        """Called when the run ends; ends all streams."""
        self._ending.set()
        for viewers in (self._pictures, self._stills, self._listeners):
            viewers.close()
        if self._sampler is not None:
            await self._sampler

    async def _sample(self) -> None:
        while not self._ending.is_set():
            self._monitor.sample()
            await self._until_next_sample()

    async def _until_next_sample(self) -> None:
        """Waits for a moment, or for the end of the run."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SAMPLE_EVERY_S):
                await self._ending.wait()

    @web.middleware
    async def guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answers a request that is refused or fails, and one that brings the token in its query."""
        refusal = self._access.refusal(request)
        if refusal is not None:
            return self._refused(request, refusal)
        token, resource = request.query.get("token"), request.match_info.route.resource
        if token is not None and request.method == "GET" and resource is not None:
            values = {name: quote(value, safe="") for name, value in request.match_info.items()}
            return self._without_token(request, token, resource.canonical.format(**values))
        try:
            return await handler(request)
        except TooManyViewers as error:
            return json_response(503, error=f"the limit of {error} viewers is reached (serve.max_viewers)")
        except RequestError as error:
            return json_response(error.status, error=str(error))

    def _refused(self, request: web.Request, refusal: Refusal) -> web.Response:
        status, text = refusal.value
        headers = {"WWW-Authenticate": "Bearer"} if refusal is Refusal.TOKEN else {}
        if "text/html" not in request.headers.get("Accept", ""):
            return json_response(status, headers, error=text)
        page = (self._folder / "refused.html").read_text(encoding="utf-8").replace("{{reason}}", text)
        return web.Response(text=page, content_type="text/html", status=status, headers=headers)

    def _without_token(self, request: web.Request, token: str, path: str) -> web.Response:
        """Redirects the browser to the same page with the token replaced by a cookie.

        Args:
            request: the request.
            token: the one in the query.
            path: that of the route, filled in; never the requested one, which could lead to another site.
        """
        response = web.Response(status=303, headers={"Location": path})
        if self._access.matches(token):
            response.set_cookie(
                self._access.cookie_name,
                self._access.cookie,
                max_age=30 * 86400,
                httponly=True,
                samesite="Strict",
                secure=request.headers.get("X-Forwarded-Proto") == "https",
            )
        return response

    # -- page and pictures --------------------------------------------------------------------------------------------

    async def page(self, request: web.Request) -> web.Response:
        """Serves the page's files."""
        return web.Response(body=self._files[request.path], content_type=_PAGE_FILES[request.path][1], charset="utf-8")

    async def live(self, request: web.Request) -> web.StreamResponse:
        """Sends pictures over a WebSocket, each one after the viewer has acknowledged showing the previous one."""
        with self._pictures.watching():
            viewer = web.WebSocketResponse(compress=False, max_msg_size=64, heartbeat=SEND_TIMEOUT_S, timeout=1.0)
            await viewer.prepare(request)
            shown = asyncio.Event()
            sender = asyncio.create_task(self._send_pictures(viewer, request, shown))
            try:
                async for message in viewer:
                    if message.type is not web.WSMsgType.TEXT:
                        break
                    shown.set()
            finally:
                sender.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await sender
            return viewer

    async def _send_pictures(self, viewer: web.WebSocketResponse, request: web.Request, shown: asyncio.Event) -> None:
        number = 0
        try:
            while (newer := await self._pictures.newer_than(number)) is not None:
                number, picture = newer
                async with asyncio.timeout(SEND_TIMEOUT_S):
                    await viewer.send_bytes(picture)
                    await shown.wait()
                shown.clear()
        except (TimeoutError, ConnectionError):
            abort(request)
            return
        with contextlib.suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(1.0):
                await viewer.close(code=1001, message=b"the run has ended")

    async def mjpeg(self, request: web.Request) -> web.StreamResponse:
        """Sends pictures as Motion JPEG, for <img>, VLC, OBS and other programs."""
        with self._pictures.watching():
            response = web.StreamResponse(
                headers={"Content-Type": f"multipart/x-mixed-replace; boundary={_BOUNDARY}", "Connection": "close"}
            )
            await response.prepare(request)
            limit_send_buffer(request)
            return await send_all(request, response, self._parts())

    async def _parts(self) -> AsyncGenerator[bytes]:
        number = 0
        # Browsers show a part only once they have received the boundary after it.
        yield f"--{_BOUNDARY}\r\n".encode()
        while (newer := await self._pictures.newer_than(number)) is not None:
            number, picture = newer
            head = f"Content-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n"
            yield b"".join((head.encode(), picture, f"\r\n--{_BOUNDARY}\r\n".encode()))

    async def snapshot(self, request: web.Request) -> web.Response:
        """Sends the next frame at its full size."""
        newer = None
        with self._stills.watching(), contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STILL_TIMEOUT_S):
                newer = await self._stills.newer_than(0)
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
        return self._monitor.status(self._pictures.count) | {"max_viewers": self._pictures.limit}

    async def events(self, request: web.Request) -> web.StreamResponse:
        """Sends server-sent events: the history first, the status twice per second, "end" when the run ends."""
        with self._listeners.watching():
            response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
            await response.prepare(request)
            return await send_all(request, response, self._status_events())

    async def _status_events(self) -> AsyncGenerator[bytes]:
        yield b"event: history\n" + _event(self._monitor.history)
        while not self._ending.is_set():
            yield _event(self._status())
            await self._until_next_sample()
        yield b"event: end\n" + _event({})

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


def _event(content: object) -> bytes:
    return f"data: {json.dumps(content, separators=(',', ':'))}\n\n".encode()


async def _add_headers(_: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(_HEADERS)
