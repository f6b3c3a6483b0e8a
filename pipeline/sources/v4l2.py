"""Lists what a V4L2 camera offers (Linux), through ioctls that start no stream and also work while it is in use.

The layouts are those of linux/videodev2.h.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

Ioctl = Callable[[int, int, bytearray], object]
"""`fcntl.ioctl` with a buffer that it changes."""

_CAPABILITY = struct.Struct("=16s32s32s3I12x")
"""driver, card, bus, version, capabilities of the whole camera, capabilities of this device file."""
_FORMAT = struct.Struct("=3I32s2I12x")
"""index, kind of buffer, flags, description, pixel format, media bus code."""
_SIZE = struct.Struct("=3I6I8x")
"""index, pixel format, kind, then width and height, or their least, largest and step each."""
_INTERVAL = struct.Struct("=5I6I8x")
"""index, pixel format, width, height, kind, then the interval as a fraction, or the shortest, longest and step."""

_READ, _READ_WRITE = 2, 3


def _request(number: int, layout: struct.Struct, direction: int = _READ_WRITE) -> int:
    """The _IOR or _IOWR of videodev2.h."""
    return direction << 30 | layout.size << 16 | ord("V") << 8 | number


_QUERY_CAPABILITY = _request(0, _CAPABILITY, _READ)
_ENUM_FORMATS = _request(2, _FORMAT)
_ENUM_SIZES = _request(74, _SIZE)
_ENUM_INTERVALS = _request(75, _INTERVAL)

_CAPTURES = 0x1
_CAPTURES_PLANES = 0x1000
_HAS_DEVICE_CAPABILITIES = 0x80000000
_BUFFER_KINDS = {_CAPTURES: 1, _CAPTURES_PLANES: 9}
_DISCRETE = 1

MOST_ENTRIES = 256
"""Of a list of formats, sizes or rates: a driver that never ends its list is cut here."""


@dataclass(frozen=True, slots=True)
class CameraMode:
    """A picture size that a camera offers.

    Attributes:
        pixels: the four-character code of its pixel format, such as "MJPG" or "YUYV"; "" if unknown.
        width, height: pixels; of a camera that scales continuously, the largest.
        rates: frames per second, fastest first; empty if the camera does not list them.
    """

    pixels: str
    width: int
    height: int
    rates: tuple[float, ...]


def camera_modes(path: Path, ioctl: Ioctl | None = None) -> tuple[str, tuple[CameraMode, ...]] | None:
    """The name and the modes of a device file; None for one that captures no pictures, such as metadata or an output.

    Raises:
        OSError: it cannot be opened, or is no V4L2 device.
    """
    import fcntl  # there is none on Windows

    file = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    try:
        return _Enumeration(file, ioctl or fcntl.ioctl).all()
    finally:
        os.close(file)


@dataclass(frozen=True, slots=True)
class _Enumeration:
    file: int
    ioctl: Ioctl

    def all(self) -> tuple[str, tuple[CameraMode, ...]] | None:
        buffer = bytearray(_CAPABILITY.size)
        self.ioctl(self.file, _QUERY_CAPABILITY, buffer)
        _, card, _, _, capabilities, own = _CAPABILITY.unpack(buffer)
        captured = own if capabilities & _HAS_DEVICE_CAPABILITIES else capabilities
        kind = next((kind for flag, kind in _BUFFER_KINDS.items() if captured & flag), None)
        if kind is None:
            return None
        return _text(card), tuple(mode for pixels in self._formats(kind) for mode in self._modes(pixels))

    def _formats(self, kind: int) -> Iterator[int]:
        for found in self._entries(_ENUM_FORMATS, _FORMAT, kind):
            yield found[4]

    def _modes(self, pixels: int) -> Iterator[CameraMode]:
        code = _text((pixels & 0x7FFFFFFF).to_bytes(4, "little"))  # the highest bit marks big-endian formats
        for _, _, kind, *sides in self._entries(_ENUM_SIZES, _SIZE, pixels):
            width, height = (sides[0], sides[1]) if kind == _DISCRETE else (sides[1], sides[4])
            yield CameraMode(code, width, height, self._rates(pixels, width, height))
            if kind != _DISCRETE:
                return

    def _rates(self, pixels: int, width: int, height: int) -> tuple[float, ...]:
        rates = set()
        for *_, kind, numerator, denominator, _, _, _, _ in self._entries(
            _ENUM_INTERVALS, _INTERVAL, pixels, width, height
        ):
            if numerator:
                rates.add(round(denominator / numerator, 2))
            if kind != _DISCRETE:
                break
        return tuple(sorted(rates, reverse=True))

    def _entries(self, request: int, layout: struct.Struct, *asked: int) -> Iterator[tuple[int, ...]]:
        """The entries of one of the driver's lists, which ends with EINVAL; none if the driver has no such list."""
        for index in range(MOST_ENTRIES):
            buffer = bytearray(layout.size)
            struct.pack_into(f"={1 + len(asked)}I", buffer, 0, index, *asked)
            try:
                self.ioctl(self.file, request, buffer)
            except OSError as error:
                if error.errno in (errno.EINVAL, errno.ENOTTY):
                    return
                raise
            yield layout.unpack(buffer)


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "replace").strip()
