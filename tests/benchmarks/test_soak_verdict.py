"""The verdict passes numbers that add up, and names each one that does not."""

from dataclasses import replace

import pytest

from benchmarks.faulty_camera import FaultDone, FaultKind
from benchmarks.soak_verdict import Footprint, Measured, MemorySample, Recording, verdict
from benchmarks.watchers import WatchReport

HELD = Footprint(("MainThread", "other"), ("/dev/null", "socket:[N]"), 9)
FAULTS = (
    FaultDone(FaultKind.STALL, 10.0, 12.0, (64, 48)),
    FaultDone(FaultKind.SIZE, 20.0, 20.0, (80, 48)),
    FaultDone(FaultKind.AWAY, 30.0, 32.0, (96, 54)),
)


def memory(warm, last):
    """Samples at the start, in the warm part, between, and in the last part; in megabytes when tidy."""
    parts = ((0.0, 250), (0.2, warm - 4), (0.25, warm), (0.29, warm + 4), (0.6, 900), (0.9, last - 1), (0.99, last + 1))
    return [MemorySample(share, mb * 1e6 + 10e6, mb * 1e6, mb * 1e6 - 100e6, 5000) for share, mb in parts]


def good(**changes):
    """Numbers of a run in which everything adds up."""
    measured = Measured(
        duration_s=600.0,
        captured=100,
        presented=97,
        inferred=40,
        dropped={"display: busy": 2, "inference: run stopped": 1},
        sink_dropped={"recorder": 4},
        seen=97,
        with_ids=50,
        reconnects=2,
        reconnected_at_s=[12.5, 32.5],
        sizes=[(20.1, (80, 48)), (32.5, (96, 54))],
        planned=3,
        faults=FAULTS,
        sent=103,
        recordings=[Recording("a.mp4", 60, 60), Recording("b.mp4", 33, 33)],
        detection_lines=97,
        memory=memory(500, 505),
        before=HELD,
        after=HELD,
        watched=WatchReport((90, 80), (1, 1), 12),
    )
    return replace(measured, **changes)


def test_numbers_that_add_up_pass():
    assert [check for check in verdict(good()) if not check.passed] == []


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("run", {"error": "the recorder failed"}, "the recorder failed"),
        ("frames", {"captured": 101}, "captured 101 = presented 97 + dropped 3 was expected"),
        ("frames", {"dropped": {"display: busy": 2}}, "dropped 2 was expected (2 display: busy)"),
        ("frames", {"seen": 96}, "97 received by the caller: 96 came"),
        ("sent", {"sent": 99}, "no more than the 99 sent: 100 came"),
        ("tracking", {"with_ids": 0}, "0 came"),
        ("recorded", {"sink_dropped": {}}, "= 97 expected, 93 came"),
        ("playable", {"recordings": [], "sink_dropped": {"recorder": 97}}, "all of 0 files"),
        (
            "playable",
            {"recordings": [Recording("a.mp4", 60, 61), Recording("b.mp4", 33, 33)]},
            "a.mp4: 61 frames are in the file, 60 could be decoded",
        ),
        ("playable", {"recordings": [Recording("a.mp4", 93, 93), Recording("b.mp4", 0, 0, "no file")]}, "b.mp4: no fi"),
        ("detections", {"detection_lines": 96}, "= 97 expected, 96 lines came"),
        ("memory", {"memory": memory(500, 511)}, "500.0 MB when warm, 511.0 MB at the end, +2.20 %"),
        ("memory", {"memory": memory(500, 505)[:5]}, "nan"),
        ("threads", {"after": replace(HELD, threads=("MainThread", "other", "pump x"))}, "3 came; new: pump x"),
        ("handles", {"after": replace(HELD, handles=(*HELD.handles, "socket:[N]"))}, "3 came; new: socket:[N]"),
        ("system threads", {"after": replace(HELD, system_threads=10)}, "9 expected, 10 came"),
        ("faults", {"planned": 4}, "4 planned, the camera did 3"),
        ("faults seen", {"reconnected_at_s": [12.5, 13.5]}, "fault 3 (away): a reconnect was expected"),
        ("faults seen", {"reconnected_at_s": [20.5, 32.5]}, "fault 1 (stall): a reconnect was expected within 10.0 s"),
        ("faults seen", {"sizes": [(20.1, (80, 48))]}, "fault 3 (away): frames of (96, 54) were expected"),
        ("viewers", {"watched": WatchReport((90, 8), (1, 1), 12)}, "at least 9 pictures each"),
        ("viewers", {"watched": WatchReport((90, 80), (1, 2), 12)}, "[1, 2] connections came"),
    ],
)
def test_each_number_that_does_not_add_up_is_named(name, changes, words):
    failed = [check for check in verdict(good(**changes)) if not check.passed]
    assert [check.name for check in failed] == [name]
    assert words in failed[0].text


def test_memory_of_a_short_run_is_told_but_not_judged():
    checks = {check.name: check for check in verdict(good(duration_s=30.0, memory=memory(500, 600)))}
    assert checks["memory"].passed
    assert "not judged" in checks["memory"].text
    assert "+20.00 %" in checks["memory"].text
