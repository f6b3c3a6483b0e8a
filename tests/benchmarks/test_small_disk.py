"""A small disk is full until it is emptied, mounted or not, and another process's files do not make room."""

import errno
import os
import threading

import pytest

from benchmarks.small_disk import SmallDisk
from pipeline.sinks.paths import free_bytes

SIZE = 4 << 20
DEADLINE_S = 30.0


def until(condition):
    """Wait until it holds."""
    waited = threading.Event()
    for _ in range(int(DEADLINE_S / 0.02)):
        if condition():
            return
        waited.wait(0.02)
    raise AssertionError("not within the deadline")


@pytest.fixture(params=["as here", "not mounted"])
def disk(request, tmp_path, monkeypatch):
    if request.param == "not mounted":
        monkeypatch.setenv("PATH", str(tmp_path))  # there is no mount
    with SmallDisk(tmp_path / "disk", SIZE) as made:
        yield made


def test_it_stays_full_when_somebody_makes_room_and_is_empty_afterwards(disk):
    own = disk.folder / "own"
    own.write_bytes(bytes(1 << 20))
    assert free_bytes(disk.folder) == SIZE - (1 << 20)
    disk.fill(500_000)
    until(lambda: free_bytes(disk.folder) <= 500_000)
    own.unlink()
    until(lambda: free_bytes(disk.folder) <= 500_000)
    disk.empty()
    assert free_bytes(disk.folder) == SIZE
    assert disk.fills == 1


def test_other_folders_have_the_space_that_they_have(disk, tmp_path):
    disk.fill(0)
    assert free_bytes(tmp_path) > 0


def test_a_mounted_one_that_is_full_takes_nothing_and_any_other_says_what_it_is(tmp_path):
    with SmallDisk(tmp_path / "disk", SIZE) as disk:
        disk.fill(0)
        until(lambda: free_bytes(disk.folder) == 0)
        if not disk.kind.startswith("tmpfs"):
            assert "cannot be mounted" in disk.kind
            return
        with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
            (disk.folder / "more").write_bytes(bytes(1 << 20))
