"""The command `report`: what it writes, where, and its errors."""

from __future__ import annotations

import json

import pytest

from pipeline.commands.main import main
from tests.pipeline.report.stored import line, one, write


@pytest.fixture
def detections(tmp_path):
    return write(tmp_path / "clip.jsonl", line(0, one(track_id=1)), line(1, one(track_id=1), one(track_id=2)))


def test_the_page_lies_beside_the_detections(detections, capsys):
    assert main(["report", str(detections)]) == 0
    page = detections.with_name("clip_report.html")
    assert capsys.readouterr().out == f"written: {page}\n"
    assert "2 people seen." in page.read_text(encoding="utf-8")


def test_the_page_of_a_folder_lies_in_it(tmp_path, detections):
    write(tmp_path / "other.jsonl", line(0))
    assert main(["report", str(tmp_path)]) == 0
    assert "2 people in 2 recordings." in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_exports_come_without_the_page_unless_it_is_named(tmp_path, detections, capsys):
    flags = ["--coco", str(tmp_path / "coco.json"), "--youtube-vis", str(tmp_path / "vis.json")]
    flags += ["--table", str(tmp_path / "table.parquet")]
    assert main(["report", str(detections), *flags]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.jsonl", "coco.json", "table.parquet", "vis.json"]
    assert len(json.loads((tmp_path / "coco.json").read_text())["annotations"]) == 3
    assert len(json.loads((tmp_path / "vis.json").read_text())["annotations"]) == 2
    assert capsys.readouterr().out.count("written: ") == 3
    assert main(["report", str(detections), *flags, "--overwrite", "--output", str(tmp_path / "page.html")]) == 0
    assert (tmp_path / "page.html").is_file()


def test_existing_files_stay(tmp_path, detections, capsys):
    (tmp_path / "clip_report.html").write_text("mine")
    assert main(["report", str(detections)]) == 0
    assert (tmp_path / "clip_report.html").read_text() == "mine"
    assert (tmp_path / "clip_report-2.html").stat().st_size > 1000
    assert main(["report", str(detections), "--overwrite"]) == 0
    assert (tmp_path / "clip_report.html").read_text() != "mine"


def test_the_detections_are_never_written_over(detections, capsys):
    before = detections.read_bytes()
    assert main(["report", str(detections), "--coco", str(detections), "--overwrite"]) == 2
    assert "is a file that this run reads" in capsys.readouterr().err
    assert detections.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gone.jsonl"], "cannot read gone.jsonl: No such file"),
        ([], "the following arguments are required: PATH"),
        (["clip.jsonl", "--coko", "x"], "unrecognized arguments: --coko; did you mean --coco?"),
        (["clip.jsonl", "--coco", "no/x.json"], "--coco no/x.json: the folder no does not exist"),
        (["clip.jsonl", "--video", "clip.jsonl"], "--video clip.jsonl: it cannot be read as a video"),
        (["damaged.jsonl"], "damaged.jsonl:1: this is no JSON; expected the lines that a run writes"),
        (["damaged.jsonl", "--coco", "x.json"], "damaged.jsonl:1: this is no JSON"),
    ],
)
def test_mistakes_leave_nothing_behind(detections, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(detections.parent)
    (detections.parent / "damaged.jsonl").write_text("damaged\n")
    assert main(["report", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("stream_segment: error: ")
    assert message in error
    assert "Traceback" not in error
    assert sorted(path.name for path in detections.parent.iterdir()) == ["clip.jsonl", "damaged.jsonl"]


def test_a_cut_run_is_reported_on_with_a_warning(detections, capsys):
    detections.write_bytes(detections.read_bytes()[:-9])
    assert main(["report", str(detections)]) == 0
    assert "the last line is cut off and left out" in capsys.readouterr().err
