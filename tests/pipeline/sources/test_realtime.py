"""A file played in real time, on a clock that the test controls."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from pipeline.records import SourceKind
from pipeline.sources.pacing import Pacer
from pipeline.sources.pattern import read_frame_number
from pipeline.sources.realtime import RealtimeFile
from pipeline.sources.video_file import VideoFile
from tests.pipeline.sources.clips import write_clip
from tests.pipeline.sources.conftest import ManualClock
from tests.pipeline.sources.fake_source import FakeSource


def realtime(pts_ms: list[int], clock: ManualClock) -> RealtimeFile:
    return RealtimeFile(FakeSource(pts_ms), clock, Pacer(clock, clock.wait))


def test_each_frame_is_delivered_when_due(clock: ManualClock) -> None:
    source = realtime([1000, 1040, 1041, 3000], clock)
    info = source.open()
    assert info.kind is SourceKind.LIVE
    assert info.description == "a fake, played in real time"
    frames = list(iter(source.read, None))
    assert [frame.pts for frame in frames] == [1000, 1040, 1041, 3000]
    assert [frame.captured_at_s for frame in frames] == pytest.approx([100, 100.04, 100.041, 102])


def test_a_late_frame_does_not_shift_later_ones(clock: ManualClock) -> None:
    source = realtime([0, 100, 200, 900], clock)
    source.open()
    source.read()
    clock.advance(0.5)
    waited = len(clock.waits)
    assert [source.read().captured_at_s for _ in range(2)] == [100.5, 100.5]
    assert len(clock.waits) == waited
    assert source.read().captured_at_s == pytest.approx(100.9)


def test_interrupt_ends_a_long_wait() -> None:
    inner = FakeSource([0, 3_600_000])
    source = RealtimeFile(inner)
    source.open()
    source.read()
    results: list[object] = []
    thread = threading.Thread(target=lambda: results.append(source.read()))
    thread.start()
    source.interrupt()
    thread.join(1.0)
    assert results == [None]
    assert inner.interrupted


def test_a_real_file_keeps_its_audio(tmp_path: Path, clock: ManualClock) -> None:
    path = write_clip(tmp_path / "a.mp4", 10, sound_s=0.4)
    source = RealtimeFile(VideoFile(path, start_s=0.2, clock=clock), clock, Pacer(clock, clock.wait))
    info = source.open()
    assert info.audio is not None
    assert info.audio.start_s == pytest.approx(0.2)
    frames = list(iter(source.read, None))
    source.close()
    assert [read_frame_number(frame.image_bgr) for frame in frames] == [5, 6, 7, 8, 9]
    assert [frame.captured_at_s for frame in frames] == pytest.approx([100, 100.04, 100.08, 100.12, 100.16])
