"""A file that is repeated, or continued elsewhere: indices, times, and what a viewer may see."""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import InputError, RunError
from pipeline.records import AudioTrack, Frame, SourceInfo, SourceKind
from pipeline.settings.source_settings import SourceSettings
from pipeline.sources.base import Source
from pipeline.sources.factory import make_source
from pipeline.sources.pattern import read_frame_number
from pipeline.sources.played import SEEK_GAP_S, PlayedSource
from tests.pipeline.sources.clips import write_clip

MILLISECOND = Fraction(1, 1000)


class Part(Source):
    """Frames of 100 ms each, from a position to the end of a file of `count` frames; each pixel is its number."""

    def __init__(self, start_s, warnings, count=5, info=None):
        self.warnings = warnings
        self._number = math.ceil(start_s * 10 - 1e-9)
        self._first, self._count = self._number, count
        self._info = info or SourceInfo("a.mp4", SourceKind.RECORDED, 3, 2, 10.0, count, count / 10, MILLISECOND)
        self.opened = self.interrupted = False

    def open(self):
        self.opened = True
        if self._number >= self._count:
            self.interrupt()
            raise InputError("no frame is at or after the start")
        return self._info

    def read(self):
        if self.interrupted or self._number == self._count:
            return None
        number, self._number = self._number, self._number + 1
        image = np.full((2, 3, 3), number, np.uint8)
        return Frame("a.mp4", number - self._first, 100 * number, MILLISECOND, 0.0, image, 100)

    def close(self):
        self.opened = False

    def interrupt(self):
        self.interrupted = True


class Parts:
    """Makes parts, and remembers them."""

    def __init__(self, **more):
        self.made, self.more = [], more

    def __call__(self, start_s, warnings):
        self.made.append(Part(start_s, warnings, **self.more))
        return self.made[-1]


def rows(source, count):
    """(number, index, pts in ms, position in s) of the next frames."""
    frames = [source.read() for _ in range(count)]
    return [frame and (int(frame.image_bgr[0, 0, 0]), frame.index, frame.pts, frame.position_s) for frame in frames]


def test_played_once_it_is_the_file_itself():
    source = PlayedSource(Parts(), 0.2)
    info = source.open()
    assert (info.frame_count, info.duration_s) == (5, 0.5)
    assert rows(source, 4) == [(2, 0, 200, 0.2), (3, 1, 300, 0.3), (4, 2, 400, 0.4), None]
    assert source.read() is None


def test_repeated_it_is_one_recording_without_an_end():
    parts = Parts()
    source = PlayedSource(parts, 0.3, loops=True)
    info = source.open()
    assert (info.frame_count, info.duration_s) == (None, None)
    assert rows(source, 5) == [(3, 0, 300, 0.3), (4, 1, 400, 0.4), (3, 2, 500, 0.3), (4, 3, 600, 0.4), (3, 4, 700, 0.3)]
    assert [part.opened for part in parts.made] == [False, False, True]
    source.close()
    assert not parts.made[-1].opened


def test_a_repeated_file_has_no_sound():
    info = SourceInfo("a.mp4", SourceKind.RECORDED, 3, 2, audio=AudioTrack(Path("a.mp4")))
    assert PlayedSource(Parts(info=info)).open().audio is not None
    assert PlayedSource(Parts(info=info), loops=True).open().audio is None


def test_where_it_can_be_sought():
    long = SourceInfo("a.mp4", SourceKind.RECORDED, 3, 2, duration_s=60.0)
    assert PlayedSource(Parts(info=long), 0.1).open().seekable_s == (0.1, 59.1)  # a second before its end, at 60.1 s
    assert PlayedSource(Parts(info=long), 0.1, loops=True).open().seekable_s == (0.1, 59.1)
    assert PlayedSource(Parts(), 0.1).open().seekable_s == (0.1, 0.1)
    assert PlayedSource(Parts(info=replace(long, duration_s=None))).open().seekable_s == (0.0, math.inf)
    assert PlayedSource(Parts(info=replace(long, kind=SourceKind.LIVE))).open().seekable_s is None


def test_a_seek_continues_there_later_in_time():
    source = PlayedSource(Parts())
    source.open()
    gap = round(1000 * SEEK_GAP_S)
    assert rows(source, 2) == [(0, 0, 0, 0.0), (1, 1, 100, 0.1)]
    assert source.state.fresh_from == 0
    assert source.seek(0.3)
    assert source.state.fresh_from == sys.maxsize
    assert rows(source, 1) == [(3, 2, 200 + gap, 0.3)]
    assert source.state.fresh_from == 2
    assert source.seek(0.0)
    assert rows(source, 2) == [(0, 3, 300 + 2 * gap, 0.0), (1, 4, 400 + 2 * gap, 0.1)]
    assert source.state.fresh_from == 3


