"""Reads a live device in a thread of its own, so that a blocked driver blocks nothing else.

A read from a camera or a network stream can block for as long as the driver or the server likes, and cannot be
canceled. It runs in a daemon thread, which passes pictures on through a slot, whose `get` has a timeout and returns at
once when the slot closes. A thread that is stuck in a driver is abandoned: it releases its device as soon as the driver
returns.
"""

from __future__ import annotations

import contextlib
import threading
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import RunError, StreamSegmentError
from pipeline.records import SourceInfo
from pipeline.safe_uri import mask_uris
from pipeline.sources.warnings import SourceWarnings
from pipeline.threads.slot import Overflow, Slot, SlotClosed

HANDOVER_CAPACITY = 2
"""Pictures buffered between the pump and the reader, which reads continuously; more would only add latency."""

JOIN_TIMEOUT_S = 0.5
"""How long `stop` waits for the thread before abandoning it."""


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """One picture and its time of arrival.

    Attributes:
        image_bgr: uint8 (H, W, 3).
        captured_at_s: seconds on the run's clock.
    """

    image_bgr: NDArray[np.uint8]
    captured_at_s: float


class Device(ABC):
    """A camera or network stream. All methods run in the pump's thread and may block, except `abort`."""

    name: str

    @cached_property
    def warnings(self) -> SourceWarnings:
        """Problems with the data, for the source that reads this device."""
        return SourceWarnings()

    @abstractmethod
    def open(self) -> SourceInfo:
        """Acquire the device and check that it delivers pictures. Raises InputError."""

    @abstractmethod
    def grab(self) -> Picture | None:
        """Wait for the next picture. Returns None at the end of a clip. Raises RunError if the device is lost."""

    @abstractmethod
    def close(self) -> None:
        """Release the device. May be called without `open`."""

    def abort(self) -> None:  # noqa: B027 - most devices cannot
        """Make a blocked call return sooner, if the device supports it. May be called from any thread."""


class Pump:
    """Opens a device and pumps its pictures into a slot, in a daemon thread.

    Args:
        device: what to read; used only by the pump's thread from `start` on.
    """

    def __init__(self, device: Device) -> None:
        self._device = device
        self._slot: Slot[SourceInfo | Picture | StreamSegmentError] = Slot(HANDOVER_CAPACITY, Overflow.WAIT)
        self._thread = threading.Thread(target=self._run, name=f"pump {device.name}", daemon=True)

    def start(self) -> None:
        """Start opening the device; the first `get` returns its SourceInfo."""
        self._thread.start()

    def get(self, timeout_s: float) -> SourceInfo | Picture | None:
        """Wait for the next item: the SourceInfo first, then pictures; None at the end or once stopped.

        Raises:
            TimeoutError: nothing arrived in time.
            StreamSegmentError: the device could not be opened or was lost.
        """
        try:
            item = self._slot.get(timeout_s)
        except SlotClosed:
            return None
        if isinstance(item, StreamSegmentError):
            raise item
        return item

    def interrupt(self) -> None:
        """Make a pending and every later `get` return None. May be called from any thread."""
        self._slot.close(discard=True)
        self._device.abort()

    def stop(self) -> None:
        """Interrupt and wait up to JOIN_TIMEOUT_S for the thread; one that is stuck in the driver is abandoned."""
        self.interrupt()
        if self._thread.ident is not None:  # started
            self._thread.join(JOIN_TIMEOUT_S)

    @property
    def alive(self) -> bool:
        """Whether the thread runs; after `stop`, whether it is stuck."""
        return self._thread.is_alive()

    def _run(self) -> None:
        try:
            try:
                self._slot.put(self._device.open())
                while (picture := self._device.grab()) is not None:
                    self._slot.put(picture)
            finally:
                self._device.close()
            self._slot.close()
        except SlotClosed:
            pass
        except StreamSegmentError as error:
            self._report(error)
        except BaseException as error:  # noqa: BLE001 - in this thread it would reach nobody, and the reader would wait
            text = mask_uris(str(error)) or type(error).__name__
            self._report(RunError(f"{self._device.name}: {text}"))

    def _report(self, error: StreamSegmentError) -> None:
        with contextlib.suppress(SlotClosed):
            self._slot.put(error)
            self._slot.close()
