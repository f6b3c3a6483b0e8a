"""Claims, commits and recoveries of a folder that several drivers share; each is interrupted at every step."""

import errno
import json
import os
import shutil
from pathlib import Path

import pytest

from pipeline.batch.inputs import partial_hash, recording_at
from pipeline.batch.leases import LEASE_S, Drivers
from pipeline.batch.results_folder import ResultsFolder, key_of, recording_id, version_of
from pipeline.batch.shared_files import InTheWayError
from tests.pipeline.batch.fakes import outputs_in
from tests.pipeline.fakes import FakeClock

OUTPUTS = {"video": "day/a.mp4", "detections": "day/a.mp4.jsonl"}


@pytest.fixture
def folder(tmp_path):
    made = ResultsFolder(tmp_path / "out")
    made.make()
    return made


@pytest.fixture
def recording(tmp_path):
    path = tmp_path / "a.mp4"
    path.write_bytes(b"picture after picture")
    return recording_at("day/a.mp4", str(path))


def driver(folder, clock=None):
    one = Drivers(folder.drivers, clock or FakeClock())
    one.beat()
    return one


def written(claim, text=b"result"):
    """The record of an attempt that has written its outputs."""
    claim.work.mkdir()
    for kind, name in OUTPUTS.items():
        claim.output(kind, name).write_bytes(text + b" " + kind.encode())
    return {"name": claim.recording.name, "outputs": OUTPUTS, "bytes": claim.recording.size}


def in_place(folder):
    return {kind: (folder.root / name).read_bytes() for kind, name in OUTPUTS.items() if (folder.root / name).exists()}


def test_a_commit_puts_the_outputs_in_place_and_is_known_afterwards(folder, recording):
    drivers = driver(folder)
    claim = folder.claim(recording, drivers)
    assert not folder.is_done(recording)
    assert folder.commit(claim, written(claim))
    folder.release(claim)
    assert in_place(folder) == {"video": b"result video", "detections": b"result detections"}
    assert folder.done() == {key_of(recording)} == {f"{recording_id(recording)}-{version_of(recording)}"}
    assert folder.is_done(recording)
    assert folder.record_of(recording)["name"] == "day/a.mp4"
    assert list(folder.work.iterdir()) == []
    assert [path for path in folder.claims.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("name", [".DS_Store", "Thumbs.db"])
def test_what_a_file_manager_leaves_is_no_recording(folder, recording, name):
    drivers = driver(folder)
    claim = folder.claim(recording, drivers)
    assert folder.commit(claim, written(claim))
    for place in [path for path in folder.state.rglob("*") if path.is_dir()]:
        (place / name).write_bytes(b"\0\1")
    folder.recover(drivers)
    assert folder.done() == {key_of(recording)}
    assert folder.failed() == set()


def test_of_two_attempts_one_commits_and_the_other_leaves_nothing(folder, recording):
    clock = FakeClock()
    slow, fast = driver(folder), driver(folder, clock)
    first = folder.claim(recording, slow)
    first_record = written(first, b"slow")
    assert folder.claim(recording, fast) is None
    clock.now_s += LEASE_S
    second = folder.claim(recording, fast)
    assert (first.fence, second.fence) == (1, 2)
    assert first.work != second.work
    assert folder.commit(second, written(second, b"fast"))
    assert not folder.commit(first, first_record)
    assert in_place(folder)["video"] == b"fast video"
    assert list(folder.work.iterdir()) == []


def test_an_attempt_that_was_taken_for_dead_and_removed_does_not_commit(folder, recording):
    claim = folder.claim(recording, driver(folder))
    record = written(claim)
    folder.discard(claim)
    assert not folder.commit(claim, record)
    assert folder.done() == set()


class Killed(BaseException):
    """The end of the process."""


@pytest.mark.parametrize("moved", [0, 1, 2])
def test_a_commit_that_was_cut_short_after_its_record_is_finished_later(folder, recording, monkeypatch, moved):
    """The process ends before the first output is moved, between the two, or before the folder is removed."""
    claim = folder.claim(recording, driver(folder))
    record = written(claim)
    replaced = []

    def replace(source, target):
        if len(replaced) == moved:
            raise Killed
        replaced.append(target)
        real(source, target)

    def rmtree(*args, **more):
        raise Killed

    real = os.replace
    monkeypatch.setattr(os, "replace", replace)
    monkeypatch.setattr(shutil, "rmtree", rmtree)
    with pytest.raises(Killed):
        folder.commit(claim, record)
    monkeypatch.undo()
    assert len(in_place(folder)) == moved
    assert folder.is_done(recording)
    folder.recover(driver(folder))
    assert in_place(folder) == {"video": b"result video", "detections": b"result detections"}
    assert list(folder.work.iterdir()) == []


def test_discarding_an_attempt_that_has_committed_keeps_its_outputs(folder, recording, monkeypatch):
    """Its worker was killed between the record and the outputs, and the driver cleans up after it."""
    claim = folder.claim(recording, driver(folder))
    record = written(claim)
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("gone")))
    with pytest.raises(OSError, match="gone"):
        folder.commit(claim, record)
    monkeypatch.undo()
    folder.discard(claim)
    assert len(in_place(folder)) == 2
    assert list(folder.work.iterdir()) == []


