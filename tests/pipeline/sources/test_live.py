"""One connection to a live device as a source."""

from __future__ import annotations

import threading
import time
from fractions import Fraction

import cv2
import pytest

from pipeline.errors import InputError, RunError
from pipeline.records import SourceKind
from pipeline.sources.live import HANDOVER_CAPACITY, LiveSource
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


# -- the thread between a device and its reader, and every way it can end


def test_the_device_is_closed_at_its_end() -> None:
    device = FakeDevice([picture(1.0, 5), picture(2.0, 6)])
    source = live(device)
    source.open()
    assert [source.read().image_bgr[0, 0, 0] for _ in range(2)] == [5, 6]
    with pytest.raises(RunError, match="unplugged"):
        source.read()
    assert source.read() is None
    assert device.closed.wait(5)
    source.close()
    assert not source.stuck


def test_a_failed_open_closes_the_device() -> None:
    device = FakeDevice(open_error=InputError("no such camera"))
    with pytest.raises(InputError, match="no such camera"):
        live(device).open()
    assert device.closed.wait(5)


@pytest.mark.parametrize(
    "error",
    [cv2.error("driver"), OSError(19, "No such device"), ValueError("odd"), MemoryError("much"), SystemExit("out")],
)
def test_errors_of_libraries_become_run_errors_that_name_the_device(error: Exception) -> None:
    source = live(FakeDevice([error]))
    source.open()
    with pytest.raises(RunError, match="camera 7: "):
        source.read()
    source.close()


def test_error_texts_show_no_password() -> None:
    source = live(FakeDevice([OSError("rtsp://user:secret@host/x failed")]))
    source.open()
    with pytest.raises(RunError) as caught:
        source.read()
    assert "secret" not in str(caught.value)
    source.close()


def test_a_thread_in_the_driver_is_left_behind_and_closes_the_device_later() -> None:
    release = threading.Event()
    device = FakeDevice([lambda: release.wait(30) or None])
    source = live(device)
    source.open()
    source.close()
    assert device.aborted.is_set()
    assert source.stuck, "still in the driver, left behind"
    assert not device.closed.is_set(), "closed only by the thread that uses it"
    release.set()
    assert device.closed.wait(5)
    deadline_s = time.monotonic() + 5
    while source.stuck and time.monotonic() < deadline_s:
        source.close()
    assert not source.stuck


def test_few_pictures_are_buffered() -> None:
    grabbed: list[int] = []
    steps = [step for number in range(50) for step in (lambda n=number: grabbed.append(n), picture(number))]
    source = live(FakeDevice(steps))
    source.open()
    assert source.read().captured_at_s == 0
    source.close()
    assert len(grabbed) <= HANDOVER_CAPACITY + 3


def test_close_without_open() -> None:
    source = live(FakeDevice())
    source.close()
    assert source.read() is None
