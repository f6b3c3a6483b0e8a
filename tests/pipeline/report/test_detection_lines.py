"""Reading detections files: what a run wrote comes back, and what is damaged or foreign is one clear error."""

from __future__ import annotations

import json
import logging
from dataclasses import replace

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from pipeline.errors import InputError
from pipeline.records import SourceKind
from pipeline.report import detection_lines
from pipeline.report.detection_lines import read_frames, run_lengths
from pipeline.scene import Direction, Event, EventKind, Scene
from pipeline.settings.output_settings import DetectionsSettings
from pipeline.settings.presentation_settings import PrivacyMode, ZoneSettings
from pipeline.sinks.detections import Detections
from tests.pipeline.report.stored import HEIGHT, RUN, WIDTH, line, one, rle, write
from tests.pipeline.sinks.presentations import context
from tests.pipeline.sinks.test_detections import item, some_instances


def test_what_the_sink_writes_is_read(tmp_path):
    zone = ZoneSettings(name="desk", points=((0, 0), (1, 0), (1, 1)))
    sink = Detections(DetectionsSettings(path=str(tmp_path / "out.jsonl"), events=True))
    sink.open(replace(context(kind=SourceKind.LIVE), privacy=PrivacyMode.BLUR, zones=(zone,)))
    crossed = Event(EventKind.CROSSED, 0.68, 7, 1, "person", "door", Direction.OUT)
    first = item(0, some_instances(3))
    segmented = replace(
        first.segmented,
        scene=Scene(events=(crossed,)),
        times=replace(first.segmented.times, presented_at_s=0.0416),
    )
    sink.write(replace(first, segmented=segmented))
    sink.write(item(1))
    sink.close()
    read, second = read_frames(tmp_path / "out.jsonl")
    assert read.run.model_dump(exclude={"zones"}) == {
        "kind": SourceKind.LIVE,
        "privacy": PrivacyMode.BLUR,
        "lines": (),
    }
    assert read.run.zones == (zone,)
    assert read.latency_ms == 41.6
    assert read.events[0].direction is Direction.OUT
    assert read.events[0].line == "door"
    assert len(read.objects) == 3
    assert (second.frame, second.objects, second.run, second.latency_ms) == (1, (), None, None)


@pytest.mark.parametrize("seed", range(20))
def test_run_lengths_against_pycocotools(seed):
    rng = np.random.default_rng(seed)
    pixels = np.asfortranarray(rng.random((37, 3 + seed)) < rng.random(), np.uint8)
    counts = coco_mask.encode(pixels)["counts"].decode("ascii")
    flat = pixels.ravel(order="F")
    changes = [0, *(np.flatnonzero(flat[1:] != flat[:-1]) + 1), flat.size]
    expected = [0] * bool(flat[0]) + list(np.diff(changes))
    assert run_lengths(counts).tolist() == expected


@pytest.mark.parametrize(
    "counts",
    ["", "P", "0P", "~", " ", "é", "PPPPPPP1", "QX1o1T98H5K8"],
    ids=["empty", "open", "open at the end", "above", "below", "not ASCII", "long", "negative"],
)
def test_what_is_no_encoding_is_refused(tmp_path, counts):
    wrong = one() | {"mask": {"size": [HEIGHT, WIDTH], "counts": counts}}
    with pytest.raises(InputError, match=r"x.jsonl:2: objects.0.mask: expected a run-length encoding of 40 x 64 pix"):
        list(read_frames(write(tmp_path / "x.jsonl", line(0, run=RUN), line(1, wrong))))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"frame": "17"}, "frame: expected a whole number"),
        ({"frame": -1}, "frame: expected at least 0"),
        ({"pts": float("nan")}, "pts: expected a finite number"),
        ({"pts": 1e300}, "pts: expected at most 1e\\+10"),
        ({"latency_ms": -1.0}, "latency_ms: expected at least 0"),
        ({"objects": [one() | {"score": 1.5}]}, "objects.0.score: expected at most 1"),
        ({"objects": [one() | {"box": [1, 2, 3, 1e9]}]}, "objects.0.box.3: expected at most 1e\\+06"),
        ({"width": 0}, "width: expected at least 1"),
        ({"width": 10**9}, "width: expected at most 16384"),
        ({"objects": {}}, "objects: expected a list"),
        ({"objects": [1]}, "objects.0: input should be an object"),
        ({"objects": [one() | {"box": [1, 2, 3]}]}, "objects.0.box.3 is missing"),
        ({"objects": [one() | {"box": [30, 2, 3, 4]}]}, "objects.0: expected a box .* got .30.0, 2.0, 3.0, 4.0."),
        ({"objects": [one() | {"class_id": 0}]}, "objects.0.class_id: expected at least 1"),
        ({"objects": [one() | {"mask": rle((1, 1, 2, 2), (30, 30))}]}, "expected masks of the frame's size, 40 x 64"),
        ({"events": [{"event": "flew"}]}, "events.0.event: expected 'appeared'"),
        ({"run": {"kind": "recorded", "privacy": "maybe"}}, "run.privacy: expected 'off'"),
    ],
)
def test_a_wrong_value_is_named_with_file_and_line(tmp_path, change, message):
    path = write(tmp_path / "x.jsonl", line(0), line(1), line(2) | change)
    with pytest.raises(InputError, match=rf"x\.jsonl:3: {message}.*; expected the lines that a run writes with --det"):
        list(read_frames(path))


