"""Whole batches: the summary, resuming, shards, changed settings."""

import json
import time
from datetime import datetime

import pytest

from pipeline.batch import results_folder
from pipeline.batch.batch_run import Batch, Shard
from pipeline.batch.executor import Died
from pipeline.batch.results_folder import ResultsFolder
from pipeline.batch.stretches import AUTO_SPLIT, Splitting
from pipeline.errors import InputError, RunError
from tests.pipeline.batch.fakes import (
    Here,
    make_by_sum,
    outputs_in,
    request_for,
    settings_of,
    summary_in,
    write_recordings,
)


@pytest.fixture
def recordings(tmp_path):
    return write_recordings(tmp_path / "in", "day1/a.mp4", "day1/b.mp4", "day2/a.mp4")


def run(request, place=None, on_tick=lambda state: None):
    """A batch that has run, and the names that were given to workers."""
    place = place or Here()
    batch = Batch(request, time.monotonic, make_by_sum)
    batch.run(place, lambda what, **fields: None, on_tick)
    return batch, [name for executor in place.made for name in executor.given]


def test_results_and_summary(tmp_path, recordings):
    (recordings / "day1/c.mp4").write_bytes(b"broken")
    batch, given = run(request_for(recordings, tmp_path / "out"))
    assert given == ["day2/a.mp4", "day1/b.mp4", "day1/a.mp4", "day1/c.mp4"]
    names = [f"{name}{suffix}" for name in ("day1/a.mp4", "day1/b.mp4", "day2/a.mp4") for suffix in ("", ".jsonl")]
    assert sorted(outputs_in(tmp_path / "out")) == names
    summary = summary_in(tmp_path / "out")
    assert [summary[key] for key in ("format", "inputs", "done", "skipped", "failed")] == [1, 4, 3, 0, 1]
    assert [summary[key] for key in ("shard", "model", "frames")] == [None, "fake segmenter", 6 + 7 + 8]
    assert summary["labels"] == ["BG", "thing", "other", "third"]
    assert summary["settings"]["output"]["crf"] == 23
    assert set(summary["made_with"]) == {"files", "versions", "engine"}
    first, _, broken, last = summary["files"]
    assert first == {
        "name": "day1/a.mp4",
        "state": "done",
        "source": str(recordings / "day1/a.mp4"),
        "bytes": (recordings / "day1/a.mp4").stat().st_size,
        "outputs": {"video": "day1/a.mp4", "detections": "day1/a.mp4.jsonl"},
        "frames": 6,
        **{key: first[key] for key in ("objects", "seen", "fps", "duration_s")},
        "width": 96,
        "height": 64,
        "lines": [],
        "zones": [],
        "warnings": [],
    }
    assert (broken["name"], broken["state"], broken["attempts"]) == ("day1/c.mp4", "failed", 1)
    assert "not a readable video" in broken["reason"]
    assert batch.failures() == {"day1/c.mp4": broken["reason"]}
    assert (last["name"], last["frames"]) == ("day2/a.mp4", 8)
    assert summary["objects"] == sum(one.get("objects", 0) for one in summary["files"])
    timings = json.loads((tmp_path / "out/summary.json").read_text(encoding="ascii"))["timings"]
    assert (timings["workers"], timings["frames"]) == (1, 21)
    assert datetime.fromisoformat(timings["started"]).tzinfo is not None
    assert set(timings["files"]) == {"day1/a.mp4", "day1/b.mp4", "day2/a.mp4"}


def test_what_is_in_the_way_of_one_recording_stops_no_other(tmp_path, recordings):
    results = tmp_path / "out"
    results.mkdir()
    (results / "day2").write_text("mine")
    (results / "day1/b.mp4.jsonl").mkdir(parents=True)
    batch, given = run(request_for(recordings, results))
    assert given == ["day1/a.mp4"]
    assert batch.failures() == {
        "day1/b.mp4": f"{results / 'day1/b.mp4.jsonl'} exists and is no result of this batch: move it away",
        "day2/a.mp4": f"{results / 'day2'} exists and is no result of this batch: move it away",
    }
    assert set(outputs_in(results)) == {"day1/a.mp4", "day1/a.mp4.jsonl", "day2"}


