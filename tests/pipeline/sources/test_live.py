"""One connection to a live device as a source."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import cv2
import numpy as np
import pytest

from pipeline.errors import InputError, RunError
from pipeline.records import SourceInfo, SourceKind
from pipeline.settings.source_settings import ReconnectSettings
from pipeline.sources.base import Pacer
from pipeline.sources.live import HANDOVER_CAPACITY, MAX_STUCK, LiveSource, ReconnectingSource
from tests.pipeline.sources.conftest import ManualClock
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


SETTINGS = ReconnectSettings(first_delay_s=0.5, longest_delay_s=3.0, read_timeout_s=0.5)


class Connections:
    """Hands out the devices in turn, as the connections of one camera, and records when each was made."""

    def __init__(self, clock: ManualClock, *devices: FakeDevice, read_timeout_s: float = 5.0) -> None:
        self.clock = clock
        self.devices = list(devices)
        self.made_at_s: list[float] = []
        self._read_timeout_s = read_timeout_s

    def __call__(self) -> LiveSource:
        device = self.devices[len(self.made_at_s)]
        self.made_at_s.append(self.clock())
        return LiveSource(device, read_timeout_s=self._read_timeout_s, open_timeout_s=5)


def gone() -> FakeDevice:
    return FakeDevice(open_error=InputError("there is no camera 7"))


def reconnecting(make: Callable[[], LiveSource], clock: ManualClock) -> ReconnectingSource:
    return ReconnectingSource(make, SETTINGS, clock, Pacer(clock, clock.wait))


def test_reconnecting_continues_index_and_time_at_the_new_size(
    clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    first = FakeDevice([picture(100.0), picture(100.1)])
    back = FakeDevice([picture(107.25, size_wh=(64, 48)), picture(107.3, size_wh=(64, 48)), None])
    source = reconnecting(Connections(clock, first, gone(), gone(), back), clock)
    info = source.open()
    assert (info.source_id, source.state.text) == ("camera 7", "")
    frames = list(iter(source.read, None))
    assert [frame.index for frame in frames] == [0, 1, 2, 3]
    assert [frame.pts for frame in frames] == [0, 100_000, 7_250_000, 7_300_000]
    assert [(frame.width, frame.height) for frame in frames] == [(32, 24), (32, 24), (64, 48), (64, 48)]
    assert source.state.reconnects == 1
    assert source.state.reopened_as is not None
    assert (source.state.reopened_as.source_id, source.state.reopened_as.time_base) == ("camera 7", info.time_base)
    assert source.state.text == ""
    once_each = ["camera 7 was unplugged; retrying", "there is no camera 7", "camera 7 is connected again"]
    assert caplog.messages == once_each
    source.close()
    assert source.read() is None


def test_a_picture_of_another_size_in_one_connection_is_told(clock: ManualClock) -> None:
    sizes = [(32, 24), (64, 48), (64, 48), (32, 24)]
    device = FakeDevice([*(picture(100.0 + number, size_wh=size) for number, size in enumerate(sizes)), None])
    source = reconnecting(Connections(clock, device), clock)
    info = source.open()
    told = []
    while source.read() is not None:
        told.append(source.state.reopened_as)
    assert told[0] is None
    assert told[1] == replace(info, width=64, height=48)
    assert told[2] is told[1]
    assert told[3] == info
    assert source.state.reconnects == 0
    source.close()


def test_a_camera_that_comes_and_goes_for_an_hour_logs_a_few_lines_that_count_every_loss(
    clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    devices = [FakeDevice([picture(60.0 * number)]) for number in range(60)]
    source = reconnecting(Connections(clock, *devices), clock)
    source.open()
    for _ in devices:
        assert source.read() is not None
        clock.advance(59.5)  # and half a second until it is connected again
    source.close()
    assert source.state.reconnects == 59
    lost, back = "camera 7 was unplugged; retrying", "camera 7 is connected again"
    counts = [9, *4 * [10], 9]  # with the first, each 59 times
    numbers = [
        f" ({count} more times in the last {9 if part == 5 else 10} minutes)" for part, count in enumerate(counts)
    ]
    assert caplog.messages == [text + number for number in ("", *numbers) for text in (lost, back)]


def test_the_end_of_a_run_while_it_reconnects_is_no_failure(
    clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    connections = Connections(clock, FakeDevice([picture(1.0)]), FakeDevice([picture(2.0)]))

    def make() -> LiveSource:
        if connections.made_at_s:
            source.interrupt()
        return connections()

    source = reconnecting(make, clock)
    source.open()
    assert len(list(iter(source.read, None))) == 1
    assert len(connections.made_at_s) == 2
    assert "unplugged" in caplog.text
    assert "interrupted" not in caplog.text
    source.close()


def test_warnings_of_every_connection_are_kept(clock: ManualClock) -> None:
    devices = FakeDevice([picture(1.0)]), FakeDevice([picture(2.0), None])
    source = reconnecting(Connections(clock, *devices), clock)
    source.open()
    devices[0].warnings.add("corrupt data at", "00:01.0")
    assert len(list(iter(source.read, None))) == 2
    devices[1].warnings.add("corrupt data at", "00:02.0")
    source.close()
    source.close()
    assert source.warnings.texts() == ["corrupt data at 00:01.0, 00:02.0"]


def test_at_start_waits_for_a_missing_camera(clock: ManualClock) -> None:
    settings = SETTINGS.model_copy(update={"at_start": True})
    expected = SourceInfo("camera 7", SourceKind.LIVE, 1280, 720)
    devices = [gone() for _ in range(3)]
    back = FakeDevice([picture(3.0), picture(3.1), None])
    connections = Connections(clock, *devices, back)
    source = ReconnectingSource(connections, settings, clock, Pacer(clock, clock.wait), expected)
    info = source.open()
    assert (info.source_id, info.width, info.height) == ("camera 7", 1280, 720)
    assert source.state.reopened_as is None
    assert source.state.text == "camera 7 is not connected yet, retrying …"
    frames = list(iter(source.read, None))
    assert [frame.pts for frame in frames] == [0, 100_000]
    assert np.diff(connections.made_at_s).tolist() == pytest.approx([0.5, 1, 2])
    assert (source.state.reopened_as.width, source.state.reopened_as.height) == (32, 24)
    assert (source.state.text, source.state.reconnects) == ("", 0)
    source.close()


def test_the_end_of_a_run_that_waits_for_a_camera_at_its_start_is_no_failure(
    clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    settings, expected = SETTINGS.model_copy(update={"at_start": True}), SourceInfo("camera 7", SourceKind.LIVE, 64, 48)
    source = ReconnectingSource(Connections(clock, FakeDevice()), settings, clock, Pacer(clock, clock.wait), expected)
    source.interrupt()
    source.open()
    assert source.read() is None
    source.close()
    assert caplog.messages == []


def test_without_at_start_a_missing_camera_is_an_error(clock: ManualClock) -> None:
    expected = SourceInfo("camera 7", SourceKind.LIVE, 1280, 720)
    source = ReconnectingSource(Connections(clock, gone()), SETTINGS, clock, Pacer(clock, clock.wait), expected)
    with pytest.raises(InputError, match="there is no camera 7"):
        source.open()


def test_delays_double_up_to_the_limit_and_a_frame_resets_them(clock: ManualClock) -> None:
    devices = [FakeDevice([picture(1.0)]), *[gone() for _ in range(5)], FakeDevice([picture(2.0)])]
    devices += [gone(), FakeDevice([picture(3.0), None])]
    connections = Connections(clock, *devices)
    source = reconnecting(connections, clock)
    source.open()
    assert len(list(iter(source.read, None))) == 3
    assert np.diff(connections.made_at_s).tolist() == pytest.approx([0.5, 1, 2, 3, 3, 3, 0.5, 1])
    assert source.state.reconnects == 2
    source.close()


def test_state_text_while_disconnected(clock: ManualClock) -> None:
    seen: list[str] = []
    source: ReconnectingSource

    def wait(seconds: float) -> bool:
        seen.append(source.state.text)
        return clock.wait(seconds)

    connections = Connections(clock, FakeDevice([picture(1.0)]), FakeDevice([picture(2.0), None]))
    source = ReconnectingSource(connections, SETTINGS, clock, Pacer(clock, wait))
    source.open()
    list(iter(source.read, None))
    assert set(seen) == {"camera 7 is disconnected, retrying …"}
    assert source.state.text == ""
    source.close()


def test_first_opening_that_fails_is_an_error(clock: ManualClock) -> None:
    source = reconnecting(Connections(clock, gone()), clock)
    with pytest.raises(InputError, match="there is no camera 7"):
        source.open()
    source.close()
    assert source.read() is None


def test_a_hung_driver_blocks_neither_the_reader_nor_accumulates_threads(clock: ManualClock) -> None:
    release = threading.Event()
    hung = [FakeDevice([picture(number), lambda: release.wait(30) or None]) for number in range(MAX_STUCK)]
    connections = Connections(clock, *hung, FakeDevice([picture(9.0), None]), read_timeout_s=0.02)
    waits = 0

    def wait(seconds: float) -> bool:
        nonlocal waits
        waits += 1
        if waits == 100:
            assert len(connections.made_at_s) == MAX_STUCK, "no further thread while these hang"
            release.set()
            assert hung[0].closed.wait(5)
            assert hung[1].closed.wait(5)
        return clock.wait(seconds)

    source = ReconnectingSource(connections, SETTINGS, clock, Pacer(clock, wait))
    source.open()
    assert [frame.pts for frame in iter(source.read, None)] == [0, 1_000_000, 9_000_000]
    assert waits >= 100
    source.close()


@pytest.mark.parametrize("where", ["reading", "pausing", "opening"])
def test_interrupt_ends_reading_pausing_and_opening(where: str) -> None:
    release = threading.Event()
    reached = threading.Event()

    def block() -> None:
        reached.set()
        release.wait(30)

    again = FakeDevice([picture(2.0)])
    if where == "opening":
        again.open = block
    first = FakeDevice([picture(1.0), block] if where == "reading" else [picture(1.0), RunError("lost")])
    delays = ReconnectSettings(first_delay_s=60.0 if where == "pausing" else 0.05, longest_delay_s=60.0)
    connections = Connections(time.monotonic, first, again, read_timeout_s=30)
    source = ReconnectingSource(connections, delays)
    source.open()
    assert source.read() is not None
    results: list[object] = []
    thread = threading.Thread(target=lambda: results.append(source.read()))
    thread.start()
    if where == "pausing":
        deadline_s = time.monotonic() + 5
        while not source.state.text and time.monotonic() < deadline_s:
            thread.join(0.005)
    else:
        assert reached.wait(5)
    source.interrupt()
    thread.join(1.0)
    assert results == [None]
    release.set()
    source.close()
