"""The line while several cameras run, and the text at the end."""

import io

from pipeline.console.cameras_report import CamerasProgress, cameras_text, run_with_progress
from pipeline.errors import RunError
from pipeline.ledger import EndReason, RunLedger, RunSummary
from pipeline.records import SourceInfo, SourceKind
from pipeline.runtime.camera_group import Cameras
from pipeline.runtime.camera_summaries import CamerasSummary, CameraSummary
from pipeline.settings.output_settings import ProgressMode
from tests.pipeline.fakes import FakeClock, FakeSegmenter, FakeSource

CAMERAS = {
    "window": {"mode": "off"},
    "cameras": [{"name": "hall", "uri": "test:"}, {"name": "gate", "uri": "test:", "enabled": False}],
}


def cameras_of(mode, clock=None):
    more = {} if clock is None else {"clock": clock}
    source_of = lambda *_: FakeSource(5)  # noqa: E731
    return Cameras(CAMERAS | {"progress": mode}, segmenter=FakeSegmenter(), source_of=source_of, **more)


def test_plain_lines_where_they_are_requested():
    clock, output = FakeClock(), io.StringIO()
    cameras = cameras_of("lines", clock)
    with CamerasProgress(cameras, output) as progress:
        progress.update()
        assert output.getvalue() == ""
        clock.now_s += 11.0
        progress.update()
    line = "cameras: 0 of 2 running, 0.0 fps shown, 0.0 results a second; hall disabled, gate disabled\n"
    assert output.getvalue() == line


def test_a_run_from_which_all_cameras_were_removed():
    clock, output = FakeClock(), io.StringIO()
    cameras = cameras_of("lines", clock)
    cameras.entries = {}
    with CamerasProgress(cameras, output) as progress:
        clock.now_s += 11.0
        progress.update()
    assert output.getvalue() == "cameras: 0 of 0 running, 0.0 fps shown, 0.0 results a second\n"


def test_a_line_that_changes_on_a_terminal(terminal):
    clock = FakeClock()
    with CamerasProgress(cameras_of("auto", clock), terminal) as progress:
        progress.update()
    assert "0 of 2 running" in terminal.getvalue()


def test_silence_in_a_log_and_where_it_is_wanted(terminal):
    for mode, output in (("auto", io.StringIO()), ("off", terminal)):
        clock = FakeClock()
        cameras = cameras_of(mode, clock)
        assert cameras.settings.progress is ProgressMode(mode)
        with CamerasProgress(cameras, output) as progress:
            clock.now_s += 11.0
            progress.update()
        assert output.getvalue() == ""


def test_a_run_to_its_end():
    cameras = cameras_of("off")
    with cameras:
        run_with_progress(cameras)
    assert cameras.summary().cameras[0].runs[0].stats.presented == 5


def run_summary(captured, inferred, dropped, live=True):
    ledger = RunLedger()
    stats = ledger.overall()
    kind = SourceKind.LIVE if live else SourceKind.RECORDED
    stats = type(stats)(**{**{name: getattr(stats, name) for name in stats.__slots__}, "captured": captured})
    source = SourceInfo("rtsp://***@host/live", kind, 64, 48)
    return RunSummary(source, live, "a model", stats, 1, ["a.mp4"], EndReason.STOPPED, 10.0)


def test_each_camera_and_all_together():
    runs = (run_summary(100, 40, 0), run_summary(11, 4, 0))
    cameras = (
        CameraSummary("hall", runs, None),
        CameraSummary("gate", (), RunError("the disk is full")),
        CameraSummary("shed", (), None),
    )
    text = cameras_text(CamerasSummary(cameras, "a model", 2, 20.0, True))
    for part in (
        "hall (rtsp://***@host/live): stopped after 10.0 s\n  frames     captured 100, ",
        "hall (rtsp://***@host/live): stopped after 10.0 s\n  frames     captured 11, ",
        "gate: failed: the disk is full\n",
        "shed: was not started\n",
        "3 cameras: stopped after 20.0 s\n  model      a model\n  frames     captured 111, ",
        "  network    restarted 2 times\n  failed     gate",
    ):
        assert text.count(part) == 1, part
    assert text.count("a model") == 1


def test_a_run_in_which_nothing_was_opened():
    text = cameras_text(CamerasSummary((CameraSummary("a", (), None),), "m", 0, 0.0, True))
    assert text.splitlines()[-2:] == [
        "  frames     captured 0, inferred 0, presented 0, dropped 0",
        "  rates      0.0 results a second",
    ]
