"""The HTTP routes: page, pictures, status, metrics, controls."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from datetime import datetime
from importlib import resources
from typing import Any, TypeVar

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from pydantic import ValidationError

from pipeline.controls import DisplayChange
from pipeline.settings.section import Section
from pipeline.web.access import Access, Refusal, Request
from pipeline.web.prometheus import Metrics
from pipeline.web.view import RunMonitor
from pipeline.web.viewers import StreamEnded, TooManyViewers, Viewers

STATUS_EVERY_S = 0.5
SEND_TIMEOUT_S = 10.0
"""A viewer that reads nothing for this long is disconnected."""
STILL_TIMEOUT_S = 3.0
BODY_TIMEOUT_S = 10.0
MAX_BODY_BYTES = 4096
_SEND_BUFFER_BYTES = 256 * 1024
_BOUNDARY = "stream_segment_frame"
_PAGE_FILES = {
    "/": ("index.html", "text/html"),
    "/app.js": ("app.js", "text/javascript"),
    "/plots.js": ("plots.js", "text/javascript"),
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
_COOKIE_DAYS = 30
Change = TypeVar("Change", bound=Section)


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
    routes = Routes(monitor, pictures, stills)
    app = web.Application(middlewares=[_guard(access)], client_max_size=MAX_BODY_BYTES)
    app.on_startup.append(routes.start)
    app.on_shutdown.append(routes.end)
    app.on_response_prepare.append(_add_headers)
    for path in _PAGE_FILES:
        app.router.add_get(path, routes.page, allow_head=True)
    app.router.add_get("/live", routes.live, allow_head=False)
    app.router.add_get("/stream.mjpg", routes.mjpeg, allow_head=False)
    app.router.add_get("/snapshot.jpg", routes.snapshot, allow_head=False)
    app.router.add_get("/api/status", routes.status)
    app.router.add_get("/api/events", routes.events, allow_head=False)
    app.router.add_post("/api/overlay", routes.overlay)
    app.router.add_post("/api/recording", routes.recording)
    app.router.add_get("/healthz", routes.healthz)
    app.router.add_get("/metrics", routes.metrics)
    return app


class Routes:
    """The request handlers; all run in the server's event loop."""

    def __init__(self, monitor: RunMonitor, pictures: Viewers, stills: Viewers) -> None:
        self._monitor = monitor
        self._pictures = pictures
        self._stills = stills
        self._listeners = Viewers(pictures.limit)
        self._metrics = Metrics(monitor, lambda: pictures.count)
        self._ending = asyncio.Event()
        folder = resources.files("pipeline.web") / "page"
        self._files = {path: (folder / name).read_bytes() for path, (name, _) in _PAGE_FILES.items()}

    async def start(self, _: web.Application) -> None:
        """Called when the server starts."""
        for viewers in (self._pictures, self._stills, self._listeners):
            viewers.bind()

    async def end(self, _: web.Application) -> None:
        """Called when the run ends; ends all streams."""
        self._ending.set()
        for viewers in (self._pictures, self._stills, self._listeners):
            viewers.close()

    # -- page and pictures --------------------------------------------------------------------------------------------

    async def page(self, request: web.Request) -> web.Response:
        """Serves the page's files."""
        kind = _PAGE_FILES[request.path][1]
        return web.Response(body=self._files[request.path], content_type=kind, charset="utf-8")

    async def live(self, request: web.Request) -> web.StreamResponse:
        """Sends pictures over a WebSocket, each one after the viewer has acknowledged showing the previous one."""
        with _watching(self._pictures):
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
            while True:
                number, picture = await self._pictures.newer_than(number)
                async with asyncio.timeout(SEND_TIMEOUT_S):
                    await viewer.send_bytes(picture)
                    await shown.wait()
                shown.clear()
        except StreamEnded:
            with contextlib.suppress(TimeoutError, ConnectionError):
                async with asyncio.timeout(1.0):
                    await viewer.close(code=1001, message=b"the run has ended")
        except (TimeoutError, ConnectionError):
            _abort(request)

    async def mjpeg(self, request: web.Request) -> web.StreamResponse:
        """Sends pictures as Motion JPEG, for <img>, VLC, OBS and other programs."""
        with _watching(self._pictures):
            response = web.StreamResponse(
                headers={"Content-Type": f"multipart/x-mixed-replace; boundary={_BOUNDARY}", "Connection": "close"}
            )
            await response.prepare(request)
            _limit_send_buffer(request)
            async with contextlib.aclosing(self._parts()) as parts:
                return await _send_all(request, response, parts)

    async def _parts(self) -> AsyncGenerator[bytes]:
        number = 0
        # Browsers show a part only once they have received the boundary after it.
        yield f"--{_BOUNDARY}\r\n".encode()
        while True:
            try:
                number, picture = await self._pictures.newer_than(number)
            except StreamEnded:
                return
            head = f"Content-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n"
            yield b"".join((head.encode(), picture, f"\r\n--{_BOUNDARY}\r\n".encode()))

    async def snapshot(self, request: web.Request) -> web.Response:
        """Sends the next frame at its full size."""
        with _watching(self._stills):
            try:
                async with asyncio.timeout(STILL_TIMEOUT_S):
                    _, picture = await self._stills.newer_than(0)
            except (TimeoutError, StreamEnded):
                reason = self._monitor.view.waiting_for() or f"no frame arrived within {STILL_TIMEOUT_S:g} s"
                return _json_response(503, error=f"no picture: {reason}")
        name = f"snapshot_{datetime.now():%Y-%m-%d_%H-%M-%S}.jpg"
        return web.Response(
            body=picture, content_type="image/jpeg", headers={"Content-Disposition": f'attachment; filename="{name}"'}
        )

    # -- status --------------------------------------------------------------------------------------------------------

    async def status(self, _: web.Request) -> web.Response:
        """Sends everything the page shows, as JSON."""
        return web.json_response(self._status())

    def _status(self) -> dict[str, Any]:
        return self._monitor.status(self._pictures.count) | {"max_viewers": self._pictures.limit}

    async def events(self, request: web.Request) -> web.StreamResponse:
        """Sends the status twice per second as server-sent events, and "end" when the run ends."""
        with _watching(self._listeners):
            response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
            await response.prepare(request)
            async with contextlib.aclosing(self._status_events()) as events:
                return await _send_all(request, response, events)

    async def _status_events(self) -> AsyncGenerator[bytes]:
        while not self._ending.is_set():
            yield f"data: {json.dumps(self._status(), separators=(',', ':'))}\n\n".encode()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STATUS_EVERY_S):
                    await self._ending.wait()
        yield b"event: end\ndata: {}\n\n"

    async def healthz(self, _: web.Request) -> web.Response:
        """Answers 200 while frames are being presented, otherwise 503 with the kind of trouble; needs no token."""
        health = self._monitor.health()
        return _json_response(200 if health.ok else 503, ok=health.ok, reason=health.trouble)

    async def metrics(self, _: web.Request) -> web.Response:
        """Sends the metrics for Prometheus."""
        return web.Response(body=self._metrics.text(), headers={"Content-Type": self._metrics.content_type})

    # -- controls -----------------------------------------------------------------------------------------------------

    async def overlay(self, request: web.Request) -> web.Response:
        """Changes what is drawn."""
        change = await _body(request, DisplayChange)
        self._monitor.view.controls.change_display(change)
        return await self.status(request)

    async def recording(self, request: web.Request) -> web.Response:
        """Starts or stops a recording."""
        change = await _body(request, RecordingChange)
        if not self._monitor.can_record:
            return _json_response(409, error="the source consists of images, which cannot be recorded as a video")
        self._monitor.view.controls.set_recording(change.on)
        return await self.status(request)


