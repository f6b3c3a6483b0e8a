"""The thread between a device and its reader, and every way it can end."""

from __future__ import annotations

import threading
import time

import cv2
import pytest

from pipeline.errors import InputError, RunError
from pipeline.records import SourceInfo
from pipeline.sources.pump import HANDOVER_CAPACITY, Pump
from tests.pipeline.sources.fake_device import FakeDevice, picture


def wait_for_end(pump: Pump) -> bool:
    deadline_s = time.monotonic() + 5
    while pump.alive and time.monotonic() < deadline_s:
        pump.stop()
    return not pump.alive


def test_info_then_pictures_then_the_error() -> None:
    device = FakeDevice([picture(1.0, 5), picture(2.0, 6)])
    pump = Pump(device)
    pump.start()
    assert isinstance(pump.get(5), SourceInfo)
    assert [pump.get(5).captured_at_s, pump.get(5).captured_at_s] == [1.0, 2.0]
    with pytest.raises(RunError, match="unplugged"):
        pump.get(5)
    assert pump.get(5) is None
    assert device.closed.wait(5)
    pump.stop()
    assert not pump.alive


def test_a_failed_open_is_reported_and_closes_the_device() -> None:
    device = FakeDevice(open_error=InputError("no such camera"))
    pump = Pump(device)
    pump.start()
    with pytest.raises(InputError, match="no such camera"):
        pump.get(5)
    assert device.closed.wait(5)
    pump.stop()


@pytest.mark.parametrize(
    "error",
    [cv2.error("driver"), OSError(19, "No such device"), ValueError("odd"), MemoryError("much"), SystemExit("out")],
)
def test_errors_of_libraries_become_run_errors_that_name_the_device(error: Exception) -> None:
    pump = Pump(FakeDevice([error]))
    pump.start()
    pump.get(5)
    with pytest.raises(RunError, match="camera 7: "):
        pump.get(5)
    pump.stop()


def test_error_texts_show_no_password() -> None:
    pump = Pump(FakeDevice([OSError("rtsp://user:secret@host/x failed")]))
    pump.start()
    pump.get(5)
    with pytest.raises(RunError) as caught:
        pump.get(5)
    assert "secret" not in str(caught.value)
    pump.stop()


def test_a_regular_end_is_not_an_error() -> None:
    pump = Pump(FakeDevice([None]))
    pump.start()
    pump.get(5)
    assert pump.get(5) is None
    pump.stop()


def test_silence_times_out_and_interrupt_wakes_at_once() -> None:
    release = threading.Event()
    device = FakeDevice([lambda: release.wait(30) or None])
    pump = Pump(device)
    pump.start()
    pump.get(5)
    with pytest.raises(TimeoutError):
        pump.get(0.01)
    threading.Timer(0.05, pump.interrupt).start()
    assert pump.get(30) is None  # a get that takes too long raises
    assert device.aborted.is_set()
    pump.stop()
    assert pump.alive, "still in the driver, left behind"
    assert not device.closed.is_set(), "closed only by the thread that uses it"
    release.set()
    assert device.closed.wait(5)
    assert wait_for_end(pump)


def test_few_pictures_are_buffered() -> None:
    grabbed: list[int] = []
    steps = [step for number in range(50) for step in (lambda n=number: grabbed.append(n), picture(number))]
    pump = Pump(FakeDevice(steps))
    pump.start()
    pump.get(5)
    first = pump.get(5)
    assert first.captured_at_s == 0
    pump.stop()
    assert len(grabbed) <= HANDOVER_CAPACITY + 3


def test_stop_without_start() -> None:
    pump = Pump(FakeDevice())
    pump.stop()
    assert pump.get(1) is None