def test_a_claim_that_was_taken_over_is_not_released_for_its_new_owner(folder, recording):
    """Its files were removed, so that the new claim has the same number."""
    slow, fast = driver(folder), driver(folder)
    first = folder.claim(recording, slow)
    assert folder.holds(first)
    for path in folder.claims.rglob("*.1"):
        path.unlink()
    second = folder.claim(recording, fast)
    assert (first.fence, second.fence) == (1, 1)
    assert (folder.holds(first), folder.holds(second)) == (False, True)
    folder.release(first)
    assert folder.holds(second)
    folder.release(second)
    assert not folder.holds(second)


def test_a_killed_attempt_without_a_record_is_removed(folder, recording):
    gone = driver(folder)
    claim = folder.claim(recording, gone)
    written(claim)
    gone.leave()
    folder.recover(driver(folder))
    assert list(folder.work.iterdir()) == []
    assert in_place(folder) == {}
    assert folder.claim(recording, driver(folder)).fence == 1


def test_an_attempt_of_a_live_driver_is_left_alone(folder, recording):
    claim = folder.claim(recording, driver(folder))
    record = written(claim)
    folder.recover(driver(folder))
    assert folder.commit(claim, record)


def test_a_driver_claims_again_for_its_next_attempt(folder, recording):
    drivers = driver(folder)
    first, second = folder.claim(recording, drivers), folder.claim(recording, drivers)
    assert (first.fence, second.fence) == (1, 2)
    assert first.work != second.work


def test_what_is_done_cannot_be_claimed(folder, recording):
    drivers = driver(folder)
    claim = folder.claim(recording, drivers)
    folder.commit(claim, written(claim))
    folder.release(claim)
    assert folder.claim(recording, driver(folder)) is None
    assert [path for path in folder.claims.rglob("*") if path.is_file()] == []


def test_an_output_of_somebody_else_is_noticed(folder, recording):
    assert folder.foreign_output(recording, OUTPUTS) is None
    (folder.root / "day").mkdir()
    (folder.root / "day/a.mp4").write_bytes(b"holiday")
    assert folder.foreign_output(recording, OUTPUTS) == "day/a.mp4"


@pytest.mark.skipif(os.name != "posix", reason="needs links")
def test_a_broken_link_of_somebody_else_is_noticed(folder, recording, tmp_path):
    (folder.root / "day").symlink_to(tmp_path / "nowhere")
    assert folder.foreign_output(recording, OUTPUTS) == "day"
    (folder.root / "day").unlink()
    (folder.root / "day").mkdir()
    (folder.root / "day/a.mp4.jsonl").symlink_to(tmp_path / "nowhere")
    assert folder.foreign_output(recording, OUTPUTS) == "day/a.mp4.jsonl"


def test_a_folder_in_place_of_an_own_output_is_noticed(folder, recording, tmp_path):
    claim = folder.claim(recording, driver(folder))
    folder.commit(claim, written(claim))
    folder.release(claim)
    (tmp_path / "a.mp4").write_bytes(b"longer than before, by far")
    (folder.root / "day/a.mp4").unlink()
    (folder.root / "day/a.mp4").mkdir()
    assert folder.foreign_output(recording.again(), OUTPUTS) == "day/a.mp4"


@pytest.mark.parametrize("blocked", ["day", "day/a.mp4", "day/a.mp4.jsonl"])
def test_a_commit_that_something_blocks_leaves_no_trace(folder, recording, blocked):
    """A file where a folder must be, or a folder where a file must be, appears during the attempt."""
    drivers = driver(folder)
    claim = folder.claim(recording, drivers)
    record = written(claim)
    block(folder.root / blocked)
    with pytest.raises(InTheWayError):
        folder.commit(claim, record)
    folder.discard(claim)
    assert folder.foreign_output(recording, OUTPUTS) == blocked
    assert not folder.is_done(recording)
    assert outputs_in(folder.root) == ({"day": b"mine"} if blocked == "day" else {})
    assert list(folder.work.iterdir()) == []
    (folder.root / blocked).rename(folder.root / "elsewhere")
    folder.release(claim)
    again = folder.claim(recording, drivers)
    assert folder.commit(again, written(again))
    assert len(in_place(folder)) == 2


