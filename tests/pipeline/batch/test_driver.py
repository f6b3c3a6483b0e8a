"""What becomes of each recording: retries, failures, workers that end or stand still, other drivers."""

import itertools

import pytest

from pipeline.batch.batch_plan import plan_batch
from pipeline.batch.driver import Driver
from pipeline.batch.executor import Died, Progressed, Ready, Unusable
from pipeline.batch.leases import LEASE_S
from pipeline.batch.patience import Patience
from pipeline.batch.stretches import Splitting
from pipeline.batch.worker import State
from pipeline.errors import InputError, RunError
from tests.pipeline.batch.fakes import BOTH, InProcess
from tests.pipeline.batch.scripted_driver import another, commits, cuts, fails, leftovers, units


def test_all_are_done_the_largest_first(scene):
    driver = scene.run(scene.recordings(), commits(scene.folder), workers=2)
    assert scene.executor.given == ["c", "b", "a"]
    assert (driver.done, driver.failed) == ({"a", "b", "c"}, set())
    assert scene.executor.started == [0, 1]
    assert scene.executor.closed
    assert leftovers(scene.folder) == []
    last = scene.states[-1]
    assert (last.inputs, last.done, last.skipped, last.failed, last.frames) == (3, 3, 0, 0, 30)


def test_no_more_workers_are_started_than_there_is_to_do(scene):
    scene.run(scene.recordings("a"), commits(scene.folder), workers=8)
    assert scene.executor.started == [0]


def test_a_second_start_does_nothing_again(scene):
    recordings = scene.recordings()
    scene.run(recordings, commits(scene.folder))
    driver = scene.run(recordings, commits(scene.folder))
    assert scene.executor.started == []
    assert driver.done == {"a", "b", "c"}


def test_a_limit_takes_the_first_by_name(scene):
    recordings = scene.recordings()
    driver = scene.run(recordings, commits(scene.folder), limit=2)
    assert driver.done == {"a", "b"}
    assert driver.state().skipped == 1
    assert scene.run(recordings, commits(scene.folder), limit=2).done == {"a", "b", "c"}


def test_what_may_pass_is_tried_again_later_and_later(scene):
    times = []

    def script(worker, claim):
        times.append(scene.clock.now_s)
        if len(times) < 3:
            return fails("locked", True)(worker, claim)
        return commits(scene.folder)(worker, claim)

    driver = scene.run(scene.recordings("a"), script, patience=Patience(attempts=3, first_delay_s=10.0))
    assert driver.done == {"a"}
    first, second = times[1] - times[0], times[2] - times[1]
    assert 10.0 <= first <= 10.0 + 2 * scene.advance_s
    assert 30.0 <= second <= 30.0 + 2 * scene.advance_s
    assert scene.happened("again", "delay_s") == [10.0, 30.0]
    assert scene.folder.failed() == set()


def test_others_go_on_while_one_waits(scene):
    def script(worker, claim):
        if claim.recording.name == "c":
            return fails("locked", True)(worker, claim)
        return commits(scene.folder)(worker, claim)

    driver = scene.run(scene.recordings(), script, patience=Patience(attempts=2, first_delay_s=100.0))
    assert scene.executor.given == ["c", "b", "a", "c"]
    assert (driver.done, driver.failed) == ({"a", "b"}, {"c"})


def test_what_does_not_pass_is_set_aside_with_its_reason(scene):
    recordings = scene.recordings("a")
    driver = scene.run(recordings, fails("no video", False))
    assert driver.failed == {"a"}
    assert scene.executor.given == ["a"]
    assert scene.folder.failure_of(recordings[0]) == {"name": "a", "reason": "no video", "attempts": 1}
    assert leftovers(scene.folder) == []
    assert scene.run(recordings, commits(scene.folder)).failed == {"a"}
    assert scene.executor.given == []


def test_retry_failed_tries_again(scene):
    recordings = scene.recordings("ab")
    scene.run(recordings, fails("no video", False))
    driver = scene.run(recordings, commits(scene.folder), retry_failed=True)
    assert (driver.done, driver.failed) == ({"a", "b"}, set())
    assert scene.folder.failed() == set()


