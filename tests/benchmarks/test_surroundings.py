"""Folders and settings of a soak test with several cameras."""

from benchmarks.surroundings import Surroundings
from pipeline.settings.output_settings import WindowMode
from tests.pipeline.sinks.test_segments import Disk


def test_each_part_of_the_test_has_a_folder_of_its_own(tmp_path):
    with Surroundings(tmp_path, 2.5) as made:
        settings = made.settings(["http://a/video", "http://b/video"], "run")
    assert [(one.name, one.uri.reveal()) for one in settings.cameras] == [
        ("camera-0", "http://a/video"),
        ("camera-1", "http://b/video"),
    ]
    assert (tmp_path / "run").is_dir()
    assert settings.output.path == str(tmp_path / "run" / "{camera}.mp4")
    assert settings.detections.path == str(tmp_path / "run" / "{camera}.jsonl")
    assert (settings.output.segment_s, settings.window.mode) == (2.5, WindowMode.OFF)
    assert (list(made.rehearse()), list(made.checks(None)), list(made.cuts("camera-0"))) == ([], [], [])


def test_recordings_of_a_camera_are_not_those_of_one_whose_name_begins_alike(tmp_path):
    (tmp_path / "run").mkdir()
    for name in ("camera-1", "camera-10"):
        disk = Disk(tmp_path / "run", path=str(tmp_path / "run" / f"{name}.mp4")).opened()
        disk.record(30)
        disk.recorder.close()
    (first, second) = Surroundings(tmp_path, 2.0).recordings("camera-1")
    assert (first.path, first.decoded, second.decoded) == ("camera-1-20260314-150926-0001.mp4", 25, 5)
    assert [one.path[:10] for one in Surroundings(tmp_path, 2.0).recordings("camera-10")] == ["camera-10-"] * 2
