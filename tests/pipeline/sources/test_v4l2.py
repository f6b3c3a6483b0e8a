"""The modes of a camera, from a driver that fills the structures of linux/videodev2.h, declared here with ctypes."""

from __future__ import annotations

import ctypes
import errno
import sys
from collections.abc import Callable, Mapping
from ctypes import Structure, Union, c_char, c_uint32
from pathlib import Path

import pytest

from pipeline.sources.v4l2 import MOST_ENTRIES, CameraMode, camera_modes

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="V4L2 is Linux's")

QUERYCAP, ENUM_FMT, ENUM_FRAMESIZES, ENUM_FRAMEINTERVALS = 0x80685600, 0xC0405602, 0xC02C564A, 0xC034564B
"""As a C compiler prints them (x86_64)."""
CAPTURE, OUTPUT, CAPTURE_PLANES, METADATA, DEVICE_CAPS = 0x1, 0x2, 0x1000, 0x800000, 0x80000000
BIG_ENDIAN = 1 << 31


class Capability(Structure):
    _fields_ = (
        ("driver", c_char * 16),
        ("card", c_char * 32),
        ("bus_info", c_char * 32),
        ("version", c_uint32),
        ("capabilities", c_uint32),
        ("device_caps", c_uint32),
        ("reserved", c_uint32 * 3),
    )


class FormatDescription(Structure):
    _fields_ = (
        ("index", c_uint32),
        ("type", c_uint32),
        ("flags", c_uint32),
        ("description", c_char * 32),
        ("pixelformat", c_uint32),
        ("mbus_code", c_uint32),
        ("reserved", c_uint32 * 3),
    )


class Discrete(Structure):
    _fields_ = (("width", c_uint32), ("height", c_uint32))


class Stepwise(Structure):
    _fields_ = tuple((f"{which}_{side}", c_uint32) for side in ("width", "height") for which in ("min", "max", "step"))


class Size(Union):
    _fields_ = (("discrete", Discrete), ("stepwise", Stepwise))


class FrameSize(Structure):
    _fields_ = (
        ("index", c_uint32),
        ("pixel_format", c_uint32),
        ("type", c_uint32),
        ("size", Size),
        ("reserved", c_uint32 * 2),
    )


class Fraction(Structure):
    _fields_ = (("numerator", c_uint32), ("denominator", c_uint32))


class Intervals(Structure):
    _fields_ = (("min", Fraction), ("max", Fraction), ("step", Fraction))


class Interval(Union):
    _fields_ = (("discrete", Fraction), ("stepwise", Intervals))


class FrameInterval(Structure):
    _fields_ = (
        ("index", c_uint32),
        ("pixel_format", c_uint32),
        ("width", c_uint32),
        ("height", c_uint32),
        ("type", c_uint32),
        ("interval", Interval),
        ("reserved", c_uint32 * 2),
    )


def fourcc(code: str) -> int:
    return sum(ord(letter) << 8 * index for index, letter in enumerate(code))


Modes = Mapping[str, Mapping[tuple[int, int], list[tuple[int, int]]]]
"""Intervals (numerator, denominator) in seconds by pixel format and size."""


class Driver:
    """Answers as a driver with these modes; `ioctl` takes the place of `fcntl.ioctl`."""

    def __init__(self, modes: Modes, own: int = CAPTURE, whole: int = CAPTURE | DEVICE_CAPS, kind: int = 1) -> None:
        self.modes, self.own, self.whole, self.kind = modes, own, whole, kind

    def ioctl(self, file: int, request: int, buffer: bytearray) -> int:
        answers: dict[int, Callable[[bytearray], object]] = {
            QUERYCAP: self.capability,
            ENUM_FMT: self.format,
            ENUM_FRAMESIZES: self.size,
            ENUM_FRAMEINTERVALS: self.interval,
        }
        assert len(buffer) == request >> 16 & 0x3FFF  # the size that is part of the number
        answers[request](buffer)
        return 0

    def capability(self, buffer: bytearray) -> None:
        found = Capability.from_buffer(buffer)
        found.card, found.capabilities, found.device_caps = "Kamera für alle".encode(), self.whole, self.own

    def format(self, buffer: bytearray) -> None:
        found = FormatDescription.from_buffer(buffer)
        assert found.type == self.kind
        found.description = b"whatever"
        found.pixelformat = fourcc(self.entry(list(self.modes), found.index))

    def size(self, buffer: bytearray) -> None:
        found = FrameSize.from_buffer(buffer)
        found.type = 1
        sizes = self.of(found.pixel_format)
        found.size.discrete.width, found.size.discrete.height = self.entry(list(sizes), found.index)

    def interval(self, buffer: bytearray) -> None:
        found = FrameInterval.from_buffer(buffer)
        found.type = 1
        intervals = self.of(found.pixel_format)[found.width, found.height]
        discrete = found.interval.discrete
        discrete.numerator, discrete.denominator = self.entry(intervals, found.index)

    def of(self, pixels: int) -> Mapping[tuple[int, int], list[tuple[int, int]]]:
        return next(sizes for code, sizes in self.modes.items() if fourcc(code) == pixels)

    @staticmethod
    def entry(entries: list, index: int):
        if index >= len(entries):
            raise OSError(errno.EINVAL, "Invalid argument")
        return entries[index]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "video0"
    path.touch()
    return path