def test_a_recording_that_came_back_in_another_size_is_taken_as_it_is(scene):
    recordings = scene.recordings("a")

    def script(worker, claim):
        if claim.recording.size == 1:
            (scene.root / "a").write_bytes(b"whole by now")
            return fails("still being written", True)(worker, claim)
        return commits(scene.folder)(worker, claim)

    driver = scene.run(recordings, script)
    assert driver.done == {"a"}
    assert driver.recordings["a"].size == 12
    assert scene.folder.is_done(driver.recordings["a"])


def test_a_killed_worker_costs_one_recording_and_is_replaced(scene):
    def script(worker, claim):
        if claim.recording.name == "b":
            return [Died(worker, "SIGKILL")]
        return commits(scene.folder)(worker, claim)

    driver = scene.run(scene.recordings(), script, patience=Patience(attempts=2, first_delay_s=1.0))
    assert (driver.done, driver.failed) == ({"a", "c"}, {"b"})
    assert scene.executor.started == [0, 0, 0]
    assert scene.folder.failure_of(driver.recordings["b"])["reason"] == "the worker ended: SIGKILL"
    assert scene.happened("worker_ended", "reason") == ["SIGKILL", "SIGKILL"]


def test_a_worker_that_died_after_its_commit_lost_nothing(scene):
    def script(worker, claim):
        commits(scene.folder)(worker, claim)
        return [Died(worker, "SIGKILL")]

    driver = scene.run(scene.recordings("a"), script, patience=Patience(first_delay_s=1.0))
    assert driver.done == {"a"}
    assert scene.executor.given == ["a"]
    assert leftovers(scene.folder) == []


def test_workers_that_end_before_they_are_ready_end_the_batch(scene):
    driver = scene.driver(scene.recordings(), commits(scene.folder))
    scene.executor.start = lambda worker: scene.executor.queue.append(lambda: [Died(worker, "SIGSEGV")])
    with pytest.raises(RunError, match="3 workers in a row ended before they were ready, the last one: SIGSEGV"):
        driver.run(scene.tick)
    assert scene.executor.closed


def test_a_network_that_cannot_be_loaded_ends_the_batch(scene):
    driver = scene.driver(scene.recordings(), commits(scene.folder))
    scene.executor.start = lambda worker: scene.executor.queue.append(lambda: [Unusable(worker, "no weights")])
    with pytest.raises(InputError, match="no weights"):
        driver.run(scene.tick)
    assert leftovers(scene.folder) == []


def test_a_worker_that_stands_still_is_stopped(scene):
    def script(worker, claim):
        if claim.recording.name == "b":
            return [Progressed(worker, 7, 100)]
        return commits(scene.folder)(worker, claim)

    scene.advance_s = 4.0
    patience = Patience(attempts=2, first_delay_s=1.0, stall_s=60.0)
    driver = scene.run(scene.recordings("ab"), script, patience=patience)
    assert (driver.done, driver.failed) == ({"a"}, {"b"})
    assert scene.executor.stopped == [0, 0]
    assert scene.executor.started == [0, 0, 0]
    assert scene.folder.failure_of(driver.recordings["b"])["reason"] == "no frame for 60 s"


def test_an_endless_recording_is_stopped_at_the_limit(scene):
    frames = itertools.count()

    def script(worker, claim):
        def more():
            return [Progressed(worker, next(frames), None)]

        scene.executor.queue.extend([more] * 200)
        return more()

    patience = Patience(attempts=1, stall_s=60.0, limit_s=100.0)
    driver = scene.run(scene.recordings("a"), script, patience=patience)
    assert scene.folder.failure_of(driver.recordings["a"])["reason"] == "not done after 100 s"
    assert 100 <= next(frames) <= 103


