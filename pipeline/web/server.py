"""The server of the page: its listening socket, and a thread of its own, so that requests do not delay the pipeline."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import logging
import os
import socket
import sys
import threading
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from pipeline.errors import InputError, RunError, StageStuckError
from pipeline.threads.stage import THREAD_PREFIX

log = logging.getLogger(__name__)

START_DEADLINE_S = 10.0
END_DEADLINE_S = 5.0
CLOSE_GRACE_S = 0.5
"""How long connections may take to close on their own when the run ends."""
KEEP_ALIVE_S = 10.0
"""How long a connection may wait for its first, or the next, request."""
MOST_OF_WINDOWS = 500
"""Connections that an event loop may have there: `select` takes 512 sockets, some of them the loop's own."""
_Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """How many connections the page accepts; it closes further ones at once.

    Attributes:
        total: in all, so that descriptors remain for recordings.
        local: from all addresses of this machine together.
        per_address: from each address of another machine.
    """

    total: int
    local: int
    per_address: int

    @classmethod
    def for_viewers(cls, max_viewers: int, behind_proxy: bool) -> ConnectionLimits:
        """The limits for so many viewers; a proxy on this machine connects for many, other programs leave room."""
        total, per_address = max(256, 3 * max_viewers), 32
        if sys.platform == "win32":
            total = min(total, MOST_OF_WINDOWS)
        return cls(total, total if behind_proxy else total - per_address, per_address)

    def is_crowded(self, others: Sequence[str], host: str) -> bool:
        """Whether one more connection is too many.

        Args:
            others: the addresses of the open connections.
            host: the address of the new one.
        """
        if len(others) >= self.total:
            return True
        if is_local(host):
            return sum(map(is_local, others)) >= self.local
        return others.count(host) >= self.per_address


class WebServer:
    """Owns the event loop's thread and, once started, the socket.

    Args:
        app: handles the requests.
        listening: the socket to serve on; closed at the end.
        limits: of connections.
    """

    def __init__(self, app: web.Application, listening: socket.socket, limits: ConnectionLimits) -> None:
        self._limits = limits
        self._app = app
        self._listening = listening
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._main, name=THREAD_PREFIX + "page server", daemon=True)

    def start(self) -> None:
        """Start serving. Raises RunError if that fails."""
        self._thread.start()
        if not self._ready.wait(START_DEADLINE_S):
            raise StageStuckError(f"the page's server did not start within {START_DEADLINE_S:g} s")
        if self._error is not None:
            raise RunError(f"the page's server failed to start: {self._error}") from self._error

    def close(self) -> None:
        """Close all connections and end the thread. Raises StageStuckError after a deadline."""
        if self._loop is not None and self._stop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has already ended
                self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(END_DEADLINE_S)
        if self._thread.is_alive():
            raise StageStuckError(f"the page's server did not end within {END_DEADLINE_S:g} s")

    def _main(self) -> None:
        try:
            # Windows' own loop would close the listening socket once a client leaves too early (CPython issue 93821).
            with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
                runner.run(self._serve())
        except (OSError, RuntimeError, ValueError) as error:
            self._error = error
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        listener: asyncio.Server | None = None
        # Logs what fails while a request is handled, but no malformed request: strangers could fill the log with them.
        requests = logging.getLogger("pipeline.web.requests")
        requests.addFilter(_is_own_failure)
        runner = web.AppRunner(
            self._app,
            access_log=None,
            logger=requests,
            handle_signals=False,
            handler_cancellation=True,  # frees the place of a viewer who has left, even while no pictures arrive
            shutdown_timeout=CLOSE_GRACE_S,
            keepalive_timeout=KEEP_ALIVE_S,
        )
        try:
            await runner.setup()
            assert runner.server is not None
            runner.server.request_handler = partial(_refusing_malformed, runner.server.request_handler)
            self._loop.set_exception_handler(_log_in_one_line)
            server = runner.server
            listener = await self._loop.create_server(lambda: _Gate(server, self._limits), sock=self._listening)
            self._ready.set()
            await self._stop.wait()
        finally:
            if listener is not None:
                listener.close()
            await self._end(runner)
            self._listening.close()

    async def _end(self, runner: web.AppRunner) -> None:
        """Close all connections, even those with unsent data for a viewer that does not read."""
        connections = runner.server.connections if runner.server is not None else []
        transports = [connection.transport for connection in connections]
        await runner.cleanup()
        for transport in transports:
            if transport is not None:
                # Closing waits until the buffer is empty, which would leave the socket open after the loop has ended.
                transport.abort()
        await asyncio.sleep(0)  # the loop closes the sockets in its next iteration


