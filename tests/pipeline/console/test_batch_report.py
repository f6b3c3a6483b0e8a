"""What a batch shows: bar, lines, events, and the text at its end."""

import errno
import io
import json
import sys
from collections import Counter

import pytest

from pipeline.batch.batch_state import BatchState, WorkerView
from pipeline.batch.inputs import Found
from pipeline.console.batch_report import BatchProgress, end_text, plan_text
from pipeline.errors import OutputClosedError
from pipeline.settings.output_settings import ProgressMode
from tests.pipeline.fakes import FakeClock


def state(frames=0, to_do=None, done=0, failed=0, inputs=40, workers=()):
    return BatchState(inputs, done, failed, frames, to_do, workers)


BUSY = (WorkerView(0, "day1/cam1.mp4", 30, 120), WorkerView(1))


def test_a_pipe_gets_a_line_now_and_then():
    clock, output = FakeClock(), io.StringIO()
    with BatchProgress(ProgressMode.AUTO, output=output, clock=clock) as progress:
        progress.update(state())
        clock.now_s += 10
        progress.update(state(100, 1000, 3, 1, workers=BUSY))
        clock.now_s += 10
        progress.update(state(300, 1000, 5, 1, workers=BUSY))
    first, second = output.getvalue().splitlines()
    assert first == (
        "3 of 40 recordings done, 1 failed, 100 frames of about 1000 (10 %), 1 of 2 workers busy, 10.0 fps, "
        "1:30 min left"
    )
    assert second.startswith("5 of 40 recordings done, 1 failed, 300 frames of about 1000 (30 %)")
    assert second.endswith("1 of 2 workers busy, 15.0 fps, 46.7 s left")


def test_rates_count_from_the_first_frame_on():
    clock, output = FakeClock(), io.StringIO()
    with BatchProgress(ProgressMode.LINES, output=output, clock=clock) as progress:
        for frames in (0, 0, 0, 200):
            clock.now_s += 5
            progress.update(state(frames, 1000, workers=BUSY))
    assert output.getvalue().splitlines()[-1].endswith("busy, 40.0 fps, 20.0 s left")


def test_a_terminal_shows_all_and_what_each_worker_does(terminal):
    with BatchProgress(ProgressMode.AUTO, output=terminal) as progress:
        progress.update(state(450, 1000, 3, 1, workers=BUSY))
        progress.event("failed", name="day1/cam7.mp4", reason="no video", attempts=1)
    text = terminal.getvalue()
    for expected in ("3/40 recordings, 1 failed, 450 frames", "1: day1/cam1.mp4", "30/120", "2: waiting"):
        assert expected in text
    assert "failed: day1/cam7.mp4: no video" in text


def test_many_workers_get_no_lines_of_their_own(terminal):
    many = [WorkerView(number, f"clip{number}.mp4", 1, 2) for number in range(50)]
    with BatchProgress(ProgressMode.AUTO, output=terminal) as progress:
        progress.update(state(50, 100, workers=many))
    assert "8: clip7.mp4" in terminal.getvalue()
    assert "clip8.mp4" not in terminal.getvalue()


def test_off_shows_nothing():
    output = io.StringIO()
    with BatchProgress(ProgressMode.OFF, output=output) as progress:
        progress.update(state(10, 20))
        progress.event("failed", name="a", reason="b", attempts=1)
    assert output.getvalue() == ""


@pytest.mark.parametrize(
    ("what", "fields", "text"),
    [
        ("again", {"name": "a", "reason": "locked", "attempt": 1, "delay_s": 5.0}, "a: locked; trying again in 5.0 s"),
        ("worker_ended", {"worker": 0, "reason": "SIGKILL"}, "worker 1 ended (SIGKILL); starting another"),
        ("done", {"name": "a", "frames": 3, "objects": 4}, ""),
    ],
)
def test_bad_news_are_lines(what, fields, text):
    output = io.StringIO()
    BatchProgress(ProgressMode.AUTO, output=output).event(what, **fields)
    assert output.getvalue().strip() == text


def test_events_are_lines_of_json():
    clock, events = FakeClock(), io.StringIO()
    progress = BatchProgress(ProgressMode.OFF, events, io.StringIO(), clock)
    progress.event("done", name="caf\udce9.mp4", frames=3, objects=4)
    progress.update(state(10, 20, workers=BUSY))
    progress.update(state(12, 20, workers=BUSY))
    clock.now_s += 5
    progress.update(state(20, 20))
    first, second, third = map(json.loads, events.getvalue().splitlines())
    assert first.pop("time").endswith("+00:00")
    assert first == {"event": "done", "name": "caf\udce9.mp4", "frames": 3, "objects": 4}
    assert (second["event"], second["frames"], second["frames_to_do"], second["skipped"]) == ("progress", 10, 20, 40)
    assert second["workers"] == [{"worker": 0, "name": "day1/cam1.mp4", "frames": 30}]
    assert third["frames"] == 20


def test_events_that_nobody_reads_under_windows(monkeypatch):
    class Closed(io.StringIO):
        def write(self, text):
            raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(sys, "stdout", Closed())
    monkeypatch.setattr(sys, "platform", "win32")
    progress = BatchProgress(ProgressMode.OFF, sys.stdout, io.StringIO(), FakeClock())
    with pytest.raises(OutputClosedError):
        progress.event("end")


def test_what_is_going_to_be_done():
    found = Found([], Counter({".txt": 2}))
    text = plan_text(found, state(done=3, failed=2, inputs=10), 4, 12_300_000)
    assert text == (
        "10 recordings: 4 to do (12.3 MB), 3 done before, 2 set aside before (--retry-failed tries them again), "
        "1 left out by --limit\nignored: 2 files that are no recordings by their names: 2 .txt"
    )
    assert plan_text(Found([]), state(inputs=1), 1, 0) == "1 recording: 1 to do (0.0 MB), 0 done before"


def test_the_end_accounts_for_every_input():
    reasons = {f"{number}.mp4": "no video" for number in range(12)}
    text = end_text(state(300, done=20, failed=12, inputs=40), 20.0, lambda: reasons, "out/summary.json").splitlines()
    assert text[:3] == [
        "batch: 40 recordings: 20 done, 8 skipped, 12 failed",
        "  this run   300 frames in 20.0 s, 15.0 fps",
        "  failed     0.mp4: no video",
    ]
    assert text[-2:] == ["  failed     … and 2 more: see the summary", "  summary    out/summary.json"]
    assert len(text) == 2 + 10 + 2