def test_the_others_go_on_without_a_worker_that_does_not_get_ready(scene):
    driver = scene.driver(scene.recordings(), commits(scene.folder), workers=2)
    started = []

    def start(worker):
        started.append(worker)
        scene.executor.queue.append(lambda: [Died(worker, "SIGKILL") if worker else Ready(worker)])

    scene.executor.start = start
    driver.run(scene.tick)
    assert driver.done == {"a", "b", "c"}
    assert 1 < started.count(1) <= 3


def test_stop_ends_soon_and_leaves_no_claims(scene):
    driver = scene.driver(scene.recordings(), lambda worker, claim: [Progressed(worker, 1, 10)])

    def tick(state):
        scene.tick(state)
        if state.frames:
            driver.stop()

    driver.run(tick)
    assert (driver.done, driver.failed, driver.state().skipped) == (set(), set(), 3)
    assert scene.executor.closed
    assert leftovers(scene.folder) == []


def test_workers_that_end_with_the_batch_are_no_news(scene):
    """Ctrl-C goes to all processes of a terminal."""

    def script(worker, claim):
        driver.stop()
        return [Died(worker, "SIGINT")]

    driver = scene.driver(scene.recordings(), script)
    driver.run(scene.tick)
    assert scene.happened("worker_ended", "reason") == []
    assert (scene.executor.started, driver.state().skipped) == ([0], 3)
    assert leftovers(scene.folder) == []


def test_a_file_of_somebody_else_is_not_replaced(scene):
    (scene.root / "out/a.mp4").write_bytes(b"holiday")
    recordings = scene.recordings("a")
    plan = plan_batch(recordings, scene.folder, None, False)
    executor = InProcess(None, 1, commits(scene.folder))
    driver = Driver(plan, scene.folder, ("video",), executor, Patience(), scene.clock, lambda what, **fields: None)
    driver.run(scene.tick)
    assert executor.given == []
    assert scene.folder.failure_of(recordings[0])["reason"] == (
        f"{scene.root / 'out/a.mp4'} exists and is no result of this batch: move it away"
    )
    assert (scene.root / "out/a.mp4").read_bytes() == b"holiday"


def test_a_name_that_leaves_no_room_for_that_of_its_output_is_set_aside_and_the_others_go_on(scene):
    """A file system takes 255 bytes: the recording has 252, its detections would have 258."""
    long = f"{'n' * 248}.mp4"
    recordings = scene.recordings([long, "b.mp4"])
    plan = plan_batch(recordings, scene.folder, None, False)
    executor = InProcess(None, 1, commits(scene.folder))
    driver = Driver(plan, scene.folder, BOTH, executor, Patience(), scene.clock, lambda what, **fields: None)
    driver.run(scene.tick)
    assert (driver.done, driver.failed) == ({"b.mp4"}, {long})
    assert executor.given == ["b.mp4"]
    assert "this name is too long" in scene.folder.failure_of(recordings[0])["reason"]
    assert leftovers(scene.folder) == []


def test_a_full_disk_ends_the_batch_and_sets_nothing_aside(scene, monkeypatch):
    free = iter([10_000] * 2 + [10] * 9)
    monkeypatch.setattr("pipeline.batch.driver.free_bytes", lambda folder: next(free))
    driver = scene.driver(scene.recordings(), fails("no space left", False), patience=Patience(least_free_bytes=1000))
    with pytest.raises(RunError, match=r"less than 0.001 MB are free in .*out: free some and start again"):
        driver.run(scene.tick)
    assert driver.failed == set()
    assert leftovers(scene.folder) == []


def test_a_folder_that_cannot_be_written_is_one_line(scene, monkeypatch):
    driver = scene.driver(scene.recordings(), commits(scene.folder))

    def claim(*_):
        raise OSError(30, "Read-only file system", "/out/claims")

    monkeypatch.setattr(scene.folder, "claim", claim)
    with pytest.raises(RunError, match="the results cannot be written: /out/claims: Read-only file system"):
        driver.run(scene.tick)


