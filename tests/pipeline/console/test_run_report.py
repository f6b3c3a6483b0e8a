import io
import re

import pytest

from pipeline.console.run_report import ProgressReport, summary_text, with_progress
from pipeline.ledger import DropStage, EndReason, RunLedger, RunSummary
from pipeline.records import SegmentedFrame, SourceInfo, SourceKind, StageTimes
from pipeline.scene import LineCount, Scene, ZoneState
from pipeline.settings.output_settings import ProgressMode
from tests.pipeline.fakes import FakeClock, FakeSource, make_frame, make_instances
from tests.pipeline.runs import stream_of

SCENE = Scene(now={"person": 2, "dog": 1})
FILE = SourceInfo("clip.mp4", SourceKind.RECORDED, 80, 48, frame_count=200)


def show(ledger, clock, index):
    segmented = SegmentedFrame(
        make_frame(index), make_instances(), index, StageTimes(clock(), presented_at_s=clock() + 0.1), SCENE
    )
    ledger.presented(segmented)
    return segmented


def run_progress(output, mode, info=FILE, frames=50, limit=None):
    ledger, clock = RunLedger(), FakeClock(0.0)
    with ProgressReport(info, ledger, clock, mode, limit, output) as progress:
        for index in range(frames):
            clock.now_s += 0.25
            progress.update(show(ledger, clock, index))
    return output.getvalue()


def test_plain_lines_every_ten_seconds_with_rate_and_time_left():
    lines = run_progress(io.StringIO(), ProgressMode.AUTO).splitlines()
    assert lines == [
        "clip.mp4: frame 40 of 200 (20 %), 4.0 fps, 40.0 s left",
    ]


def test_without_a_frame_count_only_the_frames_done():
    info = SourceInfo("camera 0", SourceKind.LIVE, 80, 48)
    assert run_progress(io.StringIO(), ProgressMode.LINES, info, 50).splitlines() == ["camera 0: frame 40, 4.0 fps"]


def test_max_frames_limits_the_total():
    assert "frame 40 of 60" in run_progress(io.StringIO(), ProgressMode.LINES, FILE, 50, limit=60)


def test_a_terminal_gets_a_bar(terminal):
    text = run_progress(terminal, ProgressMode.AUTO)
    assert "clip.mp4" in text
    assert "50/200 frames" in text


def test_a_requested_bar_and_a_name_with_brackets():
    info = SourceInfo("shots[1].mp4", SourceKind.RECORDED, 80, 48)
    text = run_progress(io.StringIO(), ProgressMode.BAR, info)
    assert "shots[1].mp4" in text
    assert "50 frames" in text
    assert "left" not in text


def test_a_live_source_has_a_line_that_changes_on_a_terminal_and_none_elsewhere(terminal):
    info = SourceInfo("camera 0", SourceKind.LIVE, 80, 48)
    text = run_progress(terminal, ProgressMode.AUTO, info)
    assert re.search(r"camera 0 50 frames 4\.0 fps 2 people, 1 dog .*0:00:00", text)
    assert "left" not in text
    assert run_progress(io.StringIO(), ProgressMode.AUTO, info) == ""


def test_off_is_silent(terminal):
    assert run_progress(terminal, ProgressMode.OFF) == ""
    assert run_progress(io.StringIO(), ProgressMode.OFF) == ""


def test_frames_of_a_stream_pass_and_a_line_shows_them(terminal, monkeypatch):
    monkeypatch.setattr("sys.stderr", terminal)
    with stream_of(FakeSource(30)) as stream:
        assert [item.frame.index for item in with_progress(stream)] == list(range(30))
    assert "30/30 frames" in terminal.getvalue()


