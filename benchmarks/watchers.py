"""Viewers of a served run in a process of their own: some that keep up, one that stalls."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection

from benchmarks.helper_process import HelperProcess

HEALTHY = 3
STALLED_FOR_S = 15.0
"""The stalled viewer reads nothing for this long, disconnects and reconnects."""
RETRY_S = 0.2
ANSWER_DEADLINE_S = 60.0


@dataclass(frozen=True)
class WatchReport:
    """Pictures and connections of each healthy viewer, and connections of the stalled one."""

    pictures: tuple[int, ...]
    connections: tuple[int, ...]
    stalled_connections: int


class Watchers(HelperProcess):
    """The viewers' process, a context manager."""

    def __init__(self) -> None:
        super().__init__("viewers", _main)

    def watch(self, port: int, paths: Sequence[str] = ("/stream.mjpg",)) -> None:
        """Watch the run that is served on this local port, from when it opens; the viewers share the paths in turn."""
        self.send((port, tuple(paths)))

    def report(self) -> WatchReport:
        """Stop watching; return what was received since `watch`."""
        self.send("report")
        report: WatchReport = self.receive(ANSWER_DEADLINE_S)
        return report


def _main(pipe: Connection) -> None:
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_run(pipe))


async def _run(pipe: Connection) -> None:
    pipe.send("ready")
    viewers: list[_Viewer] = []
    tasks: list[asyncio.Task[None]] = []
    while (order := await asyncio.to_thread(pipe.recv)) != "end":
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        tasks.clear()
        if order == "report":
            *healthy, stalled = viewers
            pictures = tuple(viewer.pictures for viewer in healthy)
            connections = tuple(viewer.connections for viewer in healthy)
            pipe.send(WatchReport(pictures, connections, stalled.connections))
        else:
            port, paths = order
            viewers = [_Viewer(port, paths[i % len(paths)], stalls=i == HEALTHY) for i in range(HEALTHY + 1)]
            tasks = [asyncio.create_task(viewer.watch()) for viewer in viewers]


class _Viewer:
    """One viewer, which reconnects when the connection ends."""

    def __init__(self, port: int, path: str, *, stalls: bool) -> None:
        self._port, self._path = port, path
        self._stalls = stalls
        self.pictures = self.connections = 0

    async def watch(self) -> None:
        while True:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await self._connect()
            await asyncio.sleep(RETRY_S)

    async def _connect(self) -> None:
        # A small buffer: a viewer that does not read stalls the server soon.
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port, limit=4096)
        try:
            writer.write(f"GET {self._path} HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\n\r\n".encode())
            self.connections += 1
            if self._stalls:
                await asyncio.sleep(STALLED_FOR_S)
                return
            while line := await reader.readline():
                if line.lower().startswith(b"content-length:"):
                    await reader.readline()  # the empty line after the headers
                    await reader.readexactly(int(line.split(b":")[1]))
                    self.pictures += 1
        finally:
            writer.transport.abort()
