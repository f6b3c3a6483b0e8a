"""What becomes of each recording: retries, failures, workers that end or stand still, other drivers."""

import itertools
from dataclasses import replace

import pytest

from pipeline.batch.batch_plan import plan_batch
from pipeline.batch.driver import Driver
from pipeline.batch.executor import Died, Finished, Progressed, Ready, Unusable
from pipeline.batch.inputs import recording_at
from pipeline.batch.leases import LEASE_S, Drivers
from pipeline.batch.patience import Patience
from pipeline.batch.results_folder import ResultsFolder
from pipeline.batch.stretches import AUTO_SPLIT, Splitting, Stretch
from pipeline.batch.worker import Outcome, State
from pipeline.errors import InputError, RunError
from tests.pipeline.batch.fakes import InProcess
from tests.pipeline.fakes import FakeClock


class Scene:
    """A folder, recordings a, b, c … of 1, 2, 3 … bytes, and a driver of workers that follow a script."""

    def __init__(self, root, clock):
        self.root, self.clock = root, clock
        self.folder = ResultsFolder(root / "out")
        self.folder.make()
        self.notes = []
        self.states = []
        self.advance_s = 1.0

    def recordings(self, names="abc"):
        found = []
        for number, name in enumerate(names):
            (self.root / name).write_bytes(b"x" * (number + 1))
            found.append(recording_at(name, str(self.root / name)))
        return found

    def driver(self, recordings, script, workers=1, patience=None, limit=None, retry_failed=False, split=None):
        plan = replace(plan_batch(recordings, self.folder, limit, retry_failed), split=split)
        self.executor = InProcess(None, workers, script)
        return Driver(plan, self.folder, (), self.executor, patience or Patience(), self.clock, self.note)

    def note(self, what, **fields):
        self.notes.append((what, fields))

    def tick(self, state):
        self.states.append(state)
        self.clock.now_s += self.advance_s

    def run(self, *given, **more):
        driver = self.driver(*given, **more)
        driver.run(self.tick)
        return driver

    def happened(self, what, key="name"):
        return [fields[key] for kind, fields in self.notes if kind == what]


@pytest.fixture
def scene(tmp_path):
    return Scene(tmp_path, FakeClock())


def commits(folder, frames=10):
    """A script whose attempts succeed."""

    def script(worker, claim):
        claim.work.mkdir()
        record = {"outputs": {}, "frames": frames, "objects": 1}
        state = State.DONE if folder.commit(claim, record) else State.LOST
        return [Progressed(worker, frames, frames), Finished(worker, Outcome(state, record))]

    return script


def fails(reason, may_pass):
    return lambda worker, claim: [Finished(worker, Outcome(State.FAILED, None, reason, may_pass))]


def leftovers(folder):
    return [path for part in (folder.claims, folder.work, folder.drivers) for path in part.rglob("*") if path.is_file()]


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
    scene.executor.start = lambda worker: scene.executor._queue.append(lambda: [Died(worker, "SIGSEGV")])
    with pytest.raises(RunError, match="3 workers in a row ended before they were ready, the last one: SIGSEGV"):
        driver.run(scene.tick)
    assert scene.executor.closed


def test_a_network_that_cannot_be_loaded_ends_the_batch(scene):
    driver = scene.driver(scene.recordings(), commits(scene.folder))
    scene.executor.start = lambda worker: scene.executor._queue.append(lambda: [Unusable(worker, "no weights")])
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

        scene.executor._queue.extend([more] * 200)
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
        scene.executor._queue.append(lambda: [Died(worker, "SIGKILL") if worker else Ready(worker)])

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


def another(scene):
    drivers = Drivers(scene.folder.drivers, scene.clock)
    drivers.beat()
    return drivers


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


# Stretches


SPLIT = Splitting(1.0)


def cuts(folder, then=None):
    """A script whose recordings are split in three, and whose other attempts do as another script says, or succeed."""

    def script(worker, claim):
        recording, splitting = claim.unit, claim.splitting
        if not isinstance(recording, Stretch) and splitting is not None and not claim.joins:
            if splitting.most != 1:
                folder.keep_split(recording, (1000, 2000), 30)
            if folder.stretches_of(recording):
                return [Finished(worker, Outcome(State.SPLIT))]
        events = then(worker, claim) if then is not None else None
        return (
            commits(folder, 10 if isinstance(claim.unit, Stretch) else 30)(worker, claim) if events is None else events
        )

    return script


def units(scene):
    """What was given to workers: "a", then "1/3" and so on."""
    return [fields.get("stretch", fields["name"]) for what, fields in scene.notes if what == "started"]


def test_a_recording_is_split_and_put_together(scene):
    joined = []

    def then(worker, claim):
        joined.append([stretch.number for stretch in claim.joins])

    driver = scene.run(scene.recordings("a"), cuts(scene.folder, then), workers=2, split=SPLIT)
    assert units(scene) == ["a", "1/3", "2/3", "3/3", "a"]
    assert joined == [[], [], [], [0, 1, 2]]
    assert scene.executor.started == [0, 1]
    assert (driver.done, scene.happened("done", "frames")) == ({"a"}, [30])
    assert leftovers(scene.folder) == []
    assert list(scene.folder.stretches.iterdir()) == []