# -- requests and responses --------------------------------------------------------------------------------------------


def _guard(access: Access) -> Middleware:
    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        token = request.query.get("token")
        refusal = access.refusal(Request(request.method, request.path, request.headers, request.cookies, token))
        if refusal is not None:
            return _refused(request, refusal)
        if token is not None and request.method == "GET":
            resource = request.match_info.route.resource
            if resource is not None:
                return _without_token(request, access, token, resource.canonical)
        return await handler(request)

    return guard


def _refused(request: web.Request, refusal: Refusal) -> web.Response:
    headers = {"WWW-Authenticate": "Bearer"} if refusal is Refusal.TOKEN else {}
    if "text/html" in request.headers.get("Accept", ""):
        page = (resources.files("pipeline.web") / "page" / "refused.html").read_text(encoding="utf-8")
        text = page.replace("{{reason}}", refusal.text)
        return web.Response(text=text, content_type="text/html", status=refusal.status, headers=headers)
    return _json_response(refusal.status, headers, error=refusal.text)


def _without_token(request: web.Request, access: Access, token: str, path: str) -> web.Response:
    """Redirects the browser to the same page with the token replaced by a cookie.

    Args:
        request: the request.
        access: makes the cookie.
        token: the one in the query.
        path: that of the route, never the requested one, which could lead to another site.
    """
    response = web.Response(status=303, headers={"Location": path})
    if access.matches(token):
        response.set_cookie(
            access.cookie_name,
            access.cookie,
            max_age=_COOKIE_DAYS * 86400,
            httponly=True,
            samesite="Strict",
            secure=request.headers.get("X-Forwarded-Proto") == "https",
        )
    return response