@pytest.mark.parametrize("blocked", ["day/a.mp4", "day/a.mp4.jsonl"])
def test_an_interrupted_commit_that_something_blocks_is_taken_back(folder, recording, monkeypatch, blocked):
    gone = driver(folder)
    claim = folder.claim(recording, gone)
    record = written(claim)
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(Killed))
    with pytest.raises(Killed):
        folder.commit(claim, record)
    monkeypatch.undo()
    gone.leave()
    block(folder.root / blocked)
    assert folder.recover(driver(folder)) == {"day/a.mp4"}
    assert folder.recover(driver(folder)) == set()
    assert not folder.is_done(recording)
    assert outputs_in(folder.root) == {}
    assert list(folder.work.iterdir()) == []


def block(path):
    """Put a file where a folder is to be, and a folder where a file is to be."""
    if path.suffix:
        path.mkdir(parents=True)
    else:
        path.write_bytes(b"mine")


def test_a_recording_that_has_changed_replaces_its_own_results(folder, recording, tmp_path):
    claim = folder.claim(recording, driver(folder))
    folder.commit(claim, written(claim, b"old"))
    folder.release(claim)
    (tmp_path / "a.mp4").write_bytes(b"longer than before, by far")
    changed = recording.again()
    assert not folder.adopt(changed, key_of(recording))
    assert not folder.is_done(changed)
    assert folder.foreign_output(changed, OUTPUTS) is None
    again = folder.claim(changed, driver(folder))
    assert folder.commit(again, written(again, b"new"))
    assert in_place(folder)["video"] == b"new video"
    assert folder.done() == {key_of(changed)}


def test_only_a_new_time_is_no_change(folder, recording, tmp_path):
    claim = folder.claim(recording, driver(folder))
    record = {**written(claim), "partial_hash": partial_hash(recording.path)}
    folder.commit(claim, record)
    os.utime(tmp_path / "a.mp4", ns=(1, 2))
    touched = recording.again()
    assert key_of(touched) != key_of(recording)
    assert folder.adopt(touched, key_of(recording))
    assert folder.is_done(touched)


def test_failures_are_kept_until_they_are_forgotten(folder, recording):
    folder.set_aside(recording, "no picture", 3)
    assert folder.failed() == {key_of(recording)}
    assert folder.failure_of(recording) == {"name": "day/a.mp4", "reason": "no picture", "attempts": 3}
    folder.forget_failure(recording)
    folder.forget_failure(recording)
    assert folder.failed() == set()


def test_the_first_batch_decides_what_the_folder_depends_on(folder):
    assert folder.depends_on() is None
    assert folder.keep_depends_on({"score": 1}) == {"score": 1}
    assert folder.keep_depends_on({"score": 2}) == {"score": 1}
    assert json.loads((folder.state / "batch.json").read_text(encoding="ascii")) == {"score": 1}
    assert sorted(path.name for path in folder.state.iterdir() if path.is_file()) == ["batch.json"]


@pytest.mark.parametrize(
    ("number", "text"),
    [(errno.EPERM, "Operation not permitted"), (errno.EINVAL, "Incorrect function")],
    ids=["Linux", "Windows"],
)
def test_file_systems_without_links(folder, recording, monkeypatch, number, text):
    def link(source, target):
        raise OSError(number, text)

    monkeypatch.setattr(os, "link", link)
    assert folder.keep_depends_on({"score": 1}) == {"score": 1}
    drivers = driver(folder)
    claim = folder.claim(recording, drivers)
    assert folder.claim(recording, driver(folder)) is None
    assert folder.commit(claim, written(claim))
    folder.release(claim)
    assert len(in_place(folder)) == 2
    other = folder.claim(recording, driver(folder))
    assert other is None


def test_a_claim_that_another_driver_reads_is_given_up_when_its_driver_leaves(folder, recording, monkeypatch):
    """Windows does not remove a file that is open."""

    def refuse(path, *_, **__):
        raise PermissionError(errno.EACCES, "The process cannot access the file", str(path))

    drivers, other = driver(folder), driver(folder)
    claim = folder.claim(recording, drivers)
    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", refuse)
        folder.release(claim)
        second = folder.claim(recording, drivers)
        assert second.fence == 2
        folder.release(second)
    assert folder.claim(recording, other) is None
    drivers.leave()
    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", refuse)
        folder.recover(other)
        assert folder.claim(recording, other).fence == 3


# Stretches


def stretches(folder, recording, seams_ms=(1000, 2000)):
    folder.keep_split(recording, seams_ms, 30)
    return folder.stretches_of(recording)


def inferred(folder, claim, text=b"answers"):
    """The record of a stretch whose answers are written."""
    claim.work.mkdir()
    name = folder.answers_name(claim.unit)
    claim.output("answers", name).write_bytes(text)
    return {"outputs": {"answers": name}, "frames": 10}


