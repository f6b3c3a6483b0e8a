"""A short endurance test without a network, and checks that name what did not happen."""

import json
import logging
from types import SimpleNamespace

import pytest

from benchmarks.archivist import Archived
from benchmarks.endurance import Endurance, RecorderLog, Troubles
from benchmarks.jumping_clock import JumpingClock
from benchmarks.small_disk import SmallDisk
from benchmarks.soak import main
from benchmarks.soak_verdict import Recording
from benchmarks.watchers import WatchReport
from pipeline.sinks import segments


@pytest.mark.realtime
def test_a_short_run_passes_every_check(tmp_path, capsys):
    numbers = tmp_path / "soak.json"
    arguments = ["--cameras", "2", "--rounds", "2", "--changes", "2", "--minutes", "0.6", "--faults", "5", "--fake"]
    code = main([*arguments, "--json", str(numbers)])
    out = capsys.readouterr().out
    assert code == 0, out
    checks = {check["name"]: check for check in json.loads(numbers.read_text())["checks"]}
    assert {"disk", "clock", "privacy", "network", "viewers"} <= set(checks)
    assert "filled 2 times expected: 2" in checks["disk"]["text"]


@pytest.mark.parametrize("rounds", ["-1", "3"])
def test_rounds_that_are_too_short_are_told_before_anything_starts(rounds, capsys):
    assert main(["--cameras", "2", "--minutes", "0.5", "--faults", "5", "--rounds", rounds]) == 2
    assert "--rounds goes with --cameras and needs 15 s for each, got" in capsys.readouterr().err


def test_rounds_need_cameras(capsys):
    assert main(["--rounds", "1"]) == 2
    assert "with no cameras" in capsys.readouterr().err


SUMMARY = SimpleNamespace(
    restarts=2,
    cameras=[SimpleNamespace(runs=[SimpleNamespace(stats=SimpleNamespace(presented=100))])] * 2,
)


class Reporter:
    """An archivist or viewers, after the run."""

    def __init__(self, reported):
        self.reported = reported

    def report(self, timeout_s=0.0):
        return self.reported


@pytest.fixture
def troubles(tmp_path):
    """Of two rounds, after the run; everything adds up."""
    disk, clock = SmallDisk(tmp_path / "disk", 10**6), JumpingClock()
    archivist = Reporter([Archived("hall", clock.year_after(1), 1, Recording("a.mp4", 50, 50), 0)])
    watchers = Reporter(WatchReport((10, 10, 90), (1, 1, 1), 4))
    made = Troubles(disk, clock=clock, archivist=archivist, watchers=watchers)
    disk.folder.mkdir()
    (disk.folder / "holiday.mp4").write_bytes(b"x")
    disk.kind, disk.fills = "disk of 1 MB", 2
    made.log.pauses, made.log.resumed, made.log.deleted = 3, 3, 5
    made.network.done, clock.jumps = 2, 2
    return made


def failed(troubles):
    endurance = Endurance(troubles.disk.folder.parent, 60.0, 2, fake=True, troubles=troubles)
    endurance.end()
    endurance.recordings("hall")
    return {check.name: check.text for check in endurance.checks(SUMMARY) if not check.passed}


def test_numbers_that_add_up_pass(troubles):
    assert failed(troubles) == {}


def test_each_trouble_that_did_not_happen_or_was_not_survived_is_named(troubles):
    disk, log, network, watchers = troubles.disk, troubles.log, troubles.network, troubles.watchers
    disk.fills = 1
    assert "filled 2 times expected: 1" in failed(troubles)["disk"]
    disk.fills, log.pauses = 2, 1
    assert "at least as many pauses: 1" in failed(troubles)["disk"]
    log.pauses = 2
    (disk.folder / "holiday.mp4").unlink()
    assert "somebody else's file is GONE" in failed(troubles)["disk"]
    (disk.folder / "holiday.mp4").touch()
    network.done = 3
    assert set(failed(troubles)) == {"network"}
    network.done, watchers.reported = 2, WatchReport((10, 9, 90), (1, 1, 1), 4)
    assert set(failed(troubles)) == {"viewers"}
    watchers.reported = WatchReport((10, 10, 90), (1, 2, 1), 4)
    assert set(failed(troubles)) == {"viewers"}
    troubles.archivist.reported = [Archived("hall", 2026, 1, Recording("a.mp4", 50, 50), 1)]
    assert set(failed(troubles)) == {"viewers", "clock", "privacy"}


def test_the_log_of_the_recorders_counts_pauses_and_names_files_that_were_cut():
    with RecorderLog() as log:
        segments.log.warning("recording paused: less than 12 MB are free in /tmp/disk")
        segments.log.warning("recording paused: Writing /tmp/a b/hall-20260314-150926-0001.mp4 failed: No space.")
        segments.log.warning("recording resumed without 3 frames")
        segments.log.info("deleted the old recording /tmp/a b/hall-20260314-150916-0000.mp4")
    segments.log.warning("recording paused: afterwards")
    assert (log.pauses, log.resumed, log.deleted) == (2, 1, 1)
    assert log.cut == {"hall-20260314-150926-0001.mp4"}
    assert segments.log.level == logging.NOTSET
