"""Cameras and network streams: one connection, which ends when the device is lost, and reconnecting.

A read from a camera or a network stream can block for as long as the driver or the server likes, and cannot be
canceled. It runs in a daemon thread, which passes pictures on through a slot, whose `get` has a timeout and returns at
once when the slot closes. A thread that is stuck in a driver is abandoned: it releases its device as soon as the driver
returns.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property

from pipeline.errors import InputError, RunError, StreamSegmentError
from pipeline.records import Clock, Frame, Image, SourceInfo
from pipeline.safe_uri import mask_uris
from pipeline.settings.source_settings import ReconnectSettings
from pipeline.sources.base import Pacer, PtsClock, Source, SourceState, SourceWarnings
from pipeline.threads.stage import Overflow, Slot, SlotClosed
from pipeline.throttled_log import ThrottledLog

log = logging.getLogger(__name__)

TIME_BASE = Fraction(1, 1_000_000)
"""Live frames have timestamps in microseconds."""

HANDOVER_CAPACITY = 2
"""Pictures buffered between the device's thread and the reader, which reads continuously; more would only add
latency."""

JOIN_TIMEOUT_S = 0.5
"""How long `close` waits for the device's thread before abandoning it."""

MAX_STUCK = 2
"""How many connections may hang in a driver; with so many, one has to end before another is tried."""


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
        self.device = device
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
            raise InputError(f"{self.device.name} did not answer within {self._open_timeout_s:g} s") from None
        except StreamSegmentError as error:
            self.close()
            raise InputError(str(error)) from None
        if info is None:
            raise InputError(f"{self.device.name}: interrupted while opening")
        assert isinstance(info, SourceInfo)
        return info

    def read(self) -> Frame | None:
        try:
            picture = self._next(self._read_timeout_s)
        except TimeoutError:
            raise RunError(f"{self.device.name} delivered no frame for {self._read_timeout_s:g} s") from None
        if picture is None:
            return None
        assert isinstance(picture, Picture)
        pts = self._timestamps.next(round(picture.captured_at_s / TIME_BASE))
        frame = Frame(self.device.name, self._index, pts, TIME_BASE, picture.captured_at_s, picture.image_bgr)
        self._index += 1
        return frame

    def interrupt(self) -> None:
        self._slot.close(discard=True)
        self.device.abort()

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
                self._slot.put(self.device.open())
                while (picture := self.device.grab()) is not None:
                    self._slot.put(picture)
            finally:
                self.device.close()
        except SlotClosed:
            return
        except StreamSegmentError as error:
            end = error
        except BaseException as error:  # noqa: BLE001 - in this thread it would reach nobody, and the reader would wait
            end = RunError(f"{self.device.name}: {mask_uris(str(error)) or type(error).__name__}")
        with contextlib.suppress(SlotClosed):
            self._slot.put(end)
            self._slot.close()


class ReconnectingSource(Source):
    """Makes and opens live sources, the next one whenever one is lost.

    If the first `open` fails, that is an error, unless `settings.at_start` allows the source to appear later. After
    that, a read that fails or times out closes the connection, and the next one is tried after `first_delay_s`; each
    further failure doubles the delay, up to `longest_delay_s`, and a frame resets it. Indices and timestamps continue
    across connections, with the measured gap between the timestamps. A source that ends regularly ends this one too.

    Args:
        make: returns a new, unopened source whose frames carry `captured_at_s`.
        settings: the delays.
        clock: seconds, monotonic.
        pacer: does the waiting; for tests.
        expected: stands for the source until it appears; required for `settings.at_start`.
    """

    def __init__(
        self,
        make: Callable[[], LiveSource],
        settings: ReconnectSettings,
        clock: Clock = time.monotonic,
        pacer: Pacer | None = None,
        expected: SourceInfo | None = None,
    ) -> None:
        self.state, self.warnings = SourceState(), SourceWarnings()  # here, since several threads ask for them
        self._make = make
        self._settings = settings
        self._clock = clock
        self._pacer = pacer or Pacer(clock)
        self._lock = threading.Lock()
        self._source: LiveSource | None = None
        self._opened = False
        self._name = ""
        self._delay_s = settings.first_delay_s
        self._timestamps = PtsClock(None, TIME_BASE, step=1)
        self._index = 0
        self._stuck: list[LiveSource] = []
        self._expected = expected if settings.at_start else None
        self._was_connected = True
        self._logged = ""
        self._log = ThrottledLog(log, clock)

    def open(self) -> SourceInfo:
        try:
            info = self._connect()
        except (InputError, RunError) as error:
            if self._expected is None:
                raise
            info = self._expected
            self._was_connected = False
            self._lose(str(error), f"{info.source_id} is not connected yet, retrying …")
        self._name = info.source_id
        self._opened = True
        self._info = replace(info, time_base=TIME_BASE)
        return self._info

    def read(self) -> Frame | None:
        while self._opened and not self._pacer.interrupted:
            self._log.summarize()
            if self.state.text and not self._reconnect():
                continue
            assert self._source is not None
            try:
                frame = self._source.read()
            except RunError as error:
                self._lose(str(error), f"{self._name} is disconnected, retrying …")
                continue
            return None if frame is None else self._renumber(frame)
        return None

    def close(self) -> None:
        self._opened = False
        self.state.text = ""
        self._log.summarize(at_end=True)
        self._drop()

    def interrupt(self) -> None:
        self._pacer.interrupt()
        with self._lock:
            source = self._source
        if source is not None:
            source.interrupt()

    def _connect(self) -> SourceInfo:
        source = self._make()
        source.device.warnings = self.warnings  # those of all connections
        with self._lock:
            self._source = source
        # An `interrupt` that came a moment earlier has not reached this source.
        if self._pacer.interrupted:
            source.interrupt()
        return source.open()

    def _drop(self) -> None:
        with self._lock:
            source, self._source = self._source, None
        if source is not None:
            source.close()
            self._stuck.append(source)

    def _lose(self, reason: str, state_text: str) -> None:
        self.state.text, self._logged = state_text, reason
        if not self._pacer.interrupted:
            self._log.write(logging.WARNING, f"{reason}; retrying")
        self._drop()

    def _reconnect(self) -> bool:
        if not self._pacer.until(self._clock() + self._delay_s):
            return False
        self._delay_s = min(2 * self._delay_s, self._settings.longest_delay_s)
        self._stuck = [source for source in self._stuck if source.stuck]
        if len(self._stuck) >= MAX_STUCK:
            return False
        try:
            self._info = self.state.reopened_as = replace(self._connect(), time_base=TIME_BASE)
        except (InputError, RunError) as error:
            # Each reason once: a camera that is off for a weekend fills the log otherwise.
            if str(error) != self._logged and not self._pacer.interrupted:
                self._logged = str(error)
                self._log.write(logging.INFO, str(error))
            self._drop()
            return False
        self._log.write(logging.INFO, f"{self._name} is connected{' again' if self._was_connected else ''}")
        self.state.reconnects += self._was_connected
        self._was_connected = True
        self.state.text = ""
        return True

    def _renumber(self, frame: Frame) -> Frame:
        self._delay_s = self._settings.first_delay_s
        if (frame.width, frame.height) != (self._info.width, self._info.height):  # it changed within a connection
            self._info = self.state.reopened_as = replace(self._info, width=frame.width, height=frame.height)
        pts = self._timestamps.next(round(frame.captured_at_s / TIME_BASE))
        renumbered = replace(frame, index=self._index, pts=pts, time_base=TIME_BASE)
        self._index += 1
        return renumbered