async def _add_headers(_: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(_HEADERS)


@contextlib.contextmanager
def _watching(viewers: Viewers) -> Iterator[None]:
    try:
        with viewers.watching():
            yield
    except TooManyViewers:
        text = json.dumps({"error": f"the limit of {viewers.limit} viewers is reached (serve.max_viewers)"})
        raise web.HTTPServiceUnavailable(text=text, content_type="application/json") from None


async def _send_all(
    request: web.Request, response: web.StreamResponse, parts: AsyncIterator[bytes]
) -> web.StreamResponse:
    """Sends all parts, until the viewer disconnects or stops reading."""
    try:
        async for part in parts:
            async with asyncio.timeout(SEND_TIMEOUT_S):
                await response.write(part)
        async with asyncio.timeout(SEND_TIMEOUT_S):
            await response.write_eof()
    except (TimeoutError, ConnectionError):
        _abort(request)
    return response


def _limit_send_buffer(request: web.Request) -> None:
    """Makes a slow viewer skip pictures instead of lagging: the system's default buffer holds seconds of them."""
    transport = request.transport
    connection = transport.get_extra_info("socket") if transport is not None else None
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)


def _abort(request: web.Request) -> None:
    """Closes a connection without sending the rest of its buffer."""
    if request.transport is not None:
        request.transport.abort()


async def _body(request: web.Request, kind: type[Change]) -> Change:
    if request.content_type != "application/json":
        raise _bad(415, "expected JSON (Content-Type: application/json)")
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            body = await request.read()
        return kind.model_validate_json(body, strict=True)
    except TimeoutError:
        raise _bad(408, f"the request did not arrive within {BODY_TIMEOUT_S:g} s") from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise _bad(400, f"{where}: {first['msg']}" if where else first["msg"]) from None


def _bad(status: int, text: str) -> web.HTTPException:
    kinds = {408: web.HTTPRequestTimeout, 415: web.HTTPUnsupportedMediaType}
    return kinds.get(status, web.HTTPBadRequest)(text=json.dumps({"error": text}), content_type="application/json")


def _json_response(status: int, headers: dict[str, str] | None = None, **values: object) -> web.Response:
    return web.json_response(values, status=status, headers=headers)