def test_what_comes_in_the_way_during_an_attempt_fails_that_recording(tmp_path, recordings):
    results = tmp_path / "out"

    def script(worker, claim):
        if claim.recording.name == "day2/a.mp4":
            (results / "day2/a.mp4").mkdir(parents=True)

    batch, given = run(request_for(recordings, results), Here(script=script))
    assert given == ["day2/a.mp4", "day1/b.mp4", "day1/a.mp4"]
    assert [summary_in(results)[key] for key in ("done", "skipped", "failed")] == [2, 0, 1]
    assert set(batch.failures()) == {"day2/a.mp4"}
    assert run(request_for(recordings, results))[1] == []
    (results / "day2/a.mp4").rmdir()
    again, given = run(request_for(recordings, results, retry_failed=True))
    assert (given, again.state.done) == (["day2/a.mp4"], 3)


def test_an_interrupted_commit_whose_place_is_taken_is_not_done(tmp_path, recordings, monkeypatch):
    """The process ended between the record and the outputs, and what is in the way has come since."""
    results = tmp_path / "out"
    with monkeypatch.context() as patched:
        patched.setattr(results_folder, "move_all", lambda moves: (_ for _ in ()).throw(KeyboardInterrupt))
        patched.setattr(ResultsFolder, "recover", lambda *_: set())
        patched.setattr(ResultsFolder, "release", lambda *_: None)
        with pytest.raises(KeyboardInterrupt):
            run(request_for(recordings, results))
    (results / "day2/a.mp4").mkdir(parents=True)
    batch, given = run(request_for(recordings, results))
    assert given == ["day1/b.mp4", "day1/a.mp4"]
    assert [summary_in(results)[key] for key in ("done", "skipped", "failed")] == [2, 0, 1]
    assert set(batch.failures()) == {"day2/a.mp4"}


def test_an_interrupted_batch_ends_as_an_undisturbed_one_does(tmp_path, recordings):
    run(request_for(recordings, tmp_path / "whole"))
    request, place = request_for(recordings, tmp_path / "out"), Here()
    batch = Batch(request, time.monotonic, make_by_sum)

    def stop_after_one(state):
        if state.done:
            batch.stop()

    batch.run(place, lambda what, **fields: None, stop_after_one)
    assert [summary_in(tmp_path / "out")[key] for key in ("done", "skipped", "failed")] == [1, 2, 0]
    states = {one["name"]: one.get("reason") for one in summary_in(tmp_path / "out")["files"]}
    assert states == {"day1/a.mp4": "interrupted", "day1/b.mp4": "interrupted", "day2/a.mp4": None}
    _, given = run(request)
    assert given == ["day1/b.mp4", "day1/a.mp4"]
    assert outputs_in(tmp_path / "out") == outputs_in(tmp_path / "whole")
    assert summary_in(tmp_path / "out") == summary_in(tmp_path / "whole")


def test_workers_that_die_change_nothing_in_the_results(tmp_path, recordings):
    run(request_for(recordings, tmp_path / "whole"))
    attempts = []

    def script(worker, claim):
        attempts.append(claim.recording.name)
        return [Died(worker, "SIGKILL")] if attempts.count(claim.recording.name) == 1 else None

    run(request_for(recordings, tmp_path / "out"), Here(workers=2, script=script))
    assert len(attempts) == 6
    assert outputs_in(tmp_path / "out") == outputs_in(tmp_path / "whole")
    assert summary_in(tmp_path / "out") == summary_in(tmp_path / "whole")


def test_a_limit_leaves_the_rest_for_later(tmp_path, recordings):
    run(request_for(recordings, tmp_path / "out", limit=1))
    files = summary_in(tmp_path / "out")["files"]
    assert [(one["state"], one.get("reason")) for one in files] == [
        ("done", None),
        ("skipped", "--limit"),
        ("skipped", "--limit"),
    ]


