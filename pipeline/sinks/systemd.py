"""Notifies the service manager that the run is alive, through systemd's sd_notify protocol."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable, Mapping
from functools import partial

from pipeline.sinks.base import Delivery, Presentation, RunContext, Sink

log = logging.getLogger(__name__)

MAX_INTERVAL_S = 10.0
_WATCHDOG_SHARE = 0.4
"""Interval between two notifications, as a share of the service's watchdog timeout."""


class SystemdNotifier(Sink):
    """Sends READY, watchdog notifications with a status from the presenting thread, and STOPPING.

    They continue while a camera is disconnected, which is no reason to restart the program: they stop only when the
    main thread hangs.

    Args:
        send: sends one message of the protocol.
        every_s: interval between two notifications.
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
        """Does nothing: READY is sent with the first `write` or `idle`."""

    def write(self, presentation: Presentation) -> None:
        """Send a watchdog notification if one is due."""
        self._notify("running")

    def idle(self, message: str) -> None:
        """Send a watchdog notification if one is due, with `message` as the status."""
        self._notify(message or "waiting for frames")

    def close(self) -> None:
        """Send STOPPING."""
        if self._next_s is not None:
            self._next_s = None
            self._send("STOPPING=1")

    def _notify(self, status: str) -> None:
        now_s = self._clock()
        if self._next_s is None:
            self._send("READY=1")
        elif now_s < self._next_s:
            return
        self._next_s = now_s + self._every_s
        change = "" if status == self._status else f"STATUS={status}\n"
        self._status = status
        self._send(f"{change}WATCHDOG=1")


def make_systemd_notifier(environment: Mapping[str, str] = os.environ) -> SystemdNotifier | None:
    """The sink for the service manager that started this process; None without one, or if it expects no messages."""
    address = environment.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")) or not hasattr(socket, "AF_UNIX"):
        return None
    timeout_s = float(environment.get("WATCHDOG_USEC", "0") or 0) / 1e6
    every_s = min(MAX_INTERVAL_S, _WATCHDOG_SHARE * timeout_s) if timeout_s else MAX_INTERVAL_S
    target = "\0" + address[1:] if address.startswith("@") else address
    return SystemdNotifier(partial(_send, target), every_s)


def _send(target: str, message: str) -> None:
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify_socket:
            notify_socket.setblocking(False)
            notify_socket.sendto(message.encode(errors="backslashreplace"), target)
    except OSError as error:
        log.debug("notifying the service manager of %r: %s", message, error)
