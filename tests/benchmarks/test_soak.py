"""A short soak without a network, and what its parts measure."""

import json

import pytest

from benchmarks import soak
from benchmarks.soak import RunLog, main
from pipeline.records import SegmentedFrame, StageTimes
from tests.pipeline.fakes import make_frame, make_instances


@pytest.mark.realtime
def test_a_short_soak_passes_every_check(tmp_path, capsys):
    numbers = tmp_path / "soak.json"
    keep = tmp_path / "kept"
    code = main(["--minutes", "0.35", "--faults", "4", "--fake", "--json", str(numbers), "--keep", str(keep)])
    out = capsys.readouterr().out
    assert code == 0, out
    record = json.loads(numbers.read_text())
    assert record["passed"] is True
    measured = record["measured"]
    assert [fault["kind"] for fault in measured["faults"]] == ["stall", "drop", "size", "away"]
    assert measured["reconnects"] >= 3
    assert measured["presented"] > 20
    assert measured["captured"] == measured["presented"] + sum(measured["dropped"].values())
    assert sum(item["decoded"] for item in measured["recordings"]) == measured["presented"]
    assert sorted(path.name for path in (keep / "run").glob("*.mp4")) == [r["path"] for r in measured["recordings"]]
    assert "memory          not judged" in out
    assert out.endswith("passed\n")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--minutes", "1", "--faults", "31"], "leaves 1.9 s from fault to fault; at least 2 s are needed"),
        (["--faults", "0"], "--faults is at least 1, got 0"),
        (["--minutes", "nan"], "leaves nan s"),
        (["--keep", "."], "--keep .: there is something already"),
        (["--cameras", "2", "--rounds", "15", "--minutes", "10"], "--rounds 15 with --minutes 10: a multiple of 10"),
        (["--json", "nowhere/soak.json"], "there is no folder"),
    ],
)
def test_bad_usage_is_told_before_anything_starts(arguments, words, capsys):
    assert main(arguments) == 2
    assert words in capsys.readouterr().err


def test_a_check_that_fails_is_exit_code_1(monkeypatch, capsys):
    from tests.benchmarks.test_soak_verdict import good

    monkeypatch.setattr(soak, "soak", lambda *_args, **_kwargs: good(captured=101))
    assert main(["--fake"]) == 1
    out = capsys.readouterr().out
    assert "FAILED frames" in out
    assert out.endswith("FAILED\n")


def test_watch_notes_ids_reconnects_and_changes_of_size():
    watch = RunLog()
    instances = make_instances(1)
    for index, (width, reconnects) in enumerate([(80, 0), (80, 2), (96, 2)]):
        frame = make_frame(index, 48, width, captured_at_s=10.0 + index)
        watch.frame(SegmentedFrame(frame, instances, index, StageTimes(0.0, 0.0, 0.0)), reconnects, 10.3 + index)
    assert watch.seen == 3
    assert watch.with_ids == 0
    assert watch.reconnected_at_s == [11.3, 11.3], "a frame that was captured before it lost the camera tells of it"
    assert watch.sizes == [(12.0, (96, 48))]
