"""All detections in one pass: statistics, pictures, exports."""

from __future__ import annotations

import io

import pytest

from pipeline.errors import InputError
from pipeline.report import collect as collect_module
from pipeline.report.collect import collect
from pipeline.report.export import Export
from pipeline.report.page import Problem
from pipeline.report.report_input import Source, Sources
from tests.pipeline.report.stored import RUN, line, one, write


class Listing(Export):
    """Keeps what it is given."""

    def __init__(self):
        super().__init__(io.BytesIO())
        self.seen, self.is_complete = [], False

    def add(self, origin, frame):
        self.seen.append((origin.name, frame.frame))

    def complete(self):
        self.is_complete = True


def test_every_frame_goes_to_every_export_once(tmp_path):
    files = [Source(name, write(tmp_path / f"{name}.jsonl", line(0, one()), line(1))) for name in ("a", "b")]
    exports, sizes = [Listing(), Listing()], []
    problem = Problem("c", "failed", "corrupt")
    report = collect("both", Sources(files, [problem]), exports, on_bytes=sizes.append)
    for export in exports:
        assert export.seen == [("a", 0), ("a", 1), ("b", 0), ("b", 1)]
        assert export.is_complete
    assert [(row.name, row.frames, row.counts) for row in report.rows] == [
        ("a", 2, {"person": 1}),
        ("b", 2, {"person": 1}),
    ]
    assert [recording.name for recording, _ in report.details] == ["a", "b"]
    assert (report.title, report.problems) == ("both", [problem])
    assert sum(sizes) == sum(file.path.stat().st_size for file in files)


def test_each_camera_of_a_file_is_a_recording(tmp_path):
    lines = [line(i, *[one()] * (camera == "hall"), camera=camera) for i in range(2) for camera in ("hall", "yard")]
    export = Listing()
    report = collect("all", Sources([Source("all", write(tmp_path / "all.jsonl", *lines))]), [export])
    assert export.seen == [("all/hall", 0), ("all/yard", 0), ("all/hall", 1), ("all/yard", 1)]
    assert [(row.name, row.frames, row.counts) for row in report.rows] == [
        ("all/hall", 2, {"person": 2}),
        ("all/yard", 2, {}),
    ]


def test_each_run_of_a_file_is_a_recording(tmp_path):
    """As `a.mp4 b.mp4 --detections -` writes them: frames, times and ids begin again."""
    of_a = [line(i, one(track_id=1), **({"run": RUN} if i == 0 else {})) for i in range(3)]
    of_b = [line(i, one(track_id=1), source="b.mp4", **({"run": RUN} if i == 0 else {})) for i in range(2)]
    export = Listing()
    report = collect("all", Sources([Source("all", write(tmp_path / "all.jsonl", *of_a, *of_b))]), [export])
    assert export.seen == [("all", 0), ("all", 1), ("all", 2), ("all/2", 0), ("all/2", 1)]
    assert [(row.name, row.frames, row.counts) for row in report.rows] == [
        ("all", 3, {"person": 1}),
        ("all/2", 2, {"person": 1}),
    ]
    assert [(recording.source, recording.duration) for recording, _ in report.details] == [
        ("clip.mp4", 0.2),
        ("b.mp4", 0.1),
    ]


def test_images_of_a_run_each_are_one_recording(tmp_path):
    images = [line(0, one(), pts=0.0, source=f"{i}.png", run=RUN | {"kind": "stills"}) for i in range(3)]
    report = collect("all", Sources([Source("all", write(tmp_path / "all.jsonl", *images))]), [])
    assert [(row.name, row.frames, row.counts) for row in report.rows] == [("all", 3, {"person": 3})]


def test_those_with_the_most_objects_are_shown_in_detail_in_the_order_of_the_files(tmp_path, monkeypatch):
    monkeypatch.setattr(collect_module, "MOST_DETAILS", 2)
    counts = {"a": 2, "b": 0, "c": 5, "d": 1}
    files = [
        Source(name, write(tmp_path / f"{name}.jsonl", line(0, *[one()] * count))) for name, count in counts.items()
    ]
    report = collect("all", Sources(files), [])
    assert len(report.rows) == 4
    assert [recording.name for recording, _ in report.details] == ["a", "c"]


def test_a_damaged_file_ends_it(tmp_path):
    (tmp_path / "b.jsonl").write_text("damaged\n")
    files = [Source("a", write(tmp_path / "a.jsonl", line(0))), Source("b", tmp_path / "b.jsonl")]
    with pytest.raises(InputError, match=r"b.jsonl:1: this is no JSON"):
        collect("all", Sources(files), [])