def test_summary_says_everything_once():
    ledger, clock = RunLedger(), FakeClock(10.0)
    ledger.ready()
    for index in range(11):
        ledger.captured(10.0 + 0.1 * index)
    for index in range(3):
        ledger.inferred(10.0 + 0.5 * index, 0.4)
        clock.now_s = 10.0 + 0.5 * index
        show(ledger, clock, index)
    for _ in range(7):
        ledger.dropped(DropStage.INFERENCE)
    ledger.stopped()
    ledger.dropped(DropStage.DISPLAY)
    ledger.sink_dropped("recorder")
    summary = RunSummary(FILE, True, "a model", ledger.overall(), 2, ["out.mp4", "out.jsonl"], EndReason.STOPPED, 95.0)
    text = summary_text(summary)
    for part in (
        "clip.mp4: stopped after 1:35 min",
        "a model",
        "captured 11, inferred 3, presented 3, dropped 8",
        "7 before inference (busy)",
        "1 before display (run stopped)",
        "1 presented but dropped by the recorder",
        "capture 10.0 fps, inference 2.0 fps, display 2.0 fps",
        "reconnects 2",
        "out.mp4",
        "out.jsonl",
    ):
        assert text.count(part) == 1, part
    # each frame took 100 ms to its display and 400 ms in the network; a histogram is exact to 1 %
    assert re.search(r"\n  time       (99|10[01]) ms from capture to display \(95 % within (99|10[01]) ms\), ", text)
    assert re.search(r", (39[6-9]|40[0-4]) ms a frame in the network \(medians\)\n", text)


@pytest.mark.parametrize("live", [False, True])
def test_summary_of_a_run_without_frames(live):
    text = summary_text(RunSummary(FILE, live, "m", RunLedger().overall(), 0, [], EndReason.FAILED, 0.2))
    assert "failed after 0.2 s" in text
    assert "  time" not in text
    assert "reconnects" not in text


def test_summary_of_frames_that_were_shown_before_the_network_had_a_result():
    ledger, clock = RunLedger(), FakeClock(10.0)
    ledger.captured(10.0)
    show(ledger, clock, 0)
    text = summary_text(RunSummary(FILE, True, "m", ledger.overall(), 0, [], EndReason.STOPPED, 0.2))
    assert re.search(
        r"\n  time       (99|10[01]) ms from capture to display \(95 % within (99|10[01]) ms\) \(median\)", text
    )


@pytest.mark.parametrize(
    ("outputs", "lines"),
    [
        (["out/1.png", "out/2.png", "more/3.png", "a.jsonl"], ["out/ (2 images)", "more/ (1 image)", "a.jsonl"]),
        (["out/1.png"], ["out/1.png"]),
        ([], []),
    ],
)
def test_summary_says_how_many_images_were_written(outputs, lines):
    info = SourceInfo("photos", SourceKind.STILLS, 80, 48)
    text = summary_text(RunSummary(info, False, "m", RunLedger().overall(), 0, outputs, EndReason.FINISHED, 0.2))
    assert re.findall("^  output     (.*)$", text, re.MULTILINE) == lines


def test_summary_lists_the_warnings_of_the_source():
    warnings = ["corrupt data at 00:12.4", "unreadable images skipped: a.png and 3 more"]
    text = summary_text(
        RunSummary(FILE, False, "m", RunLedger().overall(), 0, [], EndReason.FINISHED, 0.2, source_warnings=warnings)
    )
    assert text.endswith(
        "  warning    corrupt data at 00:12.4\n  warning    unreadable images skipped: a.png and 3 more"
    )


def test_summary_of_counts_lines_and_zones():
    scene = Scene(
        seen={"person": 3, "dog": 1},
        lines=[LineCount("door", 3, 1)],
        zones=[ZoneState("desk", 1, 4, 2.0, 65.0, 90.5), ZoneState("empty", 0, 0, None, None, None)],
    )
    text = summary_text(RunSummary(FILE, False, "m", RunLedger().overall(), 0, [], EndReason.FINISHED, 0.2, scene))
    assert "  seen       3 people, 1 dog in view over the clip (by track)\n" in text
    assert "  line       door: in 3, out 1\n" in text
    assert "  zone       desk: 4 entered, 1 inside at the end, stayed 1:05 min on average, 1:30 min at most\n" in text
    assert text.endswith("  zone       empty: 0 entered, 0 inside at the end")
    assert "seen" not in summary_text(
        RunSummary(FILE, False, "m", RunLedger().overall(), 0, [], EndReason.FINISHED, 0.2, Scene())
    )
