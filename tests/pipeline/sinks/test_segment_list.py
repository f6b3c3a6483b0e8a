"""The list of segments: what is not in it is never deleted, and one recorder holds it at a time."""

import errno
import json
import os
import re
import sys
from types import SimpleNamespace

import pytest

from pipeline.sinks.paths import Inputs, Outputs
from pipeline.sinks.segments import CHECK_EVERY_S, SegmentList
from tests.pipeline.fakes import FakeClock
from tests.pipeline.sinks.segment_disk import OTHERS, Disk, frames_of, kept, old_segments, others_are_there, with_others

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
