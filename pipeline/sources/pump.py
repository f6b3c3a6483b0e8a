"""The thread that waits for a live device, so that nobody else has to.

A read from a camera or a network stream can block for as long as the driver or the server likes, and nothing can end
it from outside. So it happens in a daemon thread of its own; the pictures come through a slot, whose `get` has a
deadline and wakes at once when the slot closes. A thread that is stuck in a driver is left behind: it releases its
device by itself as soon as the driver returns.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from dataclasses import dataclass
from fractions import Fraction

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.errors import RunError, StreamSegmentError
from pipeline.sources.uri import mask_credentials
from pipeline.threads.slot import Overflow, Slot, SlotClosed

HANDOVER_CAPACITY = 2
"""Pictures between the pump and the reader. The reader of a live source never dawdles; what waits here is old."""

JOIN_TIMEOUT_S = 0.5
"""How long `stop` waits for the thread before it leaves it behind."""


@dataclass(frozen=True, slots=True)
class DeviceInfo:
    """What an open device gives.

    Attributes:
        width, height: size of its pictures in pixels.
        fps: nominal frame rate; None if it does not say.
        description: one line for the user.
        sample_aspect_ratio: width / height of one pixel.
    """

    width: int
    height: int
    fps: float | None
    description: str
    sample_aspect_ratio: Fraction = Fraction(1)


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """One picture and when it came.

    Attributes:
        image_bgr: uint8 (H, W, 3).
        captured_at_s: seconds on the run's clock.
    """

    image_bgr: NDArray[np.uint8]
    captured_at_s: float


class DeviceEndedError(Exception):
    """The device has given everything there was (a clip behind a web address): the end, not a loss."""


class Device(ABC):
    """A camera or network stream. All methods are called in the pump's thread and may block; `abort` in any."""

    name: str

    @abstractmethod
    def open(self) -> DeviceInfo:
        """Acquire it and make sure that it gives pictures. Raises InputError."""

    @abstractmethod
    def grab(self) -> Picture:
        """The next picture. Raises RunError when the device is lost, DeviceEndedError at its end."""

    @abstractmethod
    def close(self) -> None:
        """Release it. May be called without `open`."""

    def abort(self) -> None:  # noqa: B027 - most devices cannot
        """Make a blocked call return sooner, if there is a way. Any thread."""


@dataclass(frozen=True, slots=True)
class _Failed:
    error: StreamSegmentError | DeviceEndedError


class Pump:
    """Opens a device and pumps its pictures into a slot, in a daemon thread.

    Args:
        device: what to read; it belongs to the pump's thread from `start` on.
    """

    def __init__(self, device: Device) -> None:
        self._device = device
        self._slot: Slot[DeviceInfo | Picture | _Failed] = Slot(HANDOVER_CAPACITY, Overflow.WAIT)
        self._thread = threading.Thread(target=self._run, name=f"pump {device.name}", daemon=True)
        self._started = False

    def start(self) -> None:
        """Begin to open the device; the first `get` gives its DeviceInfo."""
        self._started = True
        self._thread.start()

    def get(self, timeout_s: float) -> DeviceInfo | Picture | None:
        """What comes next: the DeviceInfo first, then pictures; None once stopped.

        Raises:
            TimeoutError: nothing came in time.
            StreamSegmentError: the device could not be opened or was lost.
            DeviceEndedError: it is at its end.
        """
        try:
            item = self._slot.get(timeout_s)
        except SlotClosed:
            return None
        if isinstance(item, _Failed):
            raise item.error
        return item

    def interrupt(self) -> None:
        """Let every `get` return None from now on. Any thread."""
        self._slot.close(discard=True)
        self._device.abort()

    def stop(self) -> None:
        """Interrupt and wait a moment for the thread; one that is stuck in the driver is left behind."""
        self.interrupt()
        if self._started:
            self._thread.join(JOIN_TIMEOUT_S)

    @property
    def alive(self) -> bool:
        """True while the thread runs; after `stop`, while it is stuck."""
        return self._thread.is_alive()

    def _run(self) -> None:
        try:
            try:
                self._slot.put(self._device.open())
                while True:
                    self._slot.put(self._device.grab())
            finally:
                self._device.close()
        except SlotClosed:
            pass
        except (StreamSegmentError, DeviceEndedError) as error:
            self._report(error)
        except (OSError, ValueError, RuntimeError, MemoryError, cv2.error) as error:
            self._report(RunError(f"{self._device.name}: {mask_credentials(str(error))}"))

    def _report(self, error: StreamSegmentError | DeviceEndedError) -> None:
        try:
            self._slot.put(_Failed(error))
            self._slot.close()
        except SlotClosed:
            pass
