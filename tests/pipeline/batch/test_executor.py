"""The same tests for processes and for Ray's actors: whole batches, and workers that are killed."""

import functools
import json
import os
import signal
import time

import pytest

from pipeline.batch.executor import Died, Finished, Progressed, Ready, Unusable
from pipeline.batch.inputs import recording_at
from pipeline.batch.leases import Drivers
from pipeline.batch.processes import ThisMachine
from pipeline.batch.provenance import versions
from pipeline.batch.stretches import Splitting
from pipeline.batch.worker import State
from pipeline.batch.worker_plan import WorkerPlan
from pipeline.errors import InputError
from tests.pipeline.batch.driver_process import Slow, run
from tests.pipeline.batch.fakes import BySum, Here, outputs_in, settings_of, summary_in, write_recordings

DEADLINE_S = 60.0
pytestmark = [pytest.mark.slow, pytest.mark.timeout(200)]


@pytest.fixture(params=["processes", "ray"])
def make_place(request, monkeypatch):
    """Makes a place of two workers."""
    if request.param == "processes":
        yield functools.partial(ThisMachine, 2)
        return
    ray = pytest.importorskip("ray")
    from pipeline.batch.ray_cluster import LOCAL, RayCluster

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    yield functools.partial(RayCluster, LOCAL, 2, settings_of(model={"device": "cpu"}))
    ray.shutdown()


def plan_of(results, make):
    return WorkerPlan(settings_of(), results.root, ("detections",), 1, None, versions(), make)


class Attempts:
    """Claims recordings of a folder and collects the events of an executor."""

    def __init__(self, results, executor):
        self.executor = executor
        self.folder = results
        self.drivers = Drivers(results.drivers, time.monotonic)
        self.drivers.beat()
        self.seen = []

    def claim(self, path):
        return self.folder.claim(recording_at(path.name, str(path)), self.drivers)

    def until(self, kind, worker):
        """The first event of a kind from a worker."""
        end_s = time.monotonic() + DEADLINE_S
        while time.monotonic() < end_s:
            for event in self.seen:
                if isinstance(event, kind) and event.worker == worker:
                    self.seen.remove(event)
                    return event
            self.seen += self.executor.events(0.1)
        raise AssertionError(f"no {kind.__name__} of worker {worker}: {self.seen}")


class Held(Slow):
    """Writes down its process; holds every frame while there is a file `hold`."""

    def __init__(self, results):
        super().__init__(results)
        self._results = results

    def open(self):
        (self._results / "pid").write_text(str(os.getpid()), encoding="ascii")


def make_held(plan):
    return Held(plan.results)


class Refused(BySum):
    def open(self):
        raise InputError("no weights")


def make_refused(plan):
    return Refused()


class Broken(BySum):
    def open(self):
        raise ValueError("boom")


def make_broken(plan):
    return Broken()


def fail(text):
    raise InputError(text)


def test_a_whole_batch_gives_what_one_process_gives(tmp_path, make_place):
    recordings = write_recordings(tmp_path / "in", "a.mp4", "d/b.mp4", "d/c.mp4")
    run(recordings, tmp_path / "whole", Here())
    run(recordings, tmp_path / "out", make_place())
    assert outputs_in(tmp_path / "out") == outputs_in(tmp_path / "whole")
    assert summary_in(tmp_path / "out") == summary_in(tmp_path / "whole")


def test_stretches_give_what_one_process_gives(tmp_path, make_place):
    recordings = write_recordings(tmp_path / "in", "a.mp4", "d/b.mp4", frames=40)
    run(recordings, tmp_path / "whole", Here())
    run(recordings, tmp_path / "out", make_place(), split=Splitting(0.5))
    assert outputs_in(tmp_path / "out") == outputs_in(tmp_path / "whole")
    assert summary_in(tmp_path / "out") == summary_in(tmp_path / "whole")
    timings = json.loads((tmp_path / "out/summary.json").read_text(encoding="ascii"))["timings"]
    assert timings["frames"] == 81


def test_workers_say_how_far_they_are_and_end_alone(tmp_path, results, make_place):
    """Worker 0 is killed in an attempt, worker 1 is stopped in one; both are started again and finish."""
    recordings = write_recordings(tmp_path / "in", "a.mp4", "b.mp4")
    hold, pids = results.root / "hold", []
    hold.touch()
    (results.state / "batch.json").touch()
    executor = make_place().executor(plan_of(results, make_held))
    attempts = Attempts(results, executor)

    def begin():
        for worker, name in ((0, "a.mp4"), (1, "b.mp4")):
            executor.start(worker)
            attempts.until(Ready, worker)
            pids.append(int((results.root / "pid").read_text(encoding="ascii")))
            executor.give(worker, attempts.claim(recordings / name))

    try:
        begin()
        for worker, total in ((0, 6), (1, 7)):
            while (progressed := attempts.until(Progressed, worker)).total is None:
                pass  # asked before it had opened the recording
            assert (progressed.frames, progressed.total) == (0, total)
        os.kill(pids[0], signal.SIGKILL)
        assert attempts.until(Died, 0).reason
        executor.stop(1)
        assert not [event for event in executor.events(0.0) if event.worker == 1]
        hold.unlink()
        begin()
        for worker, frames in ((0, 6), (1, 7)):
            outcome = attempts.until(Finished, worker).outcome
            assert (outcome.state, outcome.record["frames"]) == (State.DONE, frames)
        assert len(set(pids)) == 4
    finally:
        executor.close()


def test_a_network_that_cannot_be_loaded_is_said(results, make_place):
    executor = make_place().executor(plan_of(results, make_refused))
    try:
        executor.start(0)
        assert Attempts(results, executor).until(Unusable, 0).reason == "no weights"
    finally:
        executor.close()


def test_a_worker_that_crashes_says_why(results, make_place):
    executor = make_place().executor(plan_of(results, make_broken))
    try:
        executor.start(0)
        assert Attempts(results, executor).until(Died, 0).reason.endswith("ValueError: boom")
    finally:
        executor.close()


def test_a_function_is_called_where_workers_run(make_place):
    place = make_place()
    assert place.call(divmod, 17, 5) == (3, 2)
    with pytest.raises(InputError, match="not this one"):
        place.call(fail, "not this one")
