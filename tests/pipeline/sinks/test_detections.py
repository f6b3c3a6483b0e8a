"""The detections file: its keys and order, masks against pycocotools, what happens when things go wrong."""

from __future__ import annotations

import errno
import io
import json
import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from mrcnn.utils import unmold_mask
from pipeline.errors import InputError, OutputClosedError, RunError
from pipeline.records import Instances, SourceKind
from pipeline.scene import Direction, Event, EventKind, Scene
from pipeline.settings.output_settings import DetectionsSettings
from pipeline.settings.presentation_settings import Anchor, LineSettings, PrivacyMode, ZoneSettings
from pipeline.sinks.detections import Detections, frame_record
from pipeline.sinks.paths import Inputs, Outputs
from tests.pipeline.sinks.presentations import LABELS, context, presentation

HEIGHT, WIDTH = 53, 71


def some_instances(count=2, seed=0):
    rng = np.random.default_rng(seed)
    corners = rng.uniform(-10, 60, (count, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(5, 40, (count, 2))], axis=1).astype(np.float32)
    return Instances(
        boxes,
        rng.integers(1, 3, count).astype(np.int32),
        np.sort(rng.random(count, np.float32))[::-1].copy(),
        rng.random((count, 28, 28), np.float32),
    )


def item(index=17, instances=None, pts=680, time_base=Fraction(1, 1000), source_id="clip.mp4"):
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    return presentation(index, pts, image, time_base, instances=instances, source_id=source_id)


def write(path, items, **settings):
    sink = Detections(DetectionsSettings(path=str(path), **settings))
    sink.open(context())
    for one in items:
        sink.write(one)
    sink.close()
    return sink


def test_events_are_on_their_frames_line_if_enabled(tmp_path):
    crossed = Event(EventKind.CROSSED, 0.68, 7, 1, "person", "door", Direction.OUT)
    with_event = item(17)
    segmented = replace(with_event.segmented, scene=Scene(events=(crossed,)))
    items = [replace(with_event, segmented=segmented), item(18)]
    write(tmp_path / "off.jsonl", items)
    assert all("events" not in json.loads(line) for line in (tmp_path / "off.jsonl").read_text().splitlines())
    write(tmp_path / "on.jsonl", items, events=True)
    lines = [json.loads(line) for line in (tmp_path / "on.jsonl").read_text().splitlines()]
    assert [list(line)[6:] for line in lines] == [["events", "run"], ["events"]]
    assert lines[0]["events"] == [
        {
            "event": "crossed",
            "pts": 0.68,
            "track_id": 7,
            "class_id": 1,
            "label": "person",
            "line": "door",
            "direction": "out",
        }
    ]
    assert lines[1]["events"] == []


def test_a_line_has_exactly_the_promised_keys_in_order(tmp_path):
    instances = Instances(
        np.array([[10, 5, 40, 45]], np.float32),
        np.array([1], np.int32),
        np.array([0.9983], np.float32),
        np.ones((1, 28, 28), np.float32),
    )
    path = tmp_path / "out.jsonl"
    sink = write(path, [item(17, instances)])
    assert sink.outputs == (str(path),)
    text = path.read_text()
    assert text.endswith("\n")
    line = json.loads(text)
    assert list(line) == ["source", "frame", "pts", "width", "height", "objects", "run"]
    assert {key: line[key] for key in list(line)[:5]} == {
        "source": "clip.mp4",
        "frame": 17,
        "pts": 0.68,
        "width": WIDTH,
        "height": HEIGHT,
    }
    (found,) = line["objects"]
    assert list(found) == ["class_id", "label", "score", "box", "mask", "track_id"]
    assert (found["class_id"], found["label"], found["score"]) == (1, "person", 0.9983)
    assert found["box"] == [10.0, 5.0, 40.0, 45.0]
    assert found["track_id"] is None
    assert list(found["mask"]) == ["size", "counts"]
    assert found["mask"]["size"] == [HEIGHT, WIDTH]
    expected = np.zeros((HEIGHT, WIDTH), np.uint8)
    expected[5:45, 10:40] = 1
    assert (coco_mask.decode(found["mask"]) == expected).all()


