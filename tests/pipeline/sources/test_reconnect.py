"""A camera that is lost and reconnects, on a clock that the test controls."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

import numpy as np
import pytest

from pipeline.errors import InputError, RunError
from pipeline.records import SourceInfo, SourceKind
from pipeline.settings.source_settings import ReconnectSettings
from pipeline.sources.live import LiveSource
from pipeline.sources.reconnect import MAX_STUCK, ReconnectingSource
from pipeline.sources.timing import Pacer
from tests.pipeline.sources.conftest import ManualClock
from tests.pipeline.sources.fake_device import FakeDevice, picture

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
    assert (info.source_id, source.state_text) == ("camera 7", "")
    frames = list(iter(source.read, None))
    assert [frame.index for frame in frames] == [0, 1, 2, 3]
    assert [frame.pts for frame in frames] == [0, 100_000, 7_250_000, 7_300_000]
    assert [(frame.width, frame.height) for frame in frames] == [(32, 24), (32, 24), (64, 48), (64, 48)]
    assert source.reconnects == 1
    assert source.reopened_as is not None
    assert (source.reopened_as.source_id, source.reopened_as.time_base) == ("camera 7", info.time_base)
    assert source.state_text == ""
    assert "camera 7 was unplugged" in caplog.text
    source.close()
    assert source.read() is None


def test_warnings_of_every_connection_are_kept(clock: ManualClock) -> None:
    devices = FakeDevice([picture(1.0)]), FakeDevice([picture(2.0), None])
    devices[0].warnings.add("corrupt data at", "00:01.0")
    devices[1].warnings.add("corrupt data at", "00:02.0")
    source = reconnecting(Connections(clock, *devices), clock)
    source.open()
    assert len(list(iter(source.read, None))) == 2
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
    assert source.reopened_as is None
    assert source.state_text == "camera 7 is not connected yet, retrying …"
    frames = list(iter(source.read, None))
    assert [frame.pts for frame in frames] == [0, 100_000]
    assert np.diff(connections.made_at_s).tolist() == pytest.approx([0.5, 1, 2])
    assert (source.reopened_as.width, source.reopened_as.height) == (32, 24)
    assert (source.state_text, source.reconnects) == ("", 0)
    source.close()


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
    assert source.reconnects == 2
    source.close()


def test_state_text_while_disconnected(clock: ManualClock) -> None:
    seen: list[str] = []
    source: ReconnectingSource

    def wait(seconds: float) -> bool:
        seen.append(source.state_text)
        return clock.wait(seconds)

    connections = Connections(clock, FakeDevice([picture(1.0)]), FakeDevice([picture(2.0), None]))
    source = ReconnectingSource(connections, SETTINGS, clock, Pacer(clock, wait))
    source.open()
    list(iter(source.read, None))
    assert set(seen) == {"camera 7 is disconnected, retrying …"}
    assert source.state_text == ""
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
        while not source.state_text and time.monotonic() < deadline_s:
            thread.join(0.005)
    else:
        assert reached.wait(5)
    source.interrupt()
    thread.join(1.0)
    assert results == [None]
    release.set()
    source.close()