def test_the_first_decides_where_a_recording_is_cut(folder, recording):
    assert (folder.split_of(recording), folder.stretches_of(recording)) == (None, ())
    folder.keep_split(recording, (1000, 2000), 30)
    folder.keep_split(recording, (500,), 30)
    assert folder.split_of(recording) == {"seams_ms": [1000, 2000], "frames": 30}
    assert [one.start_ms for one in folder.stretches_of(recording)] == [None, 1000, 2000]
    assert len(list((folder.stretches / key_of(recording)).iterdir())) == 1


def test_a_stretch_is_claimed_and_committed_by_itself(folder, recording):
    drivers, other = driver(folder), driver(folder)
    first, second, _ = stretches(folder, recording)
    claim, whole = folder.claim(first, drivers), folder.claim(recording, drivers)
    assert folder.claim(first, other) is None
    assert folder.claim(second, other).fence == 1
    assert folder.commit(claim, inferred(folder, claim))
    folder.release(claim)
    assert folder.is_done(first)
    assert not folder.is_done(second)
    assert not folder.is_done(recording)
    assert folder.answers_of(first).read_bytes() == b"answers"
    assert folder.done() == set()
    assert folder.claim(first, other) is None
    folder.recover(driver(folder))
    assert folder.is_done(first)
    assert folder.commit(whole, written(whole))
    assert list(folder.stretches.iterdir()) == []


def test_of_two_attempts_at_a_stretch_one_counts(folder, recording):
    drivers = driver(folder)
    first, *_ = stretches(folder, recording)
    claims = [folder.claim(first, drivers), folder.claim(first, drivers)]
    records = [inferred(folder, claim, str(claim.fence).encode()) for claim in claims]
    assert [folder.commit(*both) for both in reversed(list(zip(claims, records, strict=True)))] == [True, False]
    assert folder.answers_of(first).read_bytes() == b"2"
    assert list(folder.work.iterdir()) == []


def test_answers_of_an_interrupted_commit_are_put_in_place_when_they_are_needed(folder, recording, monkeypatch):
    first, *_ = stretches(folder, recording)
    claim = folder.claim(first, driver(folder))
    record = inferred(folder, claim)
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("gone")))
    with pytest.raises(OSError, match="gone"):
        folder.commit(claim, record)
    monkeypatch.undo()
    assert folder.is_done(first)
    assert folder.answers_of(first).read_bytes() == b"answers"
    assert list(folder.work.iterdir()) == []


def test_a_stretch_of_a_recording_that_is_done_is_too_late(folder, recording):
    drivers = driver(folder)
    first, *_ = stretches(folder, recording)
    late, whole = folder.claim(first, drivers), folder.claim(recording, drivers)
    folder.commit(whole, written(whole))
    assert not folder.commit(late, inferred(folder, late))
    folder.release(late)
    assert list(folder.stretches.iterdir()) == list(folder.work.iterdir()) == []


def test_stretches_that_an_interruption_left_behind_are_removed(folder, recording, monkeypatch):
    drivers = driver(folder)
    first, *_ = stretches(folder, recording)
    claim = folder.claim(first, drivers)
    folder.commit(claim, inferred(folder, claim))
    whole = folder.claim(recording, drivers)
    record = written(whole)
    monkeypatch.setattr(shutil, "rmtree", lambda *_, **__: (_ for _ in ()).throw(Killed))
    with pytest.raises(Killed):
        folder.commit(whole, record)
    monkeypatch.undo()
    assert len(list(folder.stretches.iterdir())) == 1
    folder.recover(driver(folder))
    assert list(folder.stretches.iterdir()) == []
    assert len(in_place(folder)) == 2


def test_a_recording_that_is_one_piece_after_all(folder, recording):
    drivers = driver(folder)
    first, *_ = stretches(folder, recording)
    claim = folder.claim(first, drivers)
    folder.commit(claim, inferred(folder, claim))
    folder.keep_whole(recording, "frame 3 differs")
    assert folder.stretches_of(recording) == ()
    assert not folder.is_done(first)
    folder.keep_split(recording, (1000,), 30)
    assert folder.split_of(recording) == {"seams_ms": [], "frames": None, "reason": "frame 3 differs"}


def test_a_recording_that_has_changed_has_no_stretches(folder, recording, tmp_path):
    drivers = driver(folder)
    first, *_ = stretches(folder, recording)
    claim = folder.claim(first, drivers)
    folder.commit(claim, inferred(folder, claim))
    (tmp_path / "a.mp4").write_bytes(b"longer than before, by far")
    changed = recording.again()
    assert (folder.split_of(changed), folder.stretches_of(changed)) == (None, ())
    again, *_ = stretches(folder, changed)
    assert not folder.is_done(again)
    whole = folder.claim(changed, drivers)
    folder.commit(whole, written(whole))
    assert list(folder.stretches.iterdir()) == []