def test_the_first_line_tells_about_the_run(tmp_path):
    line = LineSettings(name="door", points=((0, 0.5), (1, 0.5)), classes=("person",))
    zone = ZoneSettings(name="desk", points=((10, 10), (40, 10), (40, 30)), anchor=Anchor.CENTER)
    run = replace(context(), privacy=PrivacyMode.PIXELATE, lines=(line,), zones=(zone,))
    sink = Detections(DetectionsSettings(path=str(tmp_path / "out.jsonl")))
    sink.open(run)
    for i in range(3):
        sink.write(item(i))
    sink.close()
    first, *others = map(json.loads, (tmp_path / "out.jsonl").read_text().splitlines())
    assert first["run"] == {
        "kind": "recorded",
        "privacy": "pixelate",
        "lines": [{"name": "door", "classes": ["person"], "anchor": "bottom", "points": [[0.0, 0.5], [1.0, 0.5]]}],
        "zones": [
            {"name": "desk", "classes": [], "anchor": "center", "points": [[10.0, 10.0], [40.0, 10.0], [40.0, 30.0]]}
        ],
    }
    assert ["run" in other or "latency_ms" in other for other in others] == [False, False]


def test_frames_of_live_sources_have_their_latency(tmp_path):
    sink = Detections(DetectionsSettings(path=str(tmp_path / "out.jsonl")))
    sink.open(context(kind=SourceKind.LIVE))
    for i, presented_at_s in enumerate((0.04567, None)):
        one = item(i)
        times = replace(one.segmented.times, captured_at_s=0.0, presented_at_s=presented_at_s)
        sink.write(replace(one, segmented=replace(one.segmented, times=times)))
    sink.close()
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [line.get("latency_ms") for line in lines] == [45.7, None]


def test_masks_decode_to_the_networks_masks():
    instances = Instances(
        np.array([[3, 4, 66, 51], [0, 0, WIDTH, HEIGHT]], np.float32),
        np.array([1, 2], np.int32),
        np.array([0.9, 0.8], np.float32),
        np.random.default_rng(5).random((2, 28, 28), np.float32),
    )
    record = frame_record(item().segmented.frame, instances, LABELS, 0.5)
    for found, probs, (x1, y1, x2, y2) in zip(
        record["objects"], instances.mask_probs, instances.boxes_xyxy.astype(int), strict=True
    ):
        expected = unmold_mask(probs, (y1, x1, y2, x2), (HEIGHT, WIDTH))
        assert np.count_nonzero(coco_mask.decode(found["mask"]) != expected) <= 1


def test_frames_without_objects_have_a_line_too(tmp_path):
    path = tmp_path / "out.jsonl"
    write(path, [item(0), item(1, some_instances(100)), item(2)])
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [len(line["objects"]) for line in lines] == [0, 100, 0]


def test_masks_can_be_left_out(tmp_path):
    path = tmp_path / "out.jsonl"
    write(path, [item(0, some_instances(3))], masks=False)
    assert [found["mask"] for found in json.loads(path.read_text())["objects"]] == [None] * 3


def test_track_ids_are_written_where_there_are_some(tmp_path):
    path = tmp_path / "out.jsonl"
    tracked = replace(some_instances(3), track_ids=np.array([7, 0, 2], np.int32))
    write(path, [item(0, tracked), item(1, some_instances(1))])
    first, second = (json.loads(line)["objects"] for line in path.read_text().splitlines())
    assert [found["track_id"] for found in first] == [7, None, 2]
    assert [found["track_id"] for found in second] == [None]


def test_numbers_are_rounded_to_their_precision(tmp_path):
    path = tmp_path / "out.jsonl"
    write(path, [item(1, some_instances(2), pts=1, time_base=Fraction(1001, 30000))], masks=False)
    line = json.loads(path.read_text())
    assert line["pts"] == 0.033367
    for found in line["objects"]:
        assert found["score"] == round(found["score"], 4)
        assert found["box"] == [round(edge, 2) for edge in found["box"]]