class _Gate(asyncio.Protocol):
    """Passes a new connection on to the server, or closes it if there are too many."""

    def __init__(self, server: web.Server, limits: ConnectionLimits) -> None:
        self._server = server
        self._limits = limits

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        others = [_host(one.transport) for one in self._server.connections if one.transport is not None]
        if self._limits.is_crowded(others, _host(transport)):
            transport.abort()
            return
        handler = self._server()
        transport.set_protocol(handler)
        handler.connection_made(transport)


def is_local(host: str) -> bool:
    """Whether an address is reachable from this machine only."""
    return ipaddress.ip_address(host.removeprefix("::ffff:").partition("%")[0]).is_loopback


def _host(transport: asyncio.BaseTransport) -> str:
    """The address of the client; 127.0.0.1 for all on this machine, and for one that has already gone."""
    peer, own = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
    return str(peer[0]) if peer and own and peer[0] != own[0] else "127.0.0.1"


def _log_in_one_line(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    error = context.get("exception")
    log.warning("page: %s", f"{context['message']}: {error}" if error is not None else context["message"])


async def _refusing_malformed(handle: _Handler, request: web.BaseRequest) -> web.StreamResponse:
    """Answers 400 where aiohttp fails to quote bytes of a request that are no text, or the client leaves meanwhile."""
    try:
        return await handle(request)
    except (UnicodeError, ConnectionError, web.RequestPayloadError):
        return web.Response(status=400, text="malformed request\n")


def _is_own_failure(record: logging.LogRecord) -> bool:
    malformed = (HttpProcessingError, web.RequestPayloadError)
    return not (record.exc_info and isinstance(record.exc_info[1], malformed))


def listen(host: str, port: int) -> socket.socket:
    """Open a listening socket; port 0 chooses a free port. Raises InputError if that fails."""
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InputError(f"--serve: {host} is not an address of this machine ({reason}): give an IP address") from None
    family, kind, protocol, _, address = min(addresses, key=lambda candidate: candidate[0] != socket.AF_INET)
    listening = socket.socket(family, kind, protocol)
    try:
        if os.name == "posix":  # on Windows, it would let two programs share a port
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listening.bind(address)
        listening.listen(64)
        listening.setblocking(False)
    except OSError as error:
        listening.close()
        raise InputError(f"--serve: {_bind_error(error, host, port)}") from None
    return listening


def _bind_error(error: OSError, host: str, port: int) -> str:
    alternative = port + 1 if port < 65535 else 8080
    if error.errno == errno.EADDRINUSE:
        return f"port {port} is in use by another program: give another, such as --serve {alternative}"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{host} is not an address of this machine; 0.0.0.0 stands for all of its addresses"
    if error.errno == errno.EACCES and sys.platform == "win32":  # for Hyper-V, or held by a program that shares none
        return f"port {port} is reserved: give another, such as --serve {alternative}"
    if error.errno == errno.EACCES:
        return f"port {port} requires special privileges: give one from 1024 on"
    return f"listening on {host}:{port} failed: {error.strerror or error}"


def url_of(listening: socket.socket) -> str:
    """The URL to open, such as "http://192.168.1.5:8080/"; for a socket on all addresses, the most likely one."""
    host, port = listening.getsockname()[:2]
    if ipaddress.ip_address(host.partition("%")[0]).is_unspecified:
        host = _outbound_address()
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def _outbound_address() -> str:
    """The address from which this machine reaches others, found without sending anything."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # reserved for documentation (RFC 5737)
            return str(probe.getsockname()[0])
        except OSError:
            return socket.gethostname()
