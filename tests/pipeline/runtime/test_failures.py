"""The failure table of the design, row by row, with real files.

Rows that need a process are in tests/test_end_to_end.py, cameras that go away in tests/pipeline/sources, slow disks and
slow viewers in sinks/test_worker.py.
"""

import json
import shutil
from types import SimpleNamespace

import cv2
import pytest

from pipeline.errors import RunError
from pipeline.ledger import EndReason
from pipeline.records import SourceKind
from pipeline.runtime.stream import Stream
from pipeline.settings.schema import Settings
from pipeline.sinks import recorder
from pipeline.sinks.base import Delivery
from tests.pipeline.fakes import FakeSegmenter, FakeSink, FakeSource


def frames_in(path):
    reader, count = cv2.VideoCapture(str(path)), 0
    while reader.read()[0]:
        count += 1
    return count


def stream_to(tmp_path, source, segmenter=None, suffix="mp4"):
    values = {
        "output": {"path": str(tmp_path / f"out.{suffix}")},
        "detections": {"path": str(tmp_path / "out.jsonl")},
        "window": {"mode": "off"},
    }
    return Stream(Settings.model_validate(values), source=source, segmenter=segmenter or FakeSegmenter())


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "mov"])
@pytest.mark.parametrize("stage", ["capture", "inference"])
def test_an_exception_in_a_stage_leaves_a_recording_that_plays(tmp_path, stage, suffix):
    def fail_at_12(index):
        if index == 12:
            raise ValueError("broken on purpose")

    if stage == "capture":
        source, segmenter = FakeSource(12, error=RunError("broken on purpose")), FakeSegmenter()
    else:
        source, segmenter = FakeSource(None), FakeSegmenter(before=fail_at_12)
    stream = stream_to(tmp_path, source, segmenter, suffix)
    presented = []

    def run():
        with stream:
            presented.extend(stream)

    with pytest.raises(RunError, match="broken on purpose"):
        run()
    assert stream.summary().end is EndReason.FAILED
    assert 1 <= len(presented) <= 12
    assert frames_in(tmp_path / f"out.{suffix}") == len(presented)
    lines = (tmp_path / "out.jsonl").read_text().splitlines()
    assert [json.loads(line)["frame"] for line in lines] == [item.frame.index for item in presented]


@pytest.mark.parametrize("kind", [SourceKind.LIVE, SourceKind.RECORDED])
def test_a_disk_that_is_nearly_full_ends_the_run_and_finishes_every_output(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(recorder, "CHECK_EVERY_S", 0.0)
    free = iter([10**12] * 9)  # at the opening and for eight frames
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=next(free, 499_999_999)))
    stream = stream_to(tmp_path, FakeSource(None, kind))
    presented = []

    def run():
        with stream:
            presented.extend(stream)

    with pytest.raises(RunError, match="less than 500 MB are free") as error:
        run()
    assert error.value.exit_code == 1
    assert stream.summary().end is EndReason.FAILED
    assert frames_in(tmp_path / "out.mp4") == 8
    lines = (tmp_path / "out.jsonl").read_text().splitlines()
    assert [json.loads(line)["frame"] for line in lines] == [item.frame.index for item in presented]


@pytest.mark.parametrize("kind", [SourceKind.LIVE, SourceKind.RECORDED])
def test_a_closed_window_ends_the_run_and_finishes_the_recording(tmp_path, kind):
    window = FakeSink(Delivery.MAIN_THREAD, name="window")
    stream = stream_to(tmp_path, FakeSource(None, kind))
    stream.add_sink(window)
    shown = 0
    with stream:
        for _ in stream:
            shown += 1
            window.stop = shown >= 8
    assert stream.summary().end is EndReason.STOPPED
    assert frames_in(tmp_path / "out.mp4") == stream.summary().stats.presented


def test_a_segmenter_that_never_opens_leaves_no_files(tmp_path):
    def refuse():
        raise RunError("out of memory")

    stream = stream_to(tmp_path, FakeSource(5), FakeSegmenter(opening=refuse))

    def run():
        with stream:
            list(stream)

    with pytest.raises(RunError, match="out of memory"):
        run()
    assert list(tmp_path.iterdir()) == []
