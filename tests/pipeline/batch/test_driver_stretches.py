"""What becomes of recordings that are split: their stretches, failures, other drivers."""

import itertools

import pytest

from pipeline.batch.executor import Died, Finished, Progressed
from pipeline.batch.patience import Patience
from pipeline.batch.stretches import AUTO_SPLIT, Splitting, Stretch
from pipeline.batch.worker import Outcome, State
from tests.pipeline.batch.scripted_driver import another, commits, cuts, fails, leftovers, units

SPLIT = Splitting(1.0)


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