def test_frames_of_stretches_are_counted_once(scene):
    def then(worker, claim):
        progress = [Progressed(worker, 5, 10 if isinstance(claim.unit, Stretch) else 30)]
        return [*progress, *commits(scene.folder, 10 if isinstance(claim.unit, Stretch) else 30)(worker, claim)]

    scene.run(scene.recordings("a"), cuts(scene.folder, then), split=SPLIT)
    assert sorted({state.frames for state in scene.states}) == [0, 10, 20, 30]
    assert [state.frames for state in scene.states] == sorted(state.frames for state in scene.states)
    assert {state.frames_to_do for state in scene.states} == {None, 30}
    assert {(state.inputs, state.done + state.skipped + state.failed) for state in scene.states} == {(1, 1)}


@pytest.mark.parametrize(
    ("split", "workers", "expected"),
    [(None, 2, "a"), (AUTO_SPLIT, 1, "a"), (AUTO_SPLIT, 2, "a 1/3 2/3 3/3 a"), (SPLIT, 1, "a 1/3 2/3 3/3 a")],
)
def test_what_is_split_by_itself(scene, split, workers, expected):
    scene.run(scene.recordings("a"), cuts(scene.folder), workers=workers, split=split)
    assert units(scene) == expected.split()


def test_the_last_of_many_is_split(scene):
    """While there are as many recordings as workers, none is; one that is tried again when the others are done is."""

    def then(worker, claim):
        is_first = claim.recording.name == "b" and claim.fence == 1 and not isinstance(claim.unit, Stretch)
        return fails("locked", True)(worker, claim) if is_first and not claim.joins else None

    scene.run(scene.recordings("abc"), cuts(scene.folder, then), workers=2, split=AUTO_SPLIT)
    assert units(scene) == ["c", "b", "a", "b", "1/3", "2/3", "3/3", "b"]


def test_a_failure_of_a_stretch_costs_that_stretch(scene):
    attempts = []

    def then(worker, claim):
        if isinstance(claim.unit, Stretch) and claim.unit.number == 1:
            attempts.append(scene.clock.now_s)
            return fails("locked", True)(worker, claim) if len(attempts) < 3 else None
        return None

    patience = Patience(attempts=3, first_delay_s=10.0)
    driver = scene.run(scene.recordings("a"), cuts(scene.folder, then), patience=patience, split=SPLIT)
    assert units(scene) == ["a", "1/3", "2/3", "3/3", "2/3", "2/3", "a"]
    assert driver.done == {"a"}
    assert attempts[2] - attempts[1] >= 30.0


def test_a_stretch_that_stands_still_is_stopped(scene):
    def then(worker, claim):
        still = isinstance(claim.unit, Stretch) and claim.unit.number == 2 and claim.fence == 1
        return [Progressed(worker, 1, 10)] if still else None

    patience = Patience(attempts=2, first_delay_s=1.0, stall_s=20.0)
    driver = scene.run(scene.recordings("a"), cuts(scene.folder, then), patience=patience, split=SPLIT)
    assert units(scene) == ["a", "1/3", "2/3", "3/3", "3/3", "a"]
    assert (driver.done, scene.executor.stopped) == ({"a"}, [0])


def test_a_stretch_that_fails_for_good_sets_its_recording_aside(scene):
    """The other worker is stopped, and what was done is kept for another try."""

    def then(worker, claim):
        if isinstance(claim.unit, Stretch) and claim.unit.number > 0:
            return fails("no space", False)(worker, claim) if claim.unit.number == 2 else [Progressed(worker, 1, 10)]
        return None

    recordings = scene.recordings("ab")
    driver = scene.run(recordings, cuts(scene.folder, then), workers=2, limit=1, split=SPLIT)
    assert (driver.failed, driver.state().skipped) == ({"a"}, 1)
    assert scene.happened("failed", "reason") == ["no space"]
    assert scene.executor.stopped in ([0], [1])
    assert (driver.state().frames, leftovers(scene.folder)) == (0, [])
    scene.notes.clear()
    driver = scene.run(recordings, cuts(scene.folder), limit=1, retry_failed=True, split=SPLIT)
    assert units(scene) == ["a", "2/3", "3/3", "a"]
    assert (driver.done, driver.failed) == ({"a"}, set())


@pytest.mark.parametrize("where", ["stretch", "joined"])
def test_a_recording_that_cannot_be_split_is_one_piece(scene, where):
    def then(worker, claim):
        wrong = claim.joins if where == "joined" else isinstance(claim.unit, Stretch) and claim.unit.number == 1
        return [Finished(worker, Outcome(State.WHOLE, reason="frame 3 differs"))] if wrong else None

    driver = scene.run(scene.recordings("a"), cuts(scene.folder, then), split=SPLIT)
    assert units(scene) == (["a", "1/3", "2/3", "a"] if where == "stretch" else ["a", "1/3", "2/3", "3/3", "a", "a"])
    assert scene.happened("unsplit", "reason") == ["frame 3 differs"]
    assert (driver.done, driver.state().frames, driver.state().frames_to_do) == ({"a"}, 30, 30)
    assert leftovers(scene.folder) == []
    assert list(scene.folder.stretches.iterdir()) == []


