"""Which detections a report is made of."""

from __future__ import annotations

import json
import os

import pytest

from pipeline.errors import InputError
from pipeline.report.page import Problem, Speed
from pipeline.report.report_input import Source, find_sources
from tests.pipeline.report.stored import line, write

DONE = {"name": "day1/cam1.mp4", "state": "done", "frames": 300}
OUTPUTS = {"video": "day1/cam1.mp4", "detections": "day1/cam1.mp4.jsonl"}


def summary(*files, **more):
    return json.dumps({"format": 1, "frames": 300, "files": list(files), **more})


def test_files_are_named_by_their_stem_or_by_their_path(tmp_path):
    (tmp_path / "b").mkdir()
    paths = [write(tmp_path / name, line(0)) for name in ("x.jsonl", "y.jsonl", "b/x.jsonl")]
    assert [file.name for file in find_sources(paths[:2]).files] == ["x", "y"]
    assert [file.name for file in find_sources(paths).files] == [str(path.with_suffix("")) for path in paths]


def test_a_batch(tmp_path):
    times = {"wall_s": 31.2, "workers": 2, "files": {"a": {"inference_p50_s": 0.03}, "b": {"wall_s": 1.0}}}
    failed = {"name": "z.mp4", "state": "failed", "reason": "corrupt", "attempts": 3}
    skipped = {"name": "a.mp4", "state": "skipped", "reason": "--limit"}
    quiet = {"name": "c.mp4", "state": "done", "outputs": {"video": "c.mp4"}}
    done = DONE | {"outputs": OUTPUTS, "warnings": ["corrupt data at 00:03.2"]}
    content = summary(done, skipped, failed, quiet, timings=times, settings={"any": 1})
    (tmp_path / "summary.json").write_text(content)
    found = find_sources([tmp_path])
    assert found.files == [Source("day1/cam1.mp4", tmp_path / "day1/cam1.mp4.jsonl", tmp_path / "day1/cam1.mp4")]
    assert found.problems == [
        Problem("z.mp4", "failed", "corrupt"),
        Problem("a.mp4", "skipped", "--limit"),
        Problem("c.mp4", "done", "the batch wrote no detections (--no-detections)"),
        Problem("day1/cam1.mp4", "done", "corrupt data at 00:03.2"),
    ]
    assert found.speed == Speed(31.2, 300, 2, 0.03)


def test_shards_of_a_batch(tmp_path):
    for shard in (1, 2):
        entry = DONE | {"name": f"{shard}.mp4", "outputs": {"detections": f"{shard}.jsonl"}}
        times = {"wall_s": 10.0 * shard, "workers": 1}
        (tmp_path / f"summary.{shard}-of-2.json").write_text(summary(entry, timings=times))
    found = find_sources([tmp_path])
    assert [file.name for file in found.files] == ["1.mp4", "2.mp4"]
    assert found.speed == Speed(20.0, 600, 2, None)


def test_the_speed_is_that_of_the_last_run_which_did_not_do_everything(tmp_path):
    (tmp_path / "summary.json").write_text(summary(DONE, timings={"wall_s": 2.0, "workers": 1, "frames": 50}))
    assert find_sources([tmp_path]).speed == Speed(2.0, 50, 1, None)


def test_a_run_that_found_everything_done_has_no_speed(tmp_path):
    (tmp_path / "summary.json").write_text(summary(DONE, timings={"wall_s": 0.1, "workers": 4, "frames": 0}))
    assert find_sources([tmp_path]).speed is None
    shard = {"wall_s": 10.0, "workers": 1, "frames": 300}
    (tmp_path / "summary.1-of-1.json").write_text(summary(DONE, timings=shard))
    assert find_sources([tmp_path]).speed == Speed(10.0, 300, 1, None)


@pytest.mark.parametrize("is_whole_newer", [False, True])
def test_of_what_several_summaries_list_the_newest_is_right(tmp_path, is_whole_newer):
    """A whole batch was interrupted and done by jobs; or jobs were interrupted, and one batch did the rest."""
    done, skipped = DONE | {"outputs": OUTPUTS}, DONE | {"state": "skipped", "reason": "interrupted"}
    times = [{"started": f"2026-11-2{day}T22:50:00+00:00", "wall_s": 1.0} for day in (8, 9)]
    old, new = ("summary.1-of-2.json", "summary.json") if is_whole_newer else ("summary.json", "summary.1-of-2.json")
    (tmp_path / old).write_text(summary(skipped, timings=times[0]))
    (tmp_path / new).write_text(summary(done, timings=times[1]))
    found = find_sources([tmp_path])
    assert [file.name for file in found.files] == ["day1/cam1.mp4"]
    assert found.problems == []


def test_a_name_that_is_no_utf_8(tmp_path):
    name = os.fsdecode(b"caf\xe9.mp4")
    (tmp_path / "summary.json").write_text(summary(DONE | {"name": name, "outputs": OUTPUTS}))
    assert [file.name for file in find_sources([tmp_path]).files] == [name]


def test_a_folder_without_a_summary(tmp_path):
    (tmp_path / "day").mkdir()
    (tmp_path / ".hidden").mkdir()
    for name in ("b.mp4.jsonl", "day/a.jsonl", ".hidden/c.jsonl", "day/._a.jsonl"):
        write(tmp_path / name, line(0))
    (tmp_path / "notes.txt").touch()
    found = find_sources([tmp_path])
    assert [(file.name, file.video) for file in found.files] == [("b.mp4", None), ("day/a", None)]
    assert found.speed is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", r"summary.json: Expecting property name.*expected the summary that `batch` writes"),
        ('{"files": 3}', r"summary.json: files: input should be a valid list"),
        (summary({"name": "a", "state": "lost"}), r"files.0.state: expected 'done', 'skipped' or 'failed'"),
        (summary(DONE | {"outputs": {"detections": "../x.jsonl"}}), r"../x.jsonl is not below .*, where the batch"),
        (summary(DONE | {"outputs": {"detections": "/etc/x.jsonl"}}), r"/etc/x.jsonl is not below"),
        (summary(DONE | {"outputs": {"detections": "a\0.jsonl"}}), r"a\\x00.jsonl is not below"),
    ],
)
def test_a_wrong_summary(tmp_path, content, message):
    (tmp_path / "summary.json").write_text(content)
    with pytest.raises(InputError, match=message):
        find_sources([tmp_path])


def test_an_empty_folder(tmp_path):
    with pytest.raises(InputError, match=r"holds no results: expected summary.json of a batch, or detections"):
        find_sources([tmp_path])