def test_names_in_any_script_and_undecodable_ones(tmp_path):
    path = tmp_path / "out.jsonl"
    names = ["Füße 人.jpg", "broken \udcff.jpg", 'quote " and \n.jpg']
    write(path, [item(source_id=name) for name in names])
    assert [json.loads(line)["source"] for line in path.read_bytes().splitlines()] == names


def test_a_line_is_in_the_file_as_soon_as_it_is_written(tmp_path):
    path = tmp_path / "out.jsonl"
    sink = Detections(DetectionsSettings(path=str(path)))
    sink.open(context())
    assert not path.exists()
    for i in range(3):
        sink.write(item(i))
        assert path.read_bytes().count(b"\n") == i + 1
    sink.close()
    sink.close()


def test_standard_output(monkeypatch):
    stdout = io.TextIOWrapper(io.BytesIO())
    monkeypatch.setattr(sys, "stdout", stdout)
    sink = write("-", [item(3)])
    assert sink.outputs == ()
    assert json.loads(stdout.buffer.getvalue())["frame"] == 3


@pytest.mark.skipif(os.name == "nt", reason="Windows has no FIFOs and no EPIPE")
@pytest.mark.parametrize(
    ("to_stdout", "kind", "code"), [(True, OutputClosedError, 141), (False, RunError, 1)], ids=["stdout", "FIFO"]
)
def test_a_reader_that_goes_away(tmp_path, monkeypatch, to_stdout, kind, code):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    with open(fifo, "w") as stdout:
        if to_stdout:
            monkeypatch.setattr(sys, "stdout", stdout)
        sink = Detections(DetectionsSettings(path="-" if to_stdout else str(fifo)))
        sink.open(context())
        sink.write(item(0))
        os.close(reader)
        with pytest.raises(RunError) as caught:
            sink.write(item(1))
        sink.close()
    assert type(caught.value) is kind
    assert caught.value.exit_code == code


def test_a_reader_that_goes_away_under_windows(monkeypatch):
    class Closed(io.BytesIO):
        def write(self, data):
            raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(Closed()))
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(OutputClosedError):
        write("-", [item(0)])


KILLED = textwrap.dedent(
    """
    import os, signal, sys
    from pipeline.settings.schema import DetectionsSettings
    from pipeline.sinks.detections import Detections
    from tests.pipeline.sinks.presentations import context
    from tests.pipeline.sinks.test_detections import item, some_instances
    sink = Detections(DetectionsSettings(path=sys.argv[1]))
    sink.open(context())
    for i in range(20):
        sink.write(item(i, some_instances(3)))
    os.kill(os.getpid(), signal.SIGKILL)
    """
)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_a_killed_run_leaves_whole_lines(tmp_path):
    path = tmp_path / "out.jsonl"
    root = Path(__file__).parents[3]
    subprocess.run([sys.executable, "-c", KILLED, str(path)], cwd=root, timeout=60, check=False)
    assert [json.loads(line)["frame"] for line in path.read_text().splitlines()] == list(range(20))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_is_reported_as_such():
    sink = Detections(DetectionsSettings(path="/dev/full"))
    sink.open(context())
    with pytest.raises(RunError, match="/dev/full failed: No space left"):
        sink.write(item())
    sink.close()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing/out.jsonl", "does not exist"),
        ("folder", "is a folder"),
        ("input.mp4", "is a file that this run reads"),
    ],
)
def test_impossible_paths_are_errors_before_anything_is_written(tmp_path, name, message):
    (tmp_path / "folder").mkdir()
    (tmp_path / "input.mp4").write_bytes(b"the input")
    sink = Detections(DetectionsSettings(path=str(tmp_path / name)), Outputs(Inputs.of([tmp_path / "input.mp4"])))
    with pytest.raises(InputError, match=f"--detections .*{message}"):
        sink.open(context())
    assert (tmp_path / "input.mp4").read_bytes() == b"the input"
    assert len(os.listdir(tmp_path)) == 2


def test_frames_of_several_cameras_name_theirs():
    frame = presentation(0).segmented.frame
    record = frame_record(replace(frame, camera="hall"), some_instances(), LABELS, None)
    assert next(iter(record)) == "camera"
    assert record["camera"] == "hall"
    assert "camera" not in frame_record(frame, some_instances(), LABELS, None)
