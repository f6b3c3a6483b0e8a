"""Tells the system's service manager that the run is alive (systemd's notification protocol)."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable, Mapping

from pipeline.sinks.base import Delivery, Presentation, RunContext, Sink

log = logging.getLogger(__name__)

LONGEST_PAUSE_S = 10.0
_SAFETY = 0.4
"""Share of the time that the manager allows between two signs of life."""


class Supervisor(Sink):
    """Sends READY, signs of life from the thread that shows the frames, what is waited for, and STOPPING.

    A camera that is away is no reason to start the program anew, and so no reason to stay silent: only a run whose
    main thread hangs is silent.

    Args:
        send: takes one message of the protocol.
        every_s: pause between two signs of life.
        clock: seconds, monotonic.
    """

    name = "service manager"
    delivery = Delivery.MAIN_THREAD
    wants_overlay = False

    def __init__(
        self, send: Callable[[str], None], every_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._send = send
        self._every_s = every_s
        self._clock = clock
        self._next_s: float | None = None
        self._status: str | None = None

    def open(self, context: RunContext) -> None:
        """Nothing yet: the run is ready when its first turn comes."""

    def write(self, presentation: Presentation) -> None:
        """A sign of life."""
        self._alive("running")

    def idle(self, message: str) -> None:
        """A sign of life, and what is waited for."""
        self._alive(message or "waiting for frames")

    def close(self) -> None:
        """Say that the run ends."""
        if self._next_s is not None:
            self._next_s = None
            self._send("STOPPING=1")

    def _alive(self, status: str) -> None:
        now_s = self._clock()
        if self._next_s is None:
            self._send("READY=1")
        elif now_s < self._next_s:
            return
        self._next_s = now_s + self._every_s
        told = "" if status == self._status else f"STATUS={status}\n"
        self._status = status
        self._send(f"{told}WATCHDOG=1")


def make_supervisor(environment: Mapping[str, str] = os.environ) -> Supervisor | None:
    """The sink for the service manager that started this process; None if none did, or it does not want to be told."""
    address = environment.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")) or not hasattr(socket, "AF_UNIX"):
        return None
    allowed_s = float(environment.get("WATCHDOG_USEC", "0") or 0) / 1e6
    return Supervisor(_sender(address), min(LONGEST_PAUSE_S, _SAFETY * allowed_s) if allowed_s else LONGEST_PAUSE_S)


def _sender(address: str) -> Callable[[str], None]:
    where = "\0" + address[1:] if address.startswith("@") else address

    def send(message: str) -> None:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
                one.setblocking(False)
                one.sendto(message.encode(errors="backslashreplace"), where)
        except OSError as error:
            log.debug("telling the service manager %r: %s", message, error)

    return send
