"""A short soak with several cameras, and checks that name each number that does not add up."""

import json
from dataclasses import replace

import pytest

from benchmarks.faulty_camera import CameraReport, FaultDone, FaultKind
from benchmarks.soak import main
from benchmarks.soak_cameras import CameraMeasured, CamerasMeasured, measured, scripts, verdict
from benchmarks.soak_verdict import MemorySample, Recording
from benchmarks.surroundings import Surroundings
from pipeline.runtime.camera_summaries import CameraSummary
from tests.benchmarks.test_soak_verdict import HELD

DID = CameraReport(
    (FaultDone(FaultKind.STALL, 10.0, 12.0, (64, 48)), FaultDone(FaultKind.CORRUPT, 20.0, 21.0, (64, 48))), 200, 3
)
LASTING = CameraMeasured(
    name="camera-0",
    captured=100,
    presented=97,
    inferred=40,
    dropped={"display: busy": 3},
    sink_dropped={"recorder": 4},
    seen=97,
    reconnects=1,
    recordings=[Recording("camera-0.mp4", 93, 93)],
    detection_lines=97,
    of_others=0,
    cut=(),
    did=DID,
    error="",
)
VISITOR = replace(
    LASTING,
    name="visitor-00",
    captured=5,
    presented=5,
    inferred=0,
    dropped={},
    sink_dropped={},
    seen=5,
    reconnects=0,
    recordings=[Recording("visitor-00.mp4", 5, 5)],
    detection_lines=5,
    did=None,
)

MEMORY = [MemorySample(0.25, 510e6, 500e6, 400e6, 5000), MemorySample(0.95, 540e6, 505e6, 401e6, 5000)]


def good(lasting=None, visitor=None, **changes):
    """Numbers of a run in which everything adds up, with changes of the run, or of one of its two cameras."""
    numbers = CamerasMeasured(
        duration_s=600.0,
        memory=MEMORY,
        before=HELD,
        after=HELD,
        cameras=[replace(LASTING, **(lasting or {})), replace(VISITOR, **(visitor or {}))],
        planned=2,
        changes=1,
        surroundings=(),
        error="",
    )
    return replace(numbers, **changes)


@pytest.mark.realtime
def test_a_short_soak_passes_every_check(tmp_path, capsys):
    numbers = tmp_path / "soak.json"
    arguments = ["--cameras", "2", "--changes", "2", "--minutes", "0.35", "--faults", "5", "--fake"]
    code = main([*arguments, "--json", str(numbers)])
    out = capsys.readouterr().out
    assert code == 0, out
    cameras = json.loads(numbers.read_text())["measured"]["cameras"]
    assert [camera["name"] for camera in cameras] == ["camera-0", "camera-1", "visitor-00", "visitor-01"]
    assert [len(camera["did"]["faults"]) for camera in cameras[:2]] == [5, 5]
    assert all(camera["captured"] > 20 for camera in cameras[:2])
    assert all(sum(item["decoded"] for item in camera["recordings"]) > 0 for camera in cameras[:2])


def test_numbers_that_add_up_pass():
    assert [check for check in verdict(good()) if not check.passed] == []


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("run", {"error": "the network failed"}, "the network failed"),
        ("run", {"visitor": {"error": "the disk is full"}}, "visitor-00: the disk is full"),
        ("changes", {"changes": 2}, "2 cameras added and removed expected: 1"),
        ("frames", {"lasting": {"captured": 101}}, "camera-0: captured 101 = presented 97 + dropped 3 was expected"),
        ("frames", {"visitor": {"seen": 4}}, "visitor-00: captured 5 = presented 5 + dropped 0 was expected, and 5"),
        ("results", {"lasting": {"inferred": 0}}, "camera-0: no result"),
        ("recorded", {"lasting": {"sink_dropped": {}}}, "camera-0: 97 recorded frames expected, 93 came"),
        ("recorded", {"visitor": {"recordings": [Recording("v.mp4", 5, 6)]}}, "v.mp4: 6 frames are in the file"),
        ("detections", {"lasting": {"detection_lines": 96}}, "camera-0: 97 lines expected, 96 came"),
        ("detections", {"visitor": {"of_others": 1}}, "visitor-00: 1 lines without its name"),
        ("memory", {"memory": [MEMORY[0], replace(MEMORY[1], tidy_bytes=511e6)]}, "+2.20 %"),
        ("threads", {"after": replace(HELD, threads=("MainThread", "other", "camera x"))}, "new: camera x"),
        ("faults", {"planned": 3}, "camera-0: 3 faults planned, 2 done"),
        ("faults", {"lasting": {"reconnects": 0}}, "camera-0: 1 reconnects expected, 0 came"),
    ],
)
def test_each_number_that_does_not_add_up_is_named(name, changes, words):
    failed = [check for check in verdict(good(**changes)) if not check.passed]
    assert [check.name for check in failed] == [name]
    assert words in failed[0].text


def test_each_cameras_faults_come_a_little_later_than_the_last_ones():
    first, second, third = scripts(3, 5, 50.0)
    assert [fault.kind for fault in first] == list(FaultKind)
    assert [fault.at_s for fault in first] == pytest.approx([2.5, 12.5, 22.5, 32.5, 42.5])
    assert [fault.at_s for fault in second] == pytest.approx([3.5, 13.5, 23.5, 33.5, 43.5])
    assert third[4].at_s + third[4].lasts_s == pytest.approx(44.5 + 2.2)


def test_files_of_a_camera_are_its_own(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "hall.jsonl").write_text('{"frame": 0, "camera": "hall"}\n{"frame": 1, "camera": "gate"}\n')
    found = measured(CameraSummary("hall", (), None), 3, None, Surroundings(tmp_path, 2.0))
    assert (found.captured, found.seen, found.detection_lines, found.of_others) == (0, 3, 2, 1)
    assert measured(CameraSummary("gate", (), OSError("full")), 0, None, Surroundings(tmp_path, 2.0)).error == "full"


@pytest.mark.parametrize("arguments", [["--cameras", "0"], ["--cameras", "2", "--changes", "-1"]])
def test_bad_usage_is_told_before_anything_starts(arguments, capsys):
    assert main(arguments) == 2
    assert "--cameras is at least 1 and --changes 0, got" in capsys.readouterr().err