def test_shards_share_the_work_and_write_summaries_of_their_own(tmp_path, recordings):
    given = []
    for number in (1, 2):
        request = request_for(recordings, tmp_path / "out", shard=Shard(number, 2))
        given.append(run(request)[1])
    assert sorted(given[0] + given[1]) == ["day1/a.mp4", "day1/b.mp4", "day2/a.mp4"]
    parts = [summary_in(tmp_path / "out", f"summary.{number}-of-2.json") for number in (1, 2)]
    assert [part["shard"] for part in parts] == ["1/2", "2/2"]
    assert [part["inputs"] for part in parts] == [len(names) for names in given]
    _, again = run(request_for(recordings, tmp_path / "out"))
    assert again == []
    assert summary_in(tmp_path / "out")["done"] == 3


def test_shards_are_parts_of_similar_size_without_overlap():
    from pipeline.batch.inputs import Recording

    recordings = [Recording(f"{number}.mp4", "", 0, 0) for number in range(4000)]
    shards = [Shard(number, 4) for number in range(1, 5)]
    counts = [sum(shard.has(one) for one in recordings) for shard in shards]
    assert sum(counts) == 4000
    assert all(850 < count < 1150 for count in counts)


def test_changed_settings_never_mix_into_old_results(tmp_path, recordings):
    run(request_for(recordings, tmp_path / "out", limit=1))
    changed = request_for(recordings, tmp_path / "out", settings=settings_of(output={"crf": 30, "min_free_bytes": 0}))
    with pytest.raises(InputError, match=r"out holds results that were made otherwise: output\.crf was 23 and is 30"):
        Batch(changed, time.monotonic, make_by_sum)


def test_the_engine_is_chosen_once_for_a_folder(tmp_path, recordings):
    class Counting(Here):
        called = 0

        def call(self, function, *arguments):
            self.called += 1
            return function(*arguments)

    place = Counting()
    run(request_for(recordings, tmp_path / "out", limit=1), place)
    run(request_for(recordings, tmp_path / "out"), place)
    assert place.called == 1


@pytest.mark.parametrize(("split", "shared"), [(None, 2), (AUTO_SPLIT, 2), (Splitting(600.0), None)])
def test_workers_are_shared_out_among_what_is_to_do(tmp_path, recordings, split, shared):
    class Sharing(Here):
        def share(self, chosen, recordings):
            self.shared = recordings
            return super().share(chosen, recordings)

    place = Sharing()
    run(request_for(recordings, tmp_path / "out", limit=2, split=split), place)
    assert place.shared == shared


def test_planning_writes_nothing(tmp_path, recordings):
    batch = Batch(request_for(recordings, tmp_path / "out"), time.monotonic, make_by_sum)
    assert [one.name for one in batch.plan.to_do] == ["day2/a.mp4", "day1/b.mp4", "day1/a.mp4"]
    assert (batch.state.inputs, batch.state.skipped, batch.failures()) == (3, 3, {})
    assert not (tmp_path / "out").exists()


def test_a_results_folder_that_cannot_be_made(tmp_path, recordings):
    (tmp_path / "file").write_bytes(b"")
    batch = Batch(request_for(recordings, tmp_path / "file" / "out"), time.monotonic, make_by_sum)
    with pytest.raises(InputError, match="cannot be created: Not a directory"):
        batch.run(Here(), lambda what, **fields: None, lambda state: None)


def test_a_disk_that_is_full_from_the_start(tmp_path, recordings, monkeypatch):
    batch = Batch(request_for(recordings, tmp_path / "out"), time.monotonic, make_by_sum)

    def keep(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ResultsFolder, "keep_depends_on", keep)
    with pytest.raises(RunError, match="out cannot be written: No space left on device"):
        batch.run(Here(), lambda what, **fields: None, lambda state: None)


def test_stopped_before_it_began(tmp_path, recordings):
    batch = Batch(request_for(recordings, tmp_path / "out"), time.monotonic, make_by_sum)
    batch.stop()
    place = Here()
    batch.run(place, lambda what, **fields: None, lambda state: None)
    assert place.made[0].given == []
    assert summary_in(tmp_path / "out")["skipped"] == 3
