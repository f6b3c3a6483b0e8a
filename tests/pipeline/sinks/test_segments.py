"""Segments: no frame is lost between them, the oldest are deleted, nothing else is, and a full disk pauses."""

import errno
import json
import logging
import os
import re
import sys
from dataclasses import replace
from datetime import datetime, timedelta
from types import SimpleNamespace

import cv2
import pytest

from pipeline.errors import InputError, RunError
from pipeline.records import SourceKind
from pipeline.settings.output_settings import RecorderSettings
from pipeline.sinks.paths import Inputs, Outputs
from pipeline.sinks.recorder import Recorder
from pipeline.sinks.segments import CHECK_EVERY_S, SAVE_EVERY_S, SegmentList, SegmentRecorder, make_recorder
from tests.pipeline.fakes import FakeClock
from tests.pipeline.sinks.presentations import context, presentation


class Disk:
    """A disk whose free space a test sets; time advances by frames, 25 per second."""

    def __init__(self, tmp_path, outputs=None, **settings):
        self.folder, self.free, self.clock = tmp_path, 10**12, FakeClock()
        self.frames = self.lost = 0
        values = {"path": str(tmp_path / "kiosk.mp4"), "segment_s": 1.0, "preset": "ultrafast", **settings}
        self.recorder = SegmentRecorder(
            RecorderSettings(**values),
            wall_clock=lambda: datetime(2026, 3, 14, 15, 9, 26) + timedelta(seconds=self.frames // 25),
            clock=self.clock,
            outputs=outputs,
            free_bytes=lambda folder: self.free,
        )

    def record(self, count):
        for _ in range(count):
            self.clock.now_s += 0.04
            self.recorder.write(presentation(self.frames))
            self.frames += 1

    def names(self):
        return sorted(path.name for path in self.folder.iterdir() if not path.name.startswith("."))

    def opened(self):
        self.recorder.open(replace(context(kind=SourceKind.LIVE), on_loss=self.lose))
        return self

    def lose(self):
        self.lost += 1


def frames_of(path):
    capture = cv2.VideoCapture(str(path))
    count = 0
    while capture.read()[0]:
        count += 1
    capture.release()
    return count


def test_segments_contain_every_frame_and_play_on_their_own(tmp_path):
    disk = Disk(tmp_path).opened()
    disk.record(60)
    disk.recorder.close()
    assert disk.names() == [
        "kiosk-20260314-150926-0001.mp4",
        "kiosk-20260314-150927-0002.mp4",
        "kiosk-20260314-150928-0003.mp4",
    ]
    assert [frames_of(tmp_path / name) for name in disk.names()] == [25, 25, 10]
    assert list(disk.recorder.outputs) == [str(tmp_path / name) for name in disk.names()]


def test_numbering_continues_after_the_last_run_and_an_open_segment_plays(tmp_path):
    (tmp_path / "kiosk-20251231-235959-0041.mp4").write_bytes(b"x")
    disk = Disk(tmp_path).opened()
    disk.record(30)
    assert disk.names()[1:] == ["kiosk-20260314-150926-0042.mp4", "kiosk-20260314-150927-0043.mp4"]
    assert frames_of(tmp_path / "kiosk-20260314-150926-0042.mp4") == 25
    disk.recorder.close()


OTHERS = (
    "kiosk.mp4",
    "kiosk-2.mp4",
    "kiosk-20260314-150926-0001.mkv",
    "kiosk-20260314-150926-1.mp4",
    "my-kiosk-20260314-150926-0001.mp4",
    "kiosk-20260314-150926-0001.mp4.part",
    "notes.txt",
)


def old_segments(folder, *sizes, listed=True):
    """Segments of an earlier run that ended after 1000, 2000 … seconds of running time, of 3400 in all."""
    entries = []
    for number, size in enumerate(sizes, start=1):
        path = folder / f"kiosk-20260101-00000{number}-{number:04d}.mp4"
        path.write_bytes(bytes(size))
        entries.append([path.name, 1000.0 * number])
    if listed:
        (folder / ".kiosk.mp4.segments").write_text(json.dumps({"run_s": 3400.0, "segments": entries}))


def with_others(folder):
    for name in OTHERS:
        (folder / name).write_bytes(bytes(2_000_000))
        os.utime(folder / name, (1.0, 1.0))
    (folder / "kiosk-20260101-000000-0000.mp4").mkdir()


def others_are_there(folder):
    return all((folder / name).stat().st_size == 2_000_000 for name in OTHERS)


def kept(disk):
    return [name for name in disk.names() if name.startswith("kiosk-20260101-00000") and name[-8:-4] != "0000"]


def test_the_oldest_are_deleted_beyond_a_size_and_only_ours(tmp_path):
    with_others(tmp_path)
    old_segments(tmp_path, 600_000, 600_000, 600_000)
    disk = Disk(tmp_path, keep_bytes=1_300_000).opened()
    disk.record(1)
    assert kept(disk) == ["kiosk-20260101-000002-0002.mp4", "kiosk-20260101-000003-0003.mp4"]
    assert others_are_there(tmp_path)
    disk.recorder.close()


def test_the_old_are_deleted_beyond_an_age(tmp_path):
    with_others(tmp_path)
    old_segments(tmp_path, 10, 10, 10)
    disk = Disk(tmp_path, keep_s=1500.0).opened()
    disk.record(1)
    assert kept(disk) == ["kiosk-20260101-000002-0002.mp4", "kiosk-20260101-000003-0003.mp4"]
    assert others_are_there(tmp_path)
    disk.recorder.close()


def test_limits_hold_while_no_frame_comes(tmp_path):
    disk = Disk(tmp_path, segment_s=10.0, keep_s=60.0).opened()
    disk.record(25)
    disk.clock.now_s += 9.9
    disk.recorder.idle("")
    assert disk.recorder.current is not None
    disk.clock.now_s += 0.2
    disk.recorder.idle("")
    assert disk.recorder.current is None
    (first,) = disk.names()
    assert frames_of(tmp_path / first) == 25
    disk.clock.now_s += 59.0
    disk.recorder.idle("")
    assert disk.names() == [first]
    disk.clock.now_s += CHECK_EVERY_S
    disk.recorder.idle("")
    assert disk.names() == []
    disk.record(25)
    disk.recorder.close()
    assert disk.names() == ["kiosk-20260314-150927-0002.mp4"]


def test_limits_hold_before_the_first_frame(tmp_path):
    old_segments(tmp_path, 10, 10, 10)  # after 1000, 2000 and 3000 of 3400 seconds
    disk = Disk(tmp_path, keep_s=1000.0).opened()
    disk.clock.now_s += CHECK_EVERY_S
    disk.recorder.idle("")
    assert kept(disk) == ["kiosk-20260101-000003-0003.mp4"]
    disk.clock.now_s += 590.0
    disk.recorder.idle("")
    assert len(kept(disk)) == 1
    disk.clock.now_s += 20.0
    disk.recorder.idle("")
    assert kept(disk) == []
    disk.recorder.close()


def test_where_nothing_was_recorded_no_list_is_made(tmp_path):
    disk = Disk(tmp_path, keep_s=1000.0).opened()
    disk.clock.now_s += CHECK_EVERY_S
    disk.recorder.idle("")
    assert list(tmp_path.iterdir()) == []
    disk.recorder.close()


def test_running_time_that_a_power_cut_takes_is_short(tmp_path):
    old_segments(tmp_path, 10, 10, 10)
    disk = Disk(tmp_path, keep_s=1e6).opened()
    for _ in range(1000):
        disk.clock.now_s += 60.0
        disk.recorder.idle("")
    saved_s = json.loads((tmp_path / ".kiosk.mp4.segments").read_bytes())["run_s"]
    assert 3400.0 + 60_000.0 - SAVE_EVERY_S - 60.0 <= saved_s <= 3400.0 + 60_000.0
    disk.recorder.close()


def test_a_full_disk_pauses_nothing_while_nothing_is_recorded(tmp_path, caplog):
    old_segments(tmp_path, 10, 10, 10)
    disk = Disk(tmp_path, min_free_bytes=1000).opened()
    disk.free = 0
    disk.clock.now_s += CHECK_EVERY_S
    disk.recorder.idle("")
    assert kept(disk) == ["kiosk-20260101-000003-0003.mp4"]
    assert "paused" not in caplog.text
    disk.recorder.close()


def test_a_recorded_source_that_waits_does_not_end_its_segment(tmp_path):
    disk = Disk(tmp_path, segment_s=10.0)
    disk.recorder.open(context())
    disk.recorder.idle("")
    disk.record(25)
    disk.clock.now_s += 100.0
    disk.recorder.idle("")
    disk.record(25)
    disk.recorder.close()
    (name,) = disk.names()
    assert frames_of(tmp_path / name) == 50


EVERY_LIMIT = {"keep_bytes": 1_000_000, "keep_s": 1.0, "min_free_bytes": 1000}


def beyond_every_limit(disk):
    disk.free = 0
    disk.opened().record(round(25 * CHECK_EVERY_S) + 2)
    disk.recorder.close()


def test_files_that_are_not_in_the_list_are_never_deleted(tmp_path):
    with_others(tmp_path)
    old_segments(tmp_path, 600_000, 600_000, 600_000, listed=False)
    disk = Disk(tmp_path, **EVERY_LIMIT)
    beyond_every_limit(disk)
    assert len(kept(disk)) == 3
    assert others_are_there(tmp_path)


def test_a_list_that_names_other_files_deletes_none_of_them(tmp_path):
    with_others(tmp_path)
    entries = [[name, 0.0] for name in (*OTHERS, "../victim.mp4")]
    (tmp_path / ".kiosk.mp4.segments").write_text(json.dumps({"run_s": 1e9, "segments": entries}))
    beyond_every_limit(Disk(tmp_path, **EVERY_LIMIT))
    assert others_are_there(tmp_path)


@pytest.mark.parametrize("content", ["", "[]", "{", '{"run_s": 1}', '{"run_s": 1, "segments": [1]}'])
def test_an_unreadable_list_deletes_nothing(tmp_path, content, caplog):
    old_segments(tmp_path, 10)
    (tmp_path / ".kiosk.mp4.segments").write_text(content)
    disk = Disk(tmp_path, **EVERY_LIMIT)
    beyond_every_limit(disk)
    assert len(kept(disk)) == 1
    assert "segments of earlier runs are kept" in caplog.text


def test_the_segment_that_the_run_reads_is_never_deleted(tmp_path):
    old_segments(tmp_path, 600_000, 600_000, 600_000)
    reads = tmp_path / "kiosk-20260101-000001-0001.mp4"
    disk = Disk(tmp_path, Outputs(Inputs.of([reads])), **EVERY_LIMIT)
    beyond_every_limit(disk)
    assert kept(disk) == [reads.name]


def test_a_clock_that_jumps_by_years_deletes_nothing(tmp_path):
    old_segments(tmp_path, 10, 10, 10)
    for name in os.listdir(tmp_path):
        os.utime(tmp_path / name, (0.0, 0.0))  # written before the first time sync, in 1970
    disk = Disk(tmp_path, keep_s=86400.0).opened()
    disk.record(30)
    disk.recorder.close()
    assert len(kept(disk)) == 3


def test_two_recorders_at_once_share_no_segment_and_delete_only_their_own(tmp_path):
    first, second = (Disk(tmp_path, keep_bytes=1_000_000).opened() for _ in range(2))
    for _ in range(3):
        first.record(20)
        second.record(20)
    first.recorder.close()
    second.recorder.close()
    first.written, second.written = first.recorder.outputs, second.recorder.outputs
    assert not set(first.recorder.outputs) & set(second.recorder.outputs)
    assert [sum(frames_of(path) for path in disk.recorder.outputs) for disk in (first, second)] == [60, 60]
    # What both wrote is beyond the limits now; the next run holds the first one's list.
    third = Disk(tmp_path, **EVERY_LIMIT)
    beyond_every_limit(third)
    assert not any(os.path.exists(path) for path in first.written)
    assert all(os.path.exists(path) for path in second.written)


@pytest.mark.parametrize(
    ("error", "names"),
    [
        (None, {".kiosk.mp4.segments.lock"}),
        (PermissionError(errno.EACCES, "another process"), {".kiosk.mp4.segments.lock", ".kiosk-2.mp4.segments.lock"}),
    ],
)
def test_on_windows_the_first_byte_is_locked(tmp_path, monkeypatch, error, names):
    held, asked = [error], []

    def locking(descriptor, mode, count):
        asked.append((os.lseek(descriptor, 0, os.SEEK_CUR), mode, count))
        if (failure := held.pop()) is not None:
            held.append(None)
            raise failure

    monkeypatch.setitem(sys.modules, "msvcrt", SimpleNamespace(locking=locking, LK_NBLCK=2))
    monkeypatch.setattr(sys, "platform", "win32")
    (tmp_path / ".kiosk.mp4.segments.lock").write_text("longer than a byte")
    SegmentList(tmp_path / "kiosk.mp4", re.compile("x"), FakeClock()).close()
    assert {path.name for path in tmp_path.glob("*.lock")} == names
    assert asked == [(0, 2, 1)] * len(names)


def test_files_that_cannot_be_locked_are_no_list(tmp_path, monkeypatch, caplog):
    def locking(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setitem(sys.modules, "msvcrt", SimpleNamespace(locking=locking, LK_NBLCK=2))
    monkeypatch.setattr(sys, "platform", "win32")
    segments = SegmentList(tmp_path / "kiosk.mp4", re.compile("x"), FakeClock())
    segments.put("one")
    segments.close()
    assert "cannot be locked (No locks available): segments of earlier runs are kept" in caplog.text
    assert [path.name for path in tmp_path.iterdir()] == [".kiosk.mp4.segments.lock"]


def test_segments_of_an_earlier_run_are_deleted_by_the_next(tmp_path):
    for _ in range(2):
        disk = Disk(tmp_path).opened()
        disk.record(60)
        disk.recorder.close()
    assert len(disk.names()) == 6
    last = Disk(tmp_path, keep_s=1.0).opened()
    last.record(1)
    last.recorder.close()
    # The six ended after 1, 2, 2.4, 3.4, 4.4 and 4.8 of the 4.8 seconds that both recorded.
    assert sorted(int(name[-8:-4]) for name in last.names()) == [5, 6, 7]


def test_a_link_to_another_file_is_left_alone(tmp_path):
    (tmp_path / "else").mkdir()
    (tmp_path / "else" / "precious.mp4").write_bytes(b"x")
    link = tmp_path / "kiosk-20260101-000001-0001.mp4"
    link.symlink_to(tmp_path / "else" / "precious.mp4")
    disk = Disk(tmp_path, min_free_bytes=1000)
    disk.free = 0
    disk.opened().record(1)
    disk.recorder.close()
    assert link.is_symlink()
    assert (tmp_path / "else" / "precious.mp4").exists()


def test_a_full_disk_deletes_old_segments_then_pauses_then_resumes(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    old_segments(tmp_path, 500, 500)
    disk = Disk(tmp_path, min_free_bytes=1_000_000, segment_s=3600.0).opened()
    disk.record(10)
    assert len(kept(disk)) == 2
    disk.free = 999_999
    disk.record(round(25 * CHECK_EVERY_S))
    assert kept(disk) == []
    assert "recording paused: less than 1 MB are free" in caplog.text
    first = disk.names()
    assert len(first) == 1  # its frames are what was recorded until then
    recorded = frames_of(tmp_path / first[0])
    assert 10 <= recorded < 10 + 25 * CHECK_EVERY_S
    disk.free = 1_010_000  # not yet: it would soon be full again
    disk.record(round(25 * CHECK_EVERY_S) + 1)
    assert disk.names() == first
    disk.free = 2_000_000
    disk.record(round(25 * CHECK_EVERY_S) + 1)
    disk.recorder.close()
    second = [name for name in disk.names() if name not in first]
    assert len(second) == 1
    assert "recording resumed" in caplog.text
    missed = int(caplog.text.split("recording resumed without ")[1].split()[0])
    assert recorded + missed + frames_of(tmp_path / second[0]) == disk.frames
    assert disk.lost == missed


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_write_to_a_full_disk_pauses_instead_of_failing(tmp_path, monkeypatch, caplog, number):
    disk = Disk(tmp_path).opened()
    disk.record(3)

    def full(*_):
        raise RunError("Writing failed") from OSError(number, "no room")

    with monkeypatch.context() as patch:
        patch.setattr(Recorder, "write", full)
        disk.record(1)
    assert "recording paused: Writing failed" in caplog.text
    disk.record(25 * 6)
    disk.recorder.close()
    assert "recording resumed" in caplog.text
    assert sum(frames_of(tmp_path / name) for name in disk.names()) > 10


def test_a_disk_on_which_no_list_can_be_made_pauses_the_recording_until_there_is_room(tmp_path, monkeypatch, caplog):
    disk = Disk(tmp_path).opened()

    real = open

    def full(file, *more, **named):
        if str(file).endswith(".segments.lock"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(file, *more, **named)

    with monkeypatch.context() as patch:
        patch.setattr("builtins.open", full)
        disk.record(3)
    assert caplog.text.count("recording paused: Recording to") == 1
    disk.record(2 * round(25 * CHECK_EVERY_S))
    disk.recorder.close()
    assert "recording resumed" in caplog.text
    assert disk.lost == 3
    assert sum(frames_of(tmp_path / name) for name in disk.names()) == disk.frames - disk.lost


def test_any_other_failure_ends_the_recording(tmp_path, monkeypatch):
    disk = Disk(tmp_path).opened()

    def broken(*_):
        raise RunError("Writing failed") from OSError(errno.EIO, "broken")

    monkeypatch.setattr(Recorder, "write", broken)
    with pytest.raises(RunError, match="Writing failed"):
        disk.record(1)
    disk.recorder.close()


def test_impossible_settings_are_errors_at_open(tmp_path):
    with pytest.raises(InputError, match=r"must end in \.mp4, \.mkv, \.mov"):
        SegmentRecorder(RecorderSettings(path=str(tmp_path / "a.avi"), segment_s=5)).open(context())
    with pytest.raises(InputError, match="does not exist"):
        SegmentRecorder(RecorderSettings(path=str(tmp_path / "no" / "a.mp4"), segment_s=5)).open(context())
    with pytest.raises(ValueError, match="segment_s"):
        SegmentRecorder(RecorderSettings(path="a.mp4"))


def test_one_file_or_segments_by_the_settings(tmp_path):
    assert isinstance(make_recorder(RecorderSettings(path="a.mp4"), Outputs()), Recorder)
    assert isinstance(make_recorder(RecorderSettings(path="a.mp4", segment_s=9.0), Outputs()), SegmentRecorder)
