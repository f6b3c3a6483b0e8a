"""What request handlers share: bodies, JSON answers, errors, files, long responses to viewers that may stop reading."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import AsyncGenerator
from typing import BinaryIO, TypeVar

from aiohttp import web
from pydantic import ValidationError

from pipeline.settings.messages import reason
from pipeline.settings.section import Section

SEND_TIMEOUT_S = 10.0
"""A viewer that reads nothing for this long is disconnected."""
BODY_TIMEOUT_S = 10.0
MAX_BODY_BYTES = 4096
PART_BYTES = 64 * 1024
Change = TypeVar("Change", bound=Section)


class RequestError(Exception):
    """A request cannot be answered as asked.

    Args:
        status: of HTTP.
        text: why.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


async def send_all(
    request: web.Request, response: web.StreamResponse, parts: AsyncGenerator[bytes]
) -> web.StreamResponse:
    """Sends all parts, until the viewer disconnects or stops reading."""
    async with contextlib.aclosing(parts):
        try:
            async for part in parts:
                async with asyncio.timeout(SEND_TIMEOUT_S):
                    await response.write(part)
            async with asyncio.timeout(SEND_TIMEOUT_S):
                await response.write_eof()
        except (TimeoutError, ConnectionError):
            abort(request)
        return response


async def send_events(request: web.Request, events: AsyncGenerator[bytes]) -> web.StreamResponse:
    """Sends server-sent events, each made by `event`, as `send_all` does."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    return await send_all(request, response, events)


async def send_acknowledged(request: web.Request, pictures: AsyncGenerator[bytes]) -> web.StreamResponse:
    """Sends pictures over a WebSocket, each one after the viewer has acknowledged showing the previous one."""
    viewer = web.WebSocketResponse(compress=False, max_msg_size=64, heartbeat=SEND_TIMEOUT_S, timeout=1.0)
    await viewer.prepare(request)
    shown = asyncio.Event()
    sender = asyncio.create_task(_send_each(viewer, request, pictures, shown))
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


async def _send_each(
    viewer: web.WebSocketResponse, request: web.Request, pictures: AsyncGenerator[bytes], shown: asyncio.Event
) -> None:
    async with contextlib.aclosing(pictures):
        try:
            async for picture in pictures:
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


def open_no_link(path: str, flags: int) -> int:
    """An opener that follows no link."""
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0))


async def file_parts(file: BinaryIO, start: int, stop: int) -> AsyncGenerator[bytes]:
    """The bytes of a file, read in another thread. Raises ConnectionError if it has become shorter."""
    file.seek(start)
    while start < stop:
        part = await asyncio.to_thread(file.read, min(PART_BYTES, stop - start))
        if not part:
            raise ConnectionError("the file has become shorter")
        start += len(part)
        yield part


def limit_send_buffer(request: web.Request) -> None:
    """Makes a slow viewer skip pictures instead of lagging: the system's default buffer holds seconds of them."""
    transport = request.transport
    connection = transport.get_extra_info("socket") if transport is not None else None
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 256 * 1024)


def abort(request: web.Request) -> None:
    """Closes a connection without sending the rest of its buffer."""
    if request.transport is not None:
        request.transport.abort()


async def read_body(request: web.Request, kind: type[Change]) -> Change:
    """The change that a request asks for, as JSON. Raises RequestError, which names fields by their titles."""
    if request.content_type != "application/json":
        raise RequestError(415, "expected JSON (Content-Type: application/json)")
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            body = await request.read()
        return kind.model_validate_json(body, strict=True)
    except TimeoutError:
        raise RequestError(408, f"the request did not arrive within {BODY_TIMEOUT_S:g} s") from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        if where in kind.model_fields:
            where = kind.model_fields[where].title or where
        raise RequestError(400, f"{where}: {reason(first)}" if where else reason(first)) from None


def json_response(status: int, headers: dict[str, str] | None = None, **values: object) -> web.Response:
    """An answer of these values."""
    return web.json_response(values, status=status, headers=headers)


def event(content: object, kind: str = "") -> bytes:
    """A server-sent event."""
    head = f"event: {kind}\n" if kind else ""
    return f"{head}data: {json.dumps(content, separators=(',', ':'))}\n\n".encode()


async def until_set(end: asyncio.Event, timeout_s: float) -> None:
    """Waits for a moment, but not beyond an end."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            await end.wait()
