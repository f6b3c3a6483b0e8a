"""One recording after the other with one network: the results of single runs, and what fails."""

import json
import os

import pytest

from pipeline.batch import worker as worker_module
from pipeline.batch.inputs import recording_at
from pipeline.batch.leases import Drivers
from pipeline.batch.worker import State, Worker
from pipeline.batch.worker_plan import (
    WorkerPlan,
)
from pipeline.errors import InputError
from pipeline.runtime.stream import Stream
from tests.pipeline.batch.fakes import BySum, plan_of, settings_of
from tests.pipeline.fakes import FakeClock, FakeSegmenter
from tests.pipeline.sources.clips import write_clip


@pytest.fixture
def attempt(results):
    """Claims a recording and lets a worker make the attempt."""
    drivers = Drivers(results.drivers, FakeClock())
    drivers.beat()

    def attempt(worker, name, path, report=lambda frames, total: None):
        claim = results.claim(recording_at(name, str(path)), drivers)
        outcome = worker.run(claim, report)
        results.release(claim)
        return outcome

    return attempt


def test_the_results_are_those_of_single_runs(tmp_path, results, attempt):
    worker = Worker(plan_of(results.root))
    for number in (1, 2):
        path = write_clip(tmp_path / f"{number}.mp4", 5 + number, sound_s=0.2)
        single = {"output": {"path": str(tmp_path / "single.mp4"), "overwrite": True, "min_free_bytes": 0}}
        single["detections"] = {"path": str(tmp_path / "single.jsonl")}
        with Stream(settings_of(source={"uri": str(path)}, **single), segmenter=BySum()) as stream:
            frames = list(stream)
        outcome = attempt(worker, f"day/{number}.mp4", path)
        assert outcome.state is State.DONE
        for name, suffix in (("single.mp4", ""), ("single.jsonl", ".jsonl")):
            assert (results.root / f"day/{number}.mp4{suffix}").read_bytes() == (tmp_path / name).read_bytes()
        assert outcome.record["frames"] == len(frames) == 5 + number
        assert outcome.record["objects"] == sum(len(frame.instances) for frame in frames)


def test_the_record_says_what_a_recording_gave(tmp_path, results, attempt):
    line = {"name": "door", "points": [[0.5, 0.0], [0.5, 1.0]]}
    worker = Worker(plan_of(results.root, lines=[line], outputs=("detections",)))
    path = write_clip(tmp_path / "a.avi", 6)
    outcome = attempt(worker, "a.avi", path)
    record = dict(outcome.record)
    timings = record.pop("timings")
    assert set(timings) == {"wall_s", "inference_p50_s", "display_fps", "host", "finished_at_s"}
    assert record.pop("partial_hash")
    assert record == {
        "name": "a.avi",
        "source": str(path),
        "bytes": path.stat().st_size,
        "outputs": {"detections": "a.avi.jsonl"},
        "frames": 6,
        "objects": record["objects"],
        "width": 96,
        "height": 64,
        "fps": 25.0,
        "duration_s": pytest.approx(0.24),
        "seen": record["seen"],
        "lines": [{"name": "door", "crossed_in": 0, "crossed_out": 0}],
        "zones": [],
        "warnings": [],
    }
    lines = (results.root / "a.avi.jsonl").read_text(encoding="ascii").splitlines()
    objects = [one for line in lines for one in json.loads(line)["objects"]]
    assert record["objects"] == len(objects) > 0
    assert sum(record["seen"].values()) == len({one["track_id"] for one in objects} - {None})
    assert not (results.root / "a.avi.mp4").exists()


def test_the_network_is_opened_once_and_closed_at_the_end(tmp_path, results, attempt):
    opened = []
    made = FakeSegmenter(opening=lambda: opened.append(1))
    worker = Worker(plan_of(results.root, make=lambda plan: made))
    for name in ("a.mp4", "b.mp4"):
        attempt(worker, name, write_clip(tmp_path / name, 3))
    assert (len(opened), made.closed) == (1, 0)
    worker.close()
    assert made.closed == 1


def test_progress_says_frames_and_total(tmp_path, results, attempt, monkeypatch):
    monkeypatch.setattr(worker_module, "REPORT_EVERY_S", 0.0)
    reports = []
    attempt(Worker(plan_of(results.root)), "a.mp4", write_clip(tmp_path / "a.mp4", 4), lambda *now: reports.append(now))
    assert reports == [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4)]


