"""One connection to a camera or network stream. It ends when the device is lost; see reconnect.py."""

from __future__ import annotations

from fractions import Fraction

from pipeline.errors import InputError, RunError
from pipeline.records import Frame, SourceInfo
from pipeline.sources.base import Source
from pipeline.sources.pump import Device, Picture, Pump

TIME_BASE = Fraction(1, 1_000_000)
"""Live frames have timestamps in microseconds."""


class LiveSource(Source):
    """Reads a device through a pump. Frames carry the measured time since the first one, in microseconds.

    Args:
        device: what to read, not yet open; owned by this source.
        read_timeout_s: a wait for a frame that takes longer counts as a lost device, seconds.
        open_timeout_s: how long opening may take, seconds.
    """

    def __init__(self, device: Device, *, read_timeout_s: float, open_timeout_s: float) -> None:
        self.warnings = device.warnings
        self._device = device
        self._read_timeout_s = read_timeout_s
        self._open_timeout_s = open_timeout_s
        self._pump = Pump(device)
        self._timestamps = ArrivalTimestamps()
        self._index = 0

    def open(self) -> SourceInfo:
        self._pump.start()
        try:
            info = self._pump.get(self._open_timeout_s)
        except TimeoutError:
            self._pump.stop()
            raise InputError(f"{self._device.name} did not answer within {self._open_timeout_s:g} s") from None
        except (InputError, RunError) as error:
            self._pump.stop()
            raise InputError(str(error)) from None
        if info is None:
            raise InputError(f"{self._device.name}: interrupted while opening")
        assert isinstance(info, SourceInfo)
        return info

    def read(self) -> Frame | None:
        try:
            picture = self._pump.get(self._read_timeout_s)
        except TimeoutError:
            raise RunError(f"{self._device.name} delivered no frame for {self._read_timeout_s:g} s") from None
        if picture is None:
            return None
        assert isinstance(picture, Picture)
        pts = self._timestamps.next(picture.captured_at_s)
        frame = Frame(self._device.name, self._index, pts, TIME_BASE, picture.captured_at_s, picture.image_bgr)
        self._index += 1
        return frame

    def interrupt(self) -> None:
        self._pump.interrupt()

    def close(self) -> None:
        self._pump.stop()

    @property
    def stuck(self) -> bool:
        """Whether, after `close`, the driver still has not returned."""
        return self._pump.alive


class ArrivalTimestamps:
    """Turns arrival times into a pts: microseconds since the first, strictly increasing."""

    def __init__(self) -> None:
        self._first_s: float | None = None
        self._last = -1

    def next(self, captured_at_s: float) -> int:
        """The pts of a frame that arrived at this time, seconds on any monotonic clock."""
        if self._first_s is None:
            self._first_s = captured_at_s
        self._last = max(self._last + 1, round((captured_at_s - self._first_s) / TIME_BASE))
        return self._last
