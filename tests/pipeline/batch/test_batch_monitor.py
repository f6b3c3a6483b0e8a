import json

import pytest

from pipeline.batch.batch_monitor import MOST_TROUBLES, MOST_WORKERS, BatchMonitor
from pipeline.batch.batch_state import BatchState, WorkerView
from tests.pipeline.fakes import FakeClock


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def status(clock):
    return BatchMonitor(clock)


def state(frames=0, to_do=None, workers=(), **counts):
    return BatchState(
        **{"inputs": 40, "done": 0, "failed": 0, **counts}, frames=frames, frames_to_do=to_do, workers=workers
    )


def test_before_the_first_state_everything_is_unknown(status, clock):
    clock.now_s += 2.5
    assert status.snapshot() == {
        **dict.fromkeys(("inputs", "done", "failed", "skipped", "frames", "worker_count", "busy"), 0),
        **dict.fromkeys(("frames_to_do", "fps", "left_s")),
        "elapsed_s": 2.5,
        "workers": [],
        "troubles": [],
    }


def test_numbers_and_workers(status, clock):
    workers = (WorkerView(0, "day1/a.mp4", 30, 120), WorkerView(1), WorkerView(2, "b.mp4", 5))
    clock.now_s += 10
    status.update(state(100, 1000, workers, done=3, failed=1))
    found = status.snapshot()
    assert [found[key] for key in ("inputs", "done", "failed", "skipped")] == [40, 3, 1, 36]
    assert [found[key] for key in ("frames", "frames_to_do", "fps", "left_s")] == [100, 1000, 10.0, 90.0]
    assert (found["busy"], found["worker_count"]) == (2, 3)
    assert found["workers"] == [
        {"worker": 0, "name": "day1/a.mp4", "frames": 30, "total": 120},
        {"worker": 1, "name": "", "frames": 0, "total": None},
        {"worker": 2, "name": "b.mp4", "frames": 5, "total": None},
    ]


def test_the_rate_is_that_of_the_last_half_minute(status, clock):
    for frames in (0, 100, 200, 300, 1300):  # at 0, 10, 20, 30, 40 s
        status.update(state(frames, 2000))
        clock.now_s += 10
    assert status.fps == (1300 - 100) / 30
    assert status.left_s == pytest.approx(700 / 40)


def test_the_rate_is_unknown_where_frames_are_taken_back(status, clock):
    for frames in (0, 500, 490):  # an attempt was given up
        status.update(state(frames, 1000))
        clock.now_s += 40
    assert (status.fps, status.left_s) == (None, None)


def test_the_time_left_is_unknown_without_a_total(status, clock):
    clock.now_s += 10
    status.update(state(100))
    assert (status.fps, status.left_s) == (10.0, None)


def test_bad_news_come_newest_first(status):
    status.event("ready", worker=0)
    status.event("again", name="a.mp4", reason="locked", attempt=1, delay_s=5.0)
    status.event("done", name="b.mp4", frames=3, objects=4)
    status.event("worker_ended", worker=2, reason="SIGKILL")
    status.event("failed", name="caf\udce9.mp4", reason="no video", attempts=1)
    troubles = status.snapshot()["troubles"]
    assert [one.pop("time")[-6:] for one in troubles] == ["+00:00"] * 3
    assert troubles == [
        {"event": "failed", "name": "caf\udce9.mp4", "reason": "no video", "attempts": 1},
        {"event": "worker_ended", "worker": 2, "reason": "SIGKILL"},
        {"event": "again", "name": "a.mp4", "reason": "locked", "attempt": 1, "delay_s": 5.0},
    ]


def test_a_thousand_workers_and_many_failures_make_no_long_lists(status):
    for number in range(1000):
        status.event("failed", name=f"{number}.mp4", reason="no video", attempts=1)
    workers = [WorkerView(number, f"clip{number}.mp4", 1, 2) for number in range(1000)]
    status.update(state(50, 100, workers, inputs=100_000))
    found = status.snapshot()
    assert (len(found["workers"]), found["busy"], found["worker_count"]) == (MOST_WORKERS, 1000, 1000)
    assert [one["name"] for one in found["troubles"]] == [f"{number}.mp4" for number in range(999, 979, -1)]
    assert len(found["troubles"]) == MOST_TROUBLES
    assert len(json.dumps(found)) < 20_000
