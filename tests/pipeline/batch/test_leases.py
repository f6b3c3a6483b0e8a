"""Heartbeats: whose claims hold, and whose may be taken over."""

import errno
import os
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from pipeline.batch.leases import BEAT_S, LEASE_S, Drivers
from tests.pipeline.fakes import FakeClock


@pytest.fixture
def folder(tmp_path):
    return tmp_path


def driver(folder, clock=None):
    one = Drivers(folder, clock or FakeClock())
    one.beat()
    return one


def test_a_driver_is_gone_when_its_heartbeat_stands_still(folder):
    clock = FakeClock()
    other, own = Drivers(folder, clock), driver(folder, clock)
    other.beat()
    assert not own.is_gone(other.token)
    clock.now_s += LEASE_S - 1
    assert not own.is_gone(other.token)
    other.beat()
    clock.now_s += 1
    assert not own.is_gone(other.token)  # it has moved
    clock.now_s += LEASE_S - 1
    assert not own.is_gone(other.token)
    clock.now_s += 1
    assert own.is_gone(other.token)
    assert not own.is_gone(own.token)
    assert own.is_gone("0123456789abcdef")


def test_a_heartbeat_is_written_when_it_is_due(folder):
    clock = FakeClock()
    drivers = Drivers(folder, clock)
    drivers.beat()
    path = folder / drivers.token
    before = path.stat().st_mtime_ns, path.stat().st_ino
    clock.now_s += BEAT_S - 0.1
    drivers.beat()
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == before
    clock.now_s += 0.1
    drivers.beat()
    assert (path.stat().st_mtime_ns, path.stat().st_ino) != before


def test_a_heartbeat_that_another_driver_reads_is_written_a_little_later(folder, monkeypatch):
    """Windows does not replace a file that is open."""

    def refuse(source, target):
        raise PermissionError(errno.EACCES, "Access is denied", str(source))

    clock = FakeClock()
    own = driver(folder, clock)
    before = (folder / own.token).read_bytes()
    clock.now_s += BEAT_S
    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", refuse)
        own.beat()
        with pytest.raises(PermissionError):  # the first one says that the folder cannot be written
            driver(folder)
    assert (folder / own.token).read_bytes() == before
    own.beat()
    assert (folder / own.token).read_bytes() != before
    assert {path.suffix for path in folder.iterdir()} == {"", ".card"}


@pytest.mark.skipif(os.name != "posix", reason="only there can a process be asked for")
def test_a_driver_of_another_mac_of_the_same_name_is_not_taken_for_one_that_has_ended(folder, monkeypatch):
    """macOS has no /proc that tells two machines apart."""

    def none(path, *_, **__):
        raise FileNotFoundError(errno.ENOENT, "No such file or directory", str(path))

    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    monkeypatch.setattr(Path, "read_text", none)
    monkeypatch.setattr(os, "readlink", none)
    monkeypatch.setattr(uuid, "getnode", lambda: 1)
    with monkeypatch.context() as patched:
        patched.setattr(os, "getpid", lambda: ended.pid)
        other = driver(folder)
    assert driver(folder).is_gone(other.token)
    monkeypatch.setattr(uuid, "getnode", lambda: 2)
    assert not driver(folder).is_gone(other.token)


@pytest.mark.skipif(os.name != "posix", reason="only there can a process be asked for")
def test_a_driver_of_this_machine_is_gone_as_soon_as_its_process_is(folder):
    code = (
        "import sys; from pathlib import Path; from pipeline.batch.leases import Drivers\n"
        "drivers = Drivers(Path(sys.argv[1]), lambda: 0.0); drivers.beat()\n"
        "print(drivers.token, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        token = process.stdout.readline().strip()
        own = driver(folder)
        assert not own.is_gone(token)
        process.kill()
        process.stdin.close()
        process.wait(30)
    assert own.is_gone(token)
    own.remove_ended()
    assert not (folder / token).exists()