@pytest.mark.parametrize("news", ["finished", "died"])
def test_news_of_a_worker_that_was_just_stopped_are_old(scene, news):
    """The first stretch ends in the moment in which the second one finds that the recording is one piece."""
    held = []

    def then(worker, claim):
        if not isinstance(claim.unit, Stretch):
            return None
        if claim.unit.number == 0:
            held.append((worker, claim))
            return []
        other, its_claim = held[0]
        late = commits(scene.folder)(other, its_claim) if news == "finished" else [Died(other, "SIGKILL")]
        return [Finished(worker, Outcome(State.WHOLE, reason="frame 3 differs")), *late]

    driver = scene.run(scene.recordings("a"), cuts(scene.folder, then), workers=2, split=SPLIT)
    assert driver.done == {"a"}
    assert units(scene) == ["a", "1/3", "2/3", "a"]
    assert scene.happened("worker_ended", "reason") == []
    assert leftovers(scene.folder) == []


def test_what_was_done_of_a_split_recording_is_not_done_again(scene):
    recordings = scene.recordings("a")
    driver = scene.driver(recordings, cuts(scene.folder), split=SPLIT)

    def tick(state):
        scene.tick(state)
        if state.frames == 20:
            driver.stop()

    driver.run(tick)
    assert (driver.done, leftovers(scene.folder)) == (set(), [])
    scene.notes.clear()
    driver = scene.run(recordings, cuts(scene.folder), split=AUTO_SPLIT)
    assert units(scene) == ["a", "3/3", "a"]
    assert (driver.done, driver.state().frames, driver.state().frames_to_do) == ({"a"}, 10, 10)


def test_without_splitting_stretches_are_left_out_of_account(scene):
    recordings = scene.recordings("a")
    scene.folder.keep_split(recordings[0], (1000,), 30)
    scene.run(recordings, cuts(scene.folder), split=None)
    assert units(scene) == ["a"]
    assert list(scene.folder.stretches.iterdir()) == []


def test_a_recording_that_changes_while_its_stretches_are_done(scene):
    def then(worker, claim):
        if isinstance(claim.unit, Stretch) and claim.unit.number == 1 and claim.recording.size == 1:
            (scene.root / "a").write_bytes(b"whole by now")
            return fails("still being written", True)(worker, claim)
        return None

    driver = scene.run(scene.recordings("a"), cuts(scene.folder, then), split=SPLIT)
    assert units(scene) == ["a", "1/3", "2/3", "3/3", "a", "1/3", "2/3", "3/3", "a"]
    assert (driver.done, driver.recordings["a"].size) == ({"a"}, 12)
    assert list(scene.folder.stretches.iterdir()) == []


def test_a_recording_that_never_stops_changing_is_set_aside(scene):
    sizes = itertools.count(2)

    def then(worker, claim):
        if isinstance(claim.unit, Stretch):
            (scene.root / "a").write_bytes(b"x" * next(sizes))
            return fails("it changes", True)(worker, claim)
        return None

    patience = Patience(attempts=3, first_delay_s=1.0)
    driver = scene.run(scene.recordings("a"), cuts(scene.folder, then), patience=patience, split=SPLIT)
    assert driver.failed == {"a"}
    assert leftovers(scene.folder) == []


def test_two_drivers_share_the_stretches_of_a_recording(scene):
    """The other one has the second stretch, and does it while this one waits."""
    recording = scene.recordings("a")[0]
    other = another(scene)
    scene.folder.keep_split(recording, (1000, 2000), 30)
    stretch = scene.folder.stretches_of(recording)[1]
    claim = scene.folder.claim(stretch, other)
    driver = scene.driver([recording], cuts(scene.folder), split=AUTO_SPLIT)

    def tick(state):
        scene.tick(state)
        other.beat()
        if len(scene.states) == 20:
            commits(scene.folder)(0, claim)

    driver.run(tick)
    assert units(scene) == ["a", "1/3", "3/3", "a"]
    assert driver.done == {"a"}


@pytest.mark.parametrize("what", ["done", "one piece"])
def test_another_driver_ends_a_split_recording(scene, what):
    recording = scene.recordings("a")[0]
    other = another(scene)
    scene.folder.keep_split(recording, (1000, 2000), 30)
    claims = [scene.folder.claim(unit, other) for unit in (*scene.folder.stretches_of(recording)[1:], recording)]
    driver = scene.driver([recording], cuts(scene.folder), split=AUTO_SPLIT)

    def tick(state):
        scene.tick(state)
        other.beat()
        if len(scene.states) == 3:
            scene.folder.release(claims[2])
        if len(scene.states) == 20:
            if what == "done":
                commits(scene.folder)(0, claims[2])
            else:
                scene.folder.keep_whole(recording, "frame 3 differs")

    driver.run(tick)
    assert units(scene) == (["a", "1/3"] if what == "done" else ["a", "1/3", "a"])
    assert driver.done == {"a"}
