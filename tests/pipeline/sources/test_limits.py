"""The frames that limits leave of a source."""

from __future__ import annotations

import pytest

from pipeline.errors import InputError
from pipeline.records import SourceKind
from pipeline.settings.source_settings import SourceSettings
from pipeline.sources.limits import LimitedSource
from tests.pipeline.sources.fake_source import FakeSource

PTS_MS = [0, 40, 100, 101, 300, 340, 900]


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        (SourceSettings(), PTS_MS),
        (SourceSettings(max_frames=3), [0, 40, 100]),
        (SourceSettings(max_frames=99), PTS_MS),
        (SourceSettings(start_s=0.1), [100, 101, 300, 340, 900]),
        (SourceSettings(start_s=0.1001), [101, 300, 340, 900]),
        (SourceSettings(duration_s=0.3), [0, 40, 100, 101]),
        (SourceSettings(start_s=0.1, duration_s=0.2), [100, 101]),
        (SourceSettings(start_s=0.04, duration_s=0.5, max_frames=2), [40, 100]),
        (SourceSettings(start_s=5), []),
        (SourceSettings(start_s=0.102, duration_s=0.001), []),
    ],
)
@pytest.mark.parametrize("kind", [SourceKind.RECORDED, SourceKind.LIVE])
def test_limits_select_a_part(kind: SourceKind, limits: SourceSettings, expected: list[int]) -> None:
    source = LimitedSource(FakeSource(PTS_MS, kind), limits)
    source.open()
    frames = list(iter(source.read, None))
    assert [frame.pts for frame in frames] == expected
    assert [frame.index for frame in frames] == list(range(len(expected)))
    assert source.read() is None


def test_nothing_is_read_beyond_max_frames() -> None:
    inner = FakeSource(PTS_MS, SourceKind.LIVE)
    source = LimitedSource(inner, SourceSettings(max_frames=2))
    source.open()
    list(iter(source.read, None))
    assert inner.index == 2


@pytest.mark.parametrize(
    ("limits", "frame_count", "duration_s"),
    [
        (SourceSettings(max_frames=50), 50, 2.0),
        (SourceSettings(max_frames=5000), 250, 10.0),
        (SourceSettings(duration_s=4.0), 100, 4.0),
        (SourceSettings(duration_s=40.0), 250, 10.0),
        (SourceSettings(duration_s=4.0, max_frames=10), 10, 0.4),
        (SourceSettings(duration_s=0.001), 1, 0.001),
    ],
)
def test_frame_count_and_duration_are_estimated(limits: SourceSettings, frame_count: int, duration_s: float) -> None:
    inner = FakeSource([], fps=25.0, frame_count=250, duration_s=10.0)
    info = LimitedSource(inner, limits).open()
    assert (info.frame_count, info.duration_s) == (frame_count, pytest.approx(duration_s))


def test_limits_end_an_endless_source() -> None:
    info = LimitedSource(FakeSource([], SourceKind.LIVE, fps=25.0), SourceSettings(duration_s=4.0)).open()
    assert (info.frame_count, info.duration_s) == (None, 4.0)
    info = LimitedSource(FakeSource([], SourceKind.LIVE), SourceSettings(max_frames=7)).open()
    assert (info.frame_count, info.duration_s) == (7, None)


@pytest.mark.parametrize("limits", [SourceSettings(start_s=1.0), SourceSettings(duration_s=1.0)])
def test_start_and_duration_do_not_apply_to_images(limits: SourceSettings) -> None:
    inner = FakeSource([0, 0], SourceKind.STILLS)
    with pytest.raises(InputError, match="images have no time"):
        LimitedSource(inner, limits).open()
    assert inner.closed


def test_images_can_be_counted() -> None:
    source = LimitedSource(FakeSource([0, 0, 0], SourceKind.STILLS, frame_count=3), SourceSettings(max_frames=2))
    assert source.open().frame_count == 2
    assert len(list(iter(source.read, None))) == 2


def test_everything_else_is_delegated() -> None:
    inner = FakeSource([0, 40])
    wrapper = LimitedSource(inner, SourceSettings())
    assert wrapper.open() == inner.info
    assert wrapper.read().pts == 0
    assert wrapper.state_text == "fake is gone"
    assert wrapper.reconnects == 3
    inner.warnings.add("corrupt data at", "00:01.0")
    assert wrapper.warnings.texts() == ["corrupt data at 00:01.0"]
    wrapper.interrupt()
    assert inner.interrupted
    assert wrapper.reopened_as is None
    assert wrapper.read() is None
    wrapper.close()
    assert inner.closed