def test_totals_are_estimated_from_bytes_and_refined(scene):
    """Sizes are 1, 2 and 3 bytes; each recording has 10 frames."""
    scene.run(scene.recordings(), commits(scene.folder))
    totals = [total for total, _ in itertools.groupby(state.frames_to_do for state in scene.states)]
    # 10 frames of 3 bytes stand for 20 of 6, 20 frames of 5 bytes for 24
    assert totals == [None, 20, 24, 30]


# Two drivers


def test_what_another_driver_has_is_left_to_it(scene):
    recordings = scene.recordings("ab")
    other = another(scene)
    claim = scene.folder.claim(recordings[0], other)
    driver = scene.driver(recordings, commits(scene.folder))

    def tick(state):
        scene.tick(state)
        other.beat()
        if len(scene.states) == 20:
            commits(scene.folder)(0, claim)

    driver.run(tick)
    assert scene.executor.given == ["b"]
    assert driver.done == {"a", "b"}


def test_a_driver_shows_that_it_is_alive_while_all_is_elsewhere(scene, monkeypatch):
    """Looking at each of many recordings may take longer than a lease."""
    recordings = scene.recordings("abcdef")
    other = another(scene)
    claims = [scene.folder.claim(recording, other) for recording in recordings]
    driver = scene.driver(recordings, commits(scene.folder))
    real, beats = scene.folder.claim, []

    def slow(recording, drivers):
        scene.clock.now_s += LEASE_S / 3
        beats.append((scene.folder.drivers / drivers.token).read_bytes())
        other.beat()
        return real(recording, drivers)

    def tick(state):
        scene.tick(state)
        if len(scene.states) == 3:
            for claim in claims:
                commits(scene.folder)(0, claim)

    monkeypatch.setattr(scene.folder, "claim", slow)
    driver.run(tick)
    assert scene.executor.given == []
    assert len(driver.done) == 6
    assert len(set(beats[:6])) == 6


def test_what_another_driver_has_set_aside_stays_so(scene):
    recordings = scene.recordings("ab")
    other = another(scene)
    claim = scene.folder.claim(recordings[0], other)
    driver = scene.driver(recordings, commits(scene.folder))

    def tick(state):
        scene.tick(state)
        other.beat()
        if len(scene.states) == 20:
            scene.folder.set_aside(recordings[0], "no video", 1)
            scene.folder.release(claim)

    driver.run(tick)
    assert scene.executor.given == ["b"]
    assert (driver.done, driver.failed) == ({"b"}, {"a"})


def test_the_claims_of_a_driver_that_has_stopped_are_taken_over(scene):
    """It is paused, not dead: what it commits later is lost, or was first."""
    recordings = scene.recordings("ab")
    other = another(scene)
    paused = scene.folder.claim(recordings[0], other)
    began_s = scene.clock.now_s
    driver = scene.run(recordings, commits(scene.folder))
    assert driver.done == {"a", "b"}
    assert scene.executor.given == ["b", "a"]
    assert scene.clock.now_s - began_s >= LEASE_S
    woken = commits(scene.folder)(0, paused)
    assert woken[-1].outcome.state is State.LOST


@pytest.mark.parametrize("split", [None, Splitting(1.0)])
def test_an_attempt_that_fails_because_its_claim_was_taken_over_is_no_failure(scene, split):
    """It finds its folder removed when it wakes up; the other driver ends its own attempt some time later."""
    other, taken = another(scene), []

    def then(worker, claim):
        if taken:
            return None
        for path in scene.folder.claims.rglob(f"*.{claim.fence}"):
            path.unlink()
        taken.append(scene.folder.claim(claim.unit, other))
        return fails("no such folder", False)(worker, claim)

    driver = scene.driver(scene.recordings("a"), cuts(scene.folder, then), split=split)

    def tick(state):
        scene.tick(state)
        other.beat()
        if len(scene.states) == 20:
            commits(scene.folder)(0, taken[0])

    driver.run(tick)
    assert units(scene) == (["a"] if split is None else ["a", "1/3", "2/3", "3/3", "a"])
    assert (driver.done, driver.failed) == ({"a"}, set())
