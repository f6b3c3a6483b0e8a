"""Segments: no frame is lost between them, the oldest are deleted, nothing else is, and a full disk pauses."""

import errno
import json
import logging
import os

import pytest

from pipeline.errors import InputError, RunError
from pipeline.settings.output_settings import RecorderSettings
from pipeline.sinks.paths import Outputs
from pipeline.sinks.recorder import Recorder
from pipeline.sinks.segments import CHECK_EVERY_S, SAVE_EVERY_S, SegmentRecorder, make_recorder
from tests.pipeline.sinks.presentations import context
from tests.pipeline.sinks.segment_disk import Disk, frames_of, kept, old_segments, others_are_there, with_others


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


def test_numbering_continues_where_all_segments_of_earlier_runs_were_deleted(tmp_path):
    earlier = Disk(tmp_path).opened()
    earlier.record(60)
    earlier.recorder.close()
    for name in earlier.names():
        (tmp_path / name).unlink()
    disk = Disk(tmp_path).opened()  # the clock begins at the same time, as without a battery after each start
    disk.record(1)
    disk.recorder.close()
    assert disk.names() == ["kiosk-20260314-150926-0004.mp4"]


def test_a_list_without_the_highest_number_as_earlier_versions_wrote_it_is_read(tmp_path):
    old_segments(tmp_path, 10, 10, 10)
    list_file = tmp_path / ".kiosk.mp4.segments"
    stored = json.loads(list_file.read_bytes())
    assert "number" not in stored
    disk = Disk(tmp_path).opened()
    disk.record(1)
    disk.recorder.close()
    assert disk.names()[-1].endswith("-0004.mp4")


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
