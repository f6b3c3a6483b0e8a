"""Which sinks the settings make."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from pipeline.controls import Controls
from pipeline.errors import InputError
from pipeline.records import Instances, SourceKind
from pipeline.settings.output_settings import (
    DetectionsSettings,
    OverlaySettings,
    RecorderSettings,
    ServeSettings,
    WindowMode,
    WindowSettings,
)
from pipeline.settings.schema import Settings
from pipeline.settings.source_settings import SourceSettings
from pipeline.sinks.cameras_window import CamerasWindow
from pipeline.sinks.detections import Detections
from pipeline.sinks.factory import make_cameras_window, make_sinks, make_window
from pipeline.sinks.images import Images
from pipeline.sinks.recorder import Recorder
from pipeline.sinks.switched_recorder import SwitchedRecorder
from pipeline.sinks.window import Window
from tests.pipeline.sinks.presentations import context, presentation

SCREEN = (True, "")
NO_SCREEN = (False, "DISPLAY is not set")


def settings(window=WindowMode.OFF, output=None, detections=None, uri="0"):
    return Settings(
        source=SourceSettings(uri=str(uri)),
        window=WindowSettings(mode=window),
        output=RecorderSettings(path=output and str(output)),
        detections=DetectionsSettings(path=detections and str(detections)),
        overlay=OverlaySettings(mask_threshold=0.25),
    )


def kinds(wanted, kind=SourceKind.RECORDED, screen=SCREEN):
    controls = Controls(wanted.overlay)
    window = make_window(wanted, controls, lambda: screen)
    return [type(sink) for sink in make_sinks(wanted, context(kind=kind).source, controls, window)]


def test_no_sinks():
    assert kinds(settings()) == []


def test_all_sinks(tmp_path):
    wanted = settings(WindowMode.AUTO, tmp_path / "out.mp4", tmp_path / "out.jsonl")
    # The window's key r ends a recording and starts another.
    assert kinds(wanted) == [Window, SwitchedRecorder, Detections]
    assert kinds(wanted, SourceKind.LIVE) == [Window, SwitchedRecorder, Detections]
    assert kinds(wanted, SourceKind.STILLS) == [Window, Images, Detections]
    assert kinds(wanted, screen=NO_SCREEN) == [Recorder, Detections]
    assert kinds(settings(WindowMode.AUTO)) == [Window, SwitchedRecorder]
    assert kinds(settings(WindowMode.AUTO), SourceKind.STILLS) == [Window]


@pytest.mark.parametrize(
    ("files", "is_alone"), [({}, True), ({"output": "a.mp4"}, False), ({"detections": "-"}, False)]
)
def test_the_window_is_alone_where_nothing_is_written(files, is_alone):
    wanted = settings(WindowMode.ON, **files)
    assert make_window(wanted, Controls(wanted.overlay), lambda: SCREEN).is_alone == is_alone


def test_a_machine_without_a_screen_runs_without_a_window_and_says_so(caplog):
    assert kinds(settings(WindowMode.AUTO), screen=NO_SCREEN) == []
    assert "no screen found (DISPLAY is not set), running without a window" in caplog.text
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_a_required_window_is_an_error_without_a_screen():
    with pytest.raises(InputError, match="DISPLAY is not set"):
        kinds(settings(WindowMode.ON), screen=NO_SCREEN)


def test_several_cameras_have_one_window_if_there_is_a_screen():
    def made(mode, screen):
        return make_cameras_window(settings(mode), lambda _: None, lambda: screen)

    assert type(made(WindowMode.AUTO, SCREEN)) is CamerasWindow
    assert made(WindowMode.AUTO, NO_SCREEN) is None
    assert made(WindowMode.OFF, SCREEN) is None
    with pytest.raises(InputError, match=r"window\.mode is on, but no window can be opened: DISPLAY is not set"):
        made(WindowMode.ON, NO_SCREEN)


def test_a_camera_of_several_can_be_recorded_from_the_window_of_all():
    wanted = settings()
    (sink,) = make_sinks(wanted, context().source, Controls(wanted.overlay), camera="hall")
    assert type(sink) is SwitchedRecorder
    assert make_sinks(wanted, context(kind=SourceKind.STILLS).source, Controls(wanted.overlay), camera="hall") == []


def test_the_screen_is_not_checked_without_a_window():
    def looked():
        raise AssertionError

    wanted = settings(WindowMode.OFF)
    assert make_window(wanted, Controls(wanted.overlay), looked) is None


def test_outputs_must_differ(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = context()
    recorder, detections = make_sinks(settings(output=tmp_path / "x.mp4", detections="x.mp4"), run.source)
    recorder.open(run)
    with pytest.raises(InputError, match="--output and --detections are both"):
        detections.open(run)
    assert kinds(settings(output="-", detections="-")) == [Recorder, Detections]


def test_no_sink_may_overwrite_the_source(tmp_path):
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(b"x")
    run = context()
    for wanted in (settings(output=clip, uri=clip), settings(detections=clip, uri=clip)):
        (sink,) = make_sinks(wanted, run.source)
        with pytest.raises(InputError, match="is a file that this run reads"):
            sink.open(run)


def test_detections_use_the_overlays_threshold(tmp_path):
    path = tmp_path / "out.jsonl"
    (sink,) = make_sinks(settings(detections=path), context().source)
    assert isinstance(sink, Detections)
    sink.open(context())
    probs = np.full((1, 28, 28), 0.2, np.float32)
    probs[0, :14] = 0.3  # the upper half is above the overlay's threshold, and below the usual one
    box = np.array([[10, 8, 38, 36]], np.float32)
    sink.write(presentation(0, instances=Instances(box, np.ones(1, np.int32), np.ones(1, np.float32), probs)))
    sink.close()
    (written,) = json.loads(path.read_text())["objects"]
    mask = coco_mask.decode(written["mask"])
    assert mask[8:20, 10:38].all()
    assert not mask[24:].any()


def test_events_are_written_where_lines_or_zones_are_set(tmp_path):
    def written(name, **values):
        path = tmp_path / name
        plain = settings(detections=path, uri=tmp_path / "in.mp4")
        chosen = Settings.model_validate({**plain.model_dump(), **values})
        (sink,) = make_sinks(chosen, context().source)
        sink.open(context())
        sink.write(presentation(0))
        sink.close()
        return "events" in path.read_text()

    assert not written("plain.jsonl")
    assert written("line.jsonl", lines=[{"name": "a", "points": [[0, 0], [1, 1]]}])
    assert written("zone.jsonl", zones=[{"name": "a", "points": [[0, 0], [1, 1], [1, 0]]}])


def test_a_served_video_is_recorded_on_demand_and_images_as_usual(tmp_path):
    served = settings(output=tmp_path / "out.mp4").model_copy(update={"serve": ServeSettings(address="8080")})
    controls = Controls(served.overlay)
    for kind, expected in ((SourceKind.LIVE, SwitchedRecorder), (SourceKind.STILLS, Images)):
        (sink,) = make_sinks(served, context(kind=kind).source, controls=controls)
        assert type(sink) is expected
    (sink,) = make_sinks(served.model_copy(update={"output": RecorderSettings()}), context().source, controls=controls)
    assert type(sink) is SwitchedRecorder


def test_the_service_manager_is_notified_first(monkeypatch, tmp_path):
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    settings = Settings.model_validate(
        {"window": {"mode": "off"}, "output": {"path": str(tmp_path / "a.mp4"), "segment_s": 60}}
    )
    sinks = make_sinks(settings, context().source)
    assert [type(sink).__name__ for sink in sinks] == ["SystemdNotifier", "SegmentRecorder"]
