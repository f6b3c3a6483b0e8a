"""One connection to a live device as a source."""

from __future__ import annotations

import threading
from fractions import Fraction

import pytest

from pipeline.errors import InputError, RunError
from pipeline.records import SourceKind
from pipeline.sources.live import ArrivalTimestamps, LiveSource
from tests.pipeline.sources.fake_device import FakeDevice, picture


def live(device: FakeDevice, read_timeout_s: float = 5, open_timeout_s: float = 5) -> LiveSource:
    return LiveSource(device, read_timeout_s=read_timeout_s, open_timeout_s=open_timeout_s)


def test_frames_carry_the_measured_time() -> None:
    source = live(FakeDevice([picture(50.0, 1), picture(50.04, 2), picture(53.5, 3, (40, 30))]))
    info = source.open()
    assert (info.source_id, info.kind, info.width, info.height, info.fps) == ("camera 7", SourceKind.LIVE, 32, 24, 30.0)
    assert info.time_base == Fraction(1, 1_000_000)
    frames = [source.read() for _ in range(3)]
    assert [frame.pts for frame in frames] == [0, 40_000, 3_500_000]
    assert [frame.index for frame in frames] == [0, 1, 2]
    assert [frame.captured_at_s for frame in frames] == [50.0, 50.04, 53.5]
    assert [frame.width for frame in frames] == [32, 32, 40]
    with pytest.raises(RunError, match="unplugged"):
        source.read()
    source.close()
    assert not source.stuck


def test_timestamps_increase_even_if_the_clock_stands_still() -> None:
    stamps = ArrivalTimestamps()
    assert [stamps.next(value) for value in (10.0, 10.0, 10.0000001, 9.0, 10.5)] == [0, 1, 2, 3, 500_000]


def test_the_end_of_a_clip_is_not_an_error() -> None:
    source = live(FakeDevice([picture(1.0), None]))
    source.open()
    assert source.read() is not None
    assert source.read() is None
    source.close()


@pytest.mark.parametrize("error", [InputError("camera 7 is not there"), RunError("camera 7 broke")])
def test_a_failed_open_is_an_input_error(error: Exception) -> None:
    with pytest.raises(InputError, match="camera 7"):
        live(FakeDevice(open_error=error)).open()


def test_silence_while_opening_and_reading_is_an_error() -> None:
    release = threading.Event()
    device = FakeDevice([lambda: release.wait(30) or None])
    source = live(device, read_timeout_s=0.02)
    source.open()
    with pytest.raises(RunError, match=r"camera 7 delivered no frame for 0\.02 s"):
        source.read()
    device_2 = FakeDevice()
    device_2.open = lambda: release.wait(30)
    with pytest.raises(InputError, match=r"did not answer within 0\.02 s"):
        live(device_2, open_timeout_s=0.02).open()
    source.close()
    assert source.stuck
    release.set()


def test_interrupt_ends_a_blocked_read_at_once() -> None:
    release = threading.Event()
    source = live(FakeDevice([lambda: release.wait(30) or None]))
    source.open()
    threading.Timer(0.05, source.interrupt).start()
    assert source.read() is None  # a read that takes too long raises
    release.set()
    source.close()
    source.close()


def test_interrupt_before_open() -> None:
    source = live(FakeDevice([picture(1.0)]))
    source.interrupt()
    with pytest.raises(InputError, match="interrupted while opening"):
        source.open()
    source.close()