def test_of_two_seeks_the_last_one_counts():
    source = PlayedSource(Parts())
    source.open()
    source.seek(0.1)
    source.seek(0.4)
    assert [row and row[0] for row in rows(source, 2)] == [4, None]


def test_a_source_that_has_ended_cannot_be_sought():
    source = PlayedSource(Parts())
    source.open()
    rows(source, 6)
    assert not source.seek(0.1)
    assert source.state.fresh_from == 0


def test_a_seek_to_where_nothing_is_ends_the_file_or_begins_again(caplog):
    source = PlayedSource(Parts())
    source.open()
    source.seek(9.0)
    assert source.read() is None
    assert source.state.fresh_from == 0
    assert "no frame is at or after the start" in caplog.text
    source = PlayedSource(Parts(), loops=True)
    source.open()
    source.seek(9.0)
    assert rows(source, 1)[0][0] == 0


def test_a_file_that_is_gone_or_another_one_cannot_be_repeated():
    parts = Parts()
    source = PlayedSource(parts, loops=True)
    source.open()
    rows(source, 5)
    parts.more = {"count": 0}
    with pytest.raises(RunError, match=r"a\.mp4 cannot be repeated: no frame"):
        source.read()
    parts = Parts()
    source = PlayedSource(parts, loops=True)
    source.open()
    rows(source, 5)
    parts.more = {"info": SourceInfo("a.mp4", SourceKind.RECORDED, 30, 20, time_base=MILLISECOND)}
    with pytest.raises(RunError, match="has changed since it was opened: it is 30x20 now"):
        source.read()


def test_an_interrupt_ends_it_also_while_it_is_repeated():
    parts = Parts()
    source = PlayedSource(parts, loops=True)
    source.open()
    source.interrupt()
    assert source.read() is None
    assert parts.made[0].interrupted


def test_problems_of_all_parts_are_collected():
    parts = Parts()
    source = PlayedSource(parts, loops=True)
    source.open()
    rows(source, 6)
    parts.made[1].warnings.add("corrupt data at", "00:00.1")
    assert source.warnings.texts() == ["corrupt data at 00:00.1"]


@pytest.mark.parametrize("limit", [{}, {"start_s": 0.2}, {"start_s": 0.2, "duration_s": 0.2}])
def test_a_real_file_is_repeated_within_its_limits(tmp_path, limit):
    clip = write_clip(tmp_path / "a.mp4", 10, rate=25)
    numbers = list(range(5 if limit else 0, 10))
    with make_source(SourceSettings(uri=str(clip), loop=True, max_frames=25, **limit)) as source:
        frames = list(iter(source.read, None))
    assert [read_frame_number(frame.image_bgr) for frame in frames] == (numbers * 5)[:25]
    assert [frame.index for frame in frames] == list(range(25))
    times = [frame.pts_s for frame in frames]
    np.testing.assert_allclose(times, limit.get("start_s", 0.0) + 0.04 * np.arange(25), atol=1e-6)
    np.testing.assert_allclose(
        [frame.position_s for frame in frames], [0.04 * n for n in (numbers * 5)[:25]], atol=1e-6
    )


def test_a_part_without_a_frame_is_not_repeated(tmp_path):
    """At 25 frames a second, none lies between 20 and 30 ms."""
    limits = {"loop": True, "start_s": 0.02, "duration_s": 0.01}
    with make_source(SourceSettings(uri=str(write_clip(tmp_path / "a.mp4")), **limits)) as source:
        assert source.read() is None


def test_a_real_file_is_sought_to_the_frame(tmp_path):
    clip = write_clip(tmp_path / "a.mp4", 50, rate=25, options={"g": "20"})
    with make_source(SourceSettings(uri=str(clip), max_frames=40)) as source:
        numbers = []
        for position_s in (None, 1.2, 0.44, 1.9):
            assert position_s is None or source.seek(position_s)
            numbers += [read_frame_number(source.read().image_bgr) for _ in range(2)]
    assert numbers == [0, 1, 30, 31, 11, 12, 48, 49]


@pytest.mark.parametrize("uri", ["0", "test:", "rtsp://camera/live"])
def test_only_a_video_file_can_be_repeated(uri):
    with pytest.raises(InputError, match=r"source\.loop repeats a video file"):
        make_source(SourceSettings(uri=uri, loop=True))
