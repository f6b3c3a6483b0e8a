"""One connection to a camera or network stream. It ends when the device is lost; see reconnect.py.

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
from fractions import Fraction
from functools import cached_property

from pipeline.errors import InputError, RunError, StreamSegmentError
from pipeline.records import Frame, Image, SourceInfo
from pipeline.safe_uri import mask_uris
from pipeline.sources.base import Source, SourceWarnings
from pipeline.sources.timing import PtsClock
from pipeline.threads.slot import Overflow, Slot, SlotClosed

TIME_BASE = Fraction(1, 1_000_000)
"""Live frames have timestamps in microseconds."""

HANDOVER_CAPACITY = 2
"""Pictures buffered between the device's thread and the reader, which reads continuously; more would only add
latency."""

JOIN_TIMEOUT_S = 0.5
"""How long `close` waits for the device's thread before abandoning it."""


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """One picture and its time of arrival.

    Attributes:
        image_bgr: uint8 (H, W, 3).
        captured_at_s: seconds on the run's clock.
    """

    image_bgr: Image
    captured_at_s: float


class Device(ABC):
    """A camera or network stream. All methods run in the device's thread and may block, except `abort`."""

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


class LiveSource(Source):
    """Reads a device in a thread. Frames carry the measured time since the first one, in microseconds.

    Args:
        device: what to read, not yet open; used only by the source's thread once the source is opened.
        read_timeout_s: a wait for a frame that takes longer counts as a lost device, seconds.
        open_timeout_s: how long opening may take, seconds.
    """

    def __init__(self, device: Device, *, read_timeout_s: float, open_timeout_s: float) -> None:
        self.warnings = device.warnings
        self._device = device
        self._read_timeout_s = read_timeout_s
        self._open_timeout_s = open_timeout_s
        self._slot: Slot[SourceInfo | Picture | StreamSegmentError | None] = Slot(HANDOVER_CAPACITY, Overflow.WAIT)
        self._thread = threading.Thread(target=self._pump, name=f"pump {device.name}", daemon=True)
        self._timestamps = PtsClock(None, TIME_BASE, step=1)
        self._index = 0

    def open(self) -> SourceInfo:
        self._thread.start()
        try:
            info = self._next(self._open_timeout_s)
        except TimeoutError:
            self.close()
            raise InputError(f"{self._device.name} did not answer within {self._open_timeout_s:g} s") from None
        except StreamSegmentError as error:
            self.close()
            raise InputError(str(error)) from None
        if info is None:
            raise InputError(f"{self._device.name}: interrupted while opening")
        assert isinstance(info, SourceInfo)
        return info

    def read(self) -> Frame | None:
        try:
            picture = self._next(self._read_timeout_s)
        except TimeoutError:
            raise RunError(f"{self._device.name} delivered no frame for {self._read_timeout_s:g} s") from None
        if picture is None:
            return None
        assert isinstance(picture, Picture)
        pts = self._timestamps.next(round(picture.captured_at_s / TIME_BASE))
        frame = Frame(self._device.name, self._index, pts, TIME_BASE, picture.captured_at_s, picture.image_bgr)
        self._index += 1
        return frame

    def interrupt(self) -> None:
        self._slot.close(discard=True)
        self._device.abort()

    def close(self) -> None:
        self.interrupt()
        if self._thread.ident is not None:  # started
            self._thread.join(JOIN_TIMEOUT_S)

    @property
    def stuck(self) -> bool:
        """Whether, after `close`, the driver still has not returned."""
        return self._thread.is_alive()

    def _next(self, timeout_s: float) -> SourceInfo | Picture | None:
        """The SourceInfo first, then pictures; None at the end or once interrupted.

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

    def _pump(self) -> None:
        """The device's thread: puts its SourceInfo and pictures into the slot, then the error that ends it, or None."""
        end: StreamSegmentError | None = None
        try:
            try:
                self._slot.put(self._device.open())
                while (picture := self._device.grab()) is not None:
                    self._slot.put(picture)
            finally:
                self._device.close()
        except SlotClosed:
            return
        except StreamSegmentError as error:
            end = error
        except BaseException as error:  # noqa: BLE001 - in this thread it would reach nobody, and the reader would wait
            end = RunError(f"{self._device.name}: {mask_uris(str(error)) or type(error).__name__}")
        with contextlib.suppress(SlotClosed):
            self._slot.put(end)
            self._slot.close()