def test_a_recording_that_is_no_video_fails_for_good(tmp_path, results, attempt):
    (tmp_path / "a.mp4").write_bytes(b"no video at all")
    outcome = attempt(Worker(plan_of(results.root)), "a.mp4", tmp_path / "a.mp4")
    assert (outcome.state, outcome.may_pass) == (State.FAILED, False)
    assert "not a readable video" in outcome.reason
    assert list(results.work.iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize("is_link", [False, True])
def test_a_named_pipe_fails_for_good_without_being_opened(tmp_path, results, attempt, monkeypatch, is_link):
    """Opening one waits for a writer."""
    path = tmp_path / "pipe.mp4"
    os.mkfifo(path)
    if is_link:
        path = tmp_path / "link.mp4"
        path.symlink_to("pipe.mp4")
    monkeypatch.setattr(worker_module, "partial_hash", lambda path: pytest.fail("opened"))
    outcome = attempt(Worker(plan_of(results.root)), "a.mp4", path)
    assert (outcome.state, outcome.may_pass) == (State.FAILED, False)
    assert outcome.reason == "is not a regular file but a folder, a pipe, a socket or a device"


@pytest.mark.skipif(os.name != "posix", reason="needs links")
def test_a_link_to_a_recording_is_segmented(tmp_path, results, attempt):
    write_clip(tmp_path / "elsewhere.mp4", 3)
    (tmp_path / "a.mp4").symlink_to("elsewhere.mp4")
    assert attempt(Worker(plan_of(results.root)), "a.mp4", tmp_path / "a.mp4").state is State.DONE


@pytest.mark.parametrize("how", ["missing", "locked"])
def test_a_recording_that_cannot_be_read_may_come_back(tmp_path, results, attempt, how, monkeypatch):
    path = tmp_path / "a.mp4"
    if how == "locked":
        write_clip(path, 3)

        def locked(path):
            raise PermissionError(13, "Permission denied", path)

        monkeypatch.setattr(worker_module, "partial_hash", locked)
    outcome = attempt(Worker(plan_of(results.root)), "a.mp4", path)
    assert (outcome.state, outcome.may_pass) == (State.FAILED, True)
    expected = {"missing": "No such file or directory", "locked": "Permission denied"}[how]
    assert outcome.reason == expected


@pytest.mark.parametrize("after", [0, 2])
def test_a_recording_that_grows_is_given_up_at_once(tmp_path, results, attempt, monkeypatch, after):
    """An endless recording is one that grows as fast as it is read."""
    monkeypatch.setattr(worker_module, "REPORT_EVERY_S", 0.0)
    path = write_clip(tmp_path / "a.mp4", 6)

    def grow(frames, total):
        if frames == after:
            with open(path, "ab") as file:
                file.write(b"more")

    outcome = attempt(Worker(plan_of(results.root)), "a.mp4", path, grow)
    assert (outcome.state, outcome.may_pass) == (State.FAILED, True)
    assert "is it still being written?" in outcome.reason
    assert list(results.work.iterdir()) == []
    assert not (results.root / "a.mp4").exists()


def test_a_failure_of_the_network_may_pass(tmp_path, results, attempt):
    def fail(index):
        raise RuntimeError("out of memory")

    worker = Worker(plan_of(results.root, make=lambda plan: FakeSegmenter(before=fail)))
    outcome = attempt(worker, "a.mp4", write_clip(tmp_path / "a.mp4", 3))
    assert (outcome.state, outcome.may_pass) == (State.FAILED, True)
    assert outcome.reason == "inference failed: RuntimeError: out of memory"


def test_the_second_of_two_attempts_is_lost(tmp_path, results):
    drivers = Drivers(results.drivers, FakeClock())
    drivers.beat()
    recording = recording_at("a.mp4", str(write_clip(tmp_path / "a.mp4", 3)))
    claims = [results.claim(recording, drivers) for _ in range(2)]
    worker = Worker(plan_of(results.root))
    states = [worker.run(claim, lambda *_: None).state for claim in claims]
    assert states == [State.DONE, State.LOST]
    assert list(results.work.iterdir()) == []


def test_warnings_of_source_and_sinks_are_kept(tmp_path, results, attempt):
    path = write_clip(tmp_path / "a.mp4", 40, options={"g": "5"})
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 600] = b"\xff" * 600
    path.write_bytes(bytes(content))
    outcome = attempt(Worker(plan_of(results.root, outputs=("detections",))), "a.mp4", path)
    assert outcome.state is State.DONE
    assert any("corrupt data" in text for text in outcome.record["warnings"])


def test_another_version_of_a_library_stops_a_worker(results):
    plan = plan_of(results.root)
    with pytest.raises(InputError, match="other versions than the batch"):
        Worker(WorkerPlan(plan.settings, plan.results, plan.outputs, 1, None, {"numpy": "0.1"}, plan.make_segmenter))