def test_all_formats_sizes_and_rates(file):
    modes = {"MJPG": {(1920, 1080): [(1, 30), (1, 15)], (640, 480): [(1001, 60000)]}, "YUYV": {(640, 360): [(1, 30)]}}
    assert camera_modes(file, Driver(modes).ioctl) == (
        "Kamera für alle",
        (
            CameraMode("MJPG", 1920, 1080, (30.0, 15.0)),
            CameraMode("MJPG", 640, 480, (59.94,)),
            CameraMode("YUYV", 640, 360, (30.0,)),
        ),
    )


def test_a_camera_of_several_planes_and_one_without_capabilities_of_its_own(file):
    modes = {"NM12": {(64, 48): [(1, 5)]}}
    planes = Driver(modes, own=CAPTURE_PLANES, whole=CAPTURE_PLANES | METADATA | DEVICE_CAPS, kind=9)
    assert camera_modes(file, planes.ioctl)[1] == (CameraMode("NM12", 64, 48, (5.0,)),)
    old = Driver(modes, own=0, whole=CAPTURE)
    assert camera_modes(file, old.ioctl)[1] == (CameraMode("NM12", 64, 48, (5.0,)),)


@pytest.mark.parametrize("own", [METADATA, OUTPUT])
def test_a_device_that_captures_no_pictures_is_no_camera(file, own):
    assert camera_modes(file, Driver({}, own=own).ioctl) is None


def test_a_camera_that_scales_continuously_has_its_largest_size_and_fastest_rate(file):
    class Scaling(Driver):
        def size(self, buffer):
            found = FrameSize.from_buffer(buffer)
            found.type = 3
            side = found.size.stepwise
            side.min_width, side.max_width, side.step_width = 32, 2592, 2
            side.min_height, side.max_height, side.step_height = 16, 1944, 4

        def interval(self, buffer):
            found = FrameInterval.from_buffer(buffer)
            assert (found.width, found.height) == (2592, 1944)
            found.type = 2
            steps = found.interval.stepwise
            steps.min.numerator, steps.min.denominator = 1, 90
            steps.max.numerator, steps.max.denominator = 1, 1

    assert camera_modes(file, Scaling({"RGB3": {}}).ioctl)[1] == (CameraMode("RGB3", 2592, 1944, (90.0,)),)


def test_a_camera_without_lists(file):
    class Silent(Driver):
        def size(self, buffer):
            raise OSError(errno.ENOTTY, "Inappropriate ioctl for device")

    assert camera_modes(file, Silent({"YUYV": {}}).ioctl) == ("Kamera für alle", ())

    class NoRates(Driver):
        def interval(self, buffer):
            raise OSError(errno.EINVAL, "Invalid argument")

    assert camera_modes(file, NoRates({"YUYV": {(8, 4): []}}).ioctl)[1] == (CameraMode("YUYV", 8, 4, ()),)


def test_a_list_without_an_end_is_cut(file):
    class Endless(Driver):
        def interval(self, buffer):
            found = FrameInterval.from_buffer(buffer)
            found.type, found.interval.discrete.numerator = 1, 1
            found.interval.discrete.denominator = found.index + 1

    [mode] = camera_modes(file, Endless({"YUYV": {(8, 4): []}}).ioctl)[1]
    assert mode.rates == tuple(float(rate) for rate in range(MOST_ENTRIES, 0, -1))


def test_big_endian_formats_have_the_same_code(file):
    class BigEndian(Driver):
        def format(self, buffer):
            super().format(buffer)
            FormatDescription.from_buffer(buffer).pixelformat |= BIG_ENDIAN

        def of(self, pixels):
            return super().of(pixels & ~BIG_ENDIAN)

    assert camera_modes(file, BigEndian({"Y16 ": {(8, 4): [(1, 9)]}}).ioctl)[1] == (CameraMode("Y16", 8, 4, (9.0,)),)


def test_the_structures_here_have_the_sizes_of_the_header():
    sizes = [ctypes.sizeof(kind) for kind in (Capability, FormatDescription, FrameSize, FrameInterval)]
    assert sizes == [104, 64, 44, 52]


def test_what_is_no_v4l2_device_is_an_error(file, tmp_path):
    with pytest.raises(OSError, match="Inappropriate ioctl"):
        camera_modes(file)
    with pytest.raises(FileNotFoundError):
        camera_modes(tmp_path / "gone")