def test_a_missing_key_is_named(tmp_path):
    (tmp_path / "x.jsonl").write_text('{"source": "a", "frame": 1}\n', encoding="ascii")
    with pytest.raises(InputError, match=r"x.jsonl:1: pts is missing; expected"):
        list(read_frames(tmp_path / "x.jsonl"))


@pytest.mark.parametrize(
    "content",
    [b"hello\n", b"[1, 2]\n", b"\n", b"\x89PNG\r\n\x1a\n\0\0", b"[" * 100_000 + b"\n", b'{"source": "\\ud800\n'],
    ids=["text", "list", "blank", "binary", "nested", "half a character"],
)
def test_foreign_files(tmp_path, content):
    (tmp_path / "x.jsonl").write_bytes(content)
    with pytest.raises(InputError, match=r"x.jsonl:1: .*; expected the lines that a run writes"):
        list(read_frames(tmp_path / "x.jsonl"))


def test_files_that_cannot_be_read(tmp_path):
    (tmp_path / "empty.jsonl").touch()
    with pytest.raises(InputError, match=r"empty.jsonl has no frames: expected"):
        list(read_frames(tmp_path / "empty.jsonl"))
    with pytest.raises(InputError, match=r"cannot read .*gone.jsonl: No such file"):
        list(read_frames(tmp_path / "gone.jsonl"))


def test_the_cut_last_line_of_a_killed_run_is_left_out_with_a_warning(tmp_path, caplog):
    path = write(tmp_path / "x.jsonl", line(0), line(1), line(2))
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    assert [frame.frame for frame in read_frames(path)] == [0, 1, 2]
    assert caplog.messages == []
    path.write_bytes(content[:-20])
    with caplog.at_level(logging.WARNING):
        assert [frame.frame for frame in read_frames(path)] == [0, 1]
    assert caplog.messages == [f"{path}:3: the last line is cut off and left out"]
    path.write_bytes(content[:-20] + b"\n" + json.dumps(line(3)).encode())
    with pytest.raises(InputError, match=r"x.jsonl:3: this is no JSON"):
        list(read_frames(path))


def test_an_endless_line_is_not_read_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(detection_lines, "MAX_LINE_BYTES", 1000)
    path = write(tmp_path / "x.jsonl", line(0))
    with open(path, "ab") as file:
        file.write(b" " * 5000)
    with pytest.raises(InputError, match=r"x.jsonl:2: this is no JSON"):
        list(read_frames(path))


def test_names_that_are_not_utf8(tmp_path):
    (frame,) = read_frames(write(tmp_path / "x.jsonl", line(0, source="broken \udcff 人.jpg")))
    assert frame.source == "broken \ufffd 人.jpg"


def test_areas(tmp_path):
    masked, plain = one((10, 5, 20, 25)), one((10, 5, 20, 25.5), mask=False)
    (frame,) = read_frames(write(tmp_path / "x.jsonl", line(0, masked, plain)))
    assert [found.area for found in frame.objects] == [200, 205]
