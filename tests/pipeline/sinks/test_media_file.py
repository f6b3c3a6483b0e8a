import errno
import os
from pathlib import Path

import pytest

from pipeline.sinks import media_file
from pipeline.sinks.media_file import MediaFile
from pipeline.sinks.paths import write_all
from tests.pipeline.fakes import FakeClock


def test_bytes_are_in_the_file_at_once(tmp_path):
    path = tmp_path / "x"
    file = MediaFile(path, FakeClock())
    assert file.write(b"hello") == 5
    assert path.read_bytes() == b"hello"
    assert file.seekable()
    assert file.seek(1) == 1
    assert file.write(b"E") == 1
    assert file.tell() == 2
    file.close()
    file.close()
    assert path.read_bytes() == b"hEllo"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_writes_after_the_first_failure_are_ignored():
    file = MediaFile(Path("/dev/full"), FakeClock())
    with pytest.raises(OSError, match="No space left"):
        file.write(b"hello")
    assert file.error is not None
    assert file.error.errno == errno.ENOSPC
    assert file.write(b"hello") == 5
    file.close()


def test_what_finalizing_overwrote_is_restored_when_it_fails(tmp_path, monkeypatch):
    def full(file, data):
        if data == b"index":
            raise OSError(errno.ENOSPC, "No space left on device")
        write_all(file, data)

    monkeypatch.setattr(media_file, "write_all", full)
    path = tmp_path / "x"
    file = MediaFile(path, FakeClock())
    file.write(b"head, body")
    file.seek(0)
    file.write(b"HEAD")
    file.begin_finalizing()
    for offset, data in [(0, b"moov"), (2, b"XX"), (9, b"yend")]:
        file.seek(offset)
        file.write(data)
    with pytest.raises(OSError, match="No space left"):
        file.write(b"index")
    file.seek(0)
    assert file.write(b"more") == 4
    file.close()
    assert path.read_bytes() == b"HEAD, bodyend"


def test_what_finalizing_overwrites_is_overwritten_after_the_rest_has_reached_the_disk(tmp_path, monkeypatch):
    path = tmp_path / "x"
    on_disk = []
    monkeypatch.setattr(os, "fsync", lambda _: on_disk.append(path.read_bytes()))
    file = MediaFile(path, FakeClock())
    file.write(b"head, body")
    file.begin_finalizing()
    file.write(b", index")
    assert on_disk == []
    file.seek(0)
    file.write(b"HEAD")
    file.close()
    assert on_disk == [b"head, body, index"]
    assert path.read_bytes() == b"HEAD, body, index"


def test_fsync_is_called_at_the_interval(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", synced.append)
    clock = FakeClock()
    file = MediaFile(tmp_path / "x", clock, sync_every_s=5.0)
    for step_s, count in [(4.0, 0), (1.0, 1), (4.9, 1), (0.1, 2), (60.0, 3), (0.0, 3)]:
        clock.now_s += step_s
        file.sync_if_due()
        assert len(synced) == count
    file.close()


def test_short_writes_are_continued(tmp_path, monkeypatch):
    class Short:
        def __init__(self):
            self.data = b""

        def write(self, view):
            self.data += bytes(view[:3])
            return min(3, len(view))

        def close(self):
            pass

    short = Short()
    monkeypatch.setattr("builtins.open", lambda *_, **__: short)
    file = MediaFile(tmp_path / "x", FakeClock())
    assert file.write(b"abcdefgh") == 8
    assert short.data == b"abcdefgh"
