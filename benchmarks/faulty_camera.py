"""An HTTP camera (multipart JPEG) in a process of its own, with scripted faults.

It stalls with the connection open, cuts the connection, closes its port and returns with another picture size,
changes its picture size on the open connection, or sends corrupt pictures. Afterwards it reports what it did, and when.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from multiprocessing.connection import Connection

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks import marked_people
from benchmarks.helper_process import HelperProcess
from benchmarks.moving_scene import MovingScene
from pipeline.records import Frame, Instances

SIZES_WH = ((640, 360), (480, 360), (512, 288))
FPS = 15.0
KEPT_BYTES = 200
"""Of a corrupt picture: a part of its header."""
_PERSON = 1
"""Class of the people in the scene."""
PICTURES = 24
"""Pictures of each size, played forwards and backwards."""


class FaultKind(Enum):
    """The camera's faults."""

    STALL = "stall"
    """The connection stays open without pictures."""
    DROP = "drop"
    """The connection is cut; the next one is accepted at once."""
    SIZE = "size"
    """The pictures change their size on the open connection."""
    AWAY = "away"
    """The connection is cut and the port closed for a while; afterwards the pictures have another size."""
    CORRUPT = "corrupt"
    """The pictures are noise behind their first bytes, for a while."""

    @property
    def loses_connection(self) -> bool:
        """Whether clients must reconnect."""
        return self in (FaultKind.STALL, FaultKind.DROP, FaultKind.AWAY)

    @property
    def changes_size(self) -> bool:
        """Whether the pictures have another size afterwards."""
        return self in (FaultKind.SIZE, FaultKind.AWAY)


@dataclass(frozen=True)
class Fault:
    """One planned fault: when it begins, in seconds since the script began, and how long it lasts."""

    kind: FaultKind
    at_s: float
    lasts_s: float


@dataclass(frozen=True)
class FaultDone:
    """One fault as it happened.

    Attributes:
        kind: what happened.
        began_s, ended_s: seconds on `time.monotonic`, which the processes of one machine share.
        size_wh: of the pictures from `ended_s` on.
    """

    kind: FaultKind
    began_s: float
    ended_s: float
    size_wh: tuple[int, int]


@dataclass(frozen=True)
class CameraReport:
    """What the camera did: its faults in order, pictures sent, connections answered."""

    faults: Sequence[FaultDone]
    pictures: int
    connections: int


def plan(count: int, duration_s: float, longest_s: float) -> list[Fault]:
    """`count` faults spread evenly, each kind in turn; one takes at most `longest_s` and less than half its share."""
    period_s = duration_s / count
    kinds = list(FaultKind)
    lasts_s = min(longest_s, 0.45 * period_s)
    # A quarter of a share before the first: the last one then has time to be noticed before the end.
    return [Fault(kinds[i % len(kinds)], (i + 0.25) * period_s, lasts_s) for i in range(count)]


class FaultyCamera(HelperProcess):
    """The camera's process, a context manager; plays without faults until `begin`."""

    def __init__(self) -> None:
        super().__init__("faulty camera", _main)

    @property
    def url(self) -> str:
        """The address of the stream."""
        return f"http://127.0.0.1:{self.greeting}/video"

    def begin(self, faults: Sequence[Fault]) -> None:
        """Start the script."""
        self.send(list(faults))

    def report(self, timeout_s: float) -> CameraReport:
        """Wait for the end of the script; return what the camera did."""
        self.send("report")
        report: CameraReport = self.receive(timeout_s)
        return report


def _main(pipe: Connection) -> None:
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_Camera(pipe).run())


class _Camera:
    """The camera inside its process."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._reels = [_reel(width, height) for width, height in SIZES_WH]
        self._reel = 0
        self._server: asyncio.Server | None = None
        self._port = 0
        self._writers: set[asyncio.StreamWriter] = set()
        self._plays = asyncio.Event()
        self._plays.set()
        self._spoils = False
        self._done: list[FaultDone] = []
        self._pictures = self._connections = 0

    async def run(self) -> None:
        await self._listen()
        self._pipe.send(self._port)
        script: asyncio.Task[None] | None = None
        while True:
            order = await asyncio.to_thread(self._pipe.recv)
            if order == "end":
                break
            if order == "report":
                if script is not None:
                    await script
                self._pipe.send(CameraReport(tuple(self._done), self._pictures, self._connections))
            else:
                script = asyncio.create_task(self._play_script(order))
        await self._go_away()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def _go_away(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        self._cut()

    def _cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _play_script(self, faults: Sequence[Fault]) -> None:
        self._done.clear()
        first_s = time.monotonic()
        for fault in faults:
            await asyncio.sleep(max(0.0, first_s + fault.at_s - time.monotonic()))
            began_s = time.monotonic()
            await self._fail(fault)
            self._done.append(FaultDone(fault.kind, began_s, time.monotonic(), SIZES_WH[self._reel]))

    async def _fail(self, fault: Fault) -> None:
        if fault.kind.changes_size:
            self._reel = (self._reel + 1) % len(SIZES_WH)
        if fault.kind is FaultKind.STALL:
            self._plays.clear()
            await asyncio.sleep(fault.lasts_s)
            self._plays.set()
        elif fault.kind is FaultKind.CORRUPT:
            self._spoils = True
            await asyncio.sleep(fault.lasts_s)
            self._spoils = False
        elif fault.kind is FaultKind.DROP:
            self._cut()
        elif fault.kind is FaultKind.AWAY:
            await self._go_away()
            await asyncio.sleep(fault.lasts_s)
            await self._listen()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        self._connections += 1
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(
                b"HTTP/1.0 200 OK\r\nConnection: close\r\n"
                b"Content-Type: multipart/x-mixed-replace; boundary=frame\r\n\r\n"
            )
            for number in itertools.cycle([*range(PICTURES), *range(PICTURES - 2, 0, -1)]):
                await self._plays.wait()
                body = self._reels[self._reel][number]
                if self._spoils:
                    body = spoiled(body)
                writer.write(b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(body))
                writer.write(body + b"\r\n")
                await writer.drain()
                self._pictures += 1
                await asyncio.sleep(1 / FPS)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the other side went away, or was cut off, or the process ends
        finally:
            self._writers.discard(writer)
            writer.close()


def spoiled(jpeg: bytes) -> bytes:
    """A picture of the same length with its header and noise behind it."""
    noise = np.random.default_rng(len(jpeg)).bytes(len(jpeg) - KEPT_BYTES)
    return jpeg[:KEPT_BYTES] + noise


def _reel(width: int, height: int) -> list[bytes]:
    scene = MovingScene(width, height)
    return [_jpeg_of(*scene.frame(2 * number)) for number in range(PICTURES)]


def _jpeg_of(frame: Frame, instances: Instances, masks: Sequence[NDArray[np.bool_]]) -> bytes:
    image_bgr = frame.image_bgr.copy()
    people = instances.class_ids == _PERSON
    marked_people.paint(image_bgr, [mask for mask, is_person in zip(masks, people, strict=True) if is_person])
    return cv2.imencode(".jpg", image_bgr)[1].tobytes()
