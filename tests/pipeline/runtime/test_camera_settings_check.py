"""What several cameras may not ask for, in one line."""

import cv2
import numpy as np
import pytest

from pipeline.errors import InputError
from pipeline.runtime.camera_group import Cameras
from pipeline.runtime.camera_settings_check import settings_of
from pipeline.settings.output_settings import WindowMode
from pipeline.settings.schema import Settings
from tests.pipeline.fakes import FakeSegmenter
from tests.pipeline.runs import HEADLESS


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"cameras": []}, "there are no cameras"),
        ({"cameras": [{"name": "a", "uri": "test:", "enabled": False}]}, "all cameras are disabled"),
        ({"cameras": [{"name": "a", "uri": "absent.mp4"}]}, "camera a: .*absent.mp4 does not exist"),
    ],
)
def test_what_cannot_run_is_one_line(values, message):
    with pytest.raises(InputError, match=message):
        Cameras({**HEADLESS, **values}, segmenter=FakeSegmenter())


def test_no_camera_writes_what_another_one_reads(tmp_path):
    clip = tmp_path / "a.mp4"
    clip.write_bytes(b"x")
    cameras = [
        {"name": "a", "uri": str(clip)},
        {"name": "b", "uri": "test:", "output": {"path": str(clip), "overwrite": True}},
    ]
    with pytest.raises(InputError, match=r"camera b would write to .*a\.mp4, which camera a reads"):
        Cameras({**HEADLESS, "cameras": cameras}, segmenter=FakeSegmenter())


def test_no_camera_writes_what_another_one_writes_however_the_path_is_written(tmp_path):
    (tmp_path / "folder").mkdir()
    paths = str(tmp_path / "out.jsonl"), str(tmp_path / "folder" / ".." / "out.jsonl")
    cameras = [
        {"name": name, "uri": "test:", "detections": {"path": path}} for name, path in zip("ab", paths, strict=True)
    ]
    with pytest.raises(InputError, match=r"camera b would write to .*out\.jsonl, as camera a does"):
        Cameras({**HEADLESS, "cameras": cameras}, segmenter=FakeSegmenter())


@pytest.mark.parametrize("section", ["output", "detections"])
def test_a_folder_that_is_missing_is_told_before_a_source_is_open(tmp_path, section):
    cameras = [{"name": "a", "uri": "test:"}, {"name": "b", "uri": "rtsp://127.0.0.1:9/live"}]
    values = {**HEADLESS, section: {"path": str(tmp_path / "absent" / "{camera}.mp4")}, "cameras": cameras}
    with pytest.raises(InputError, match=rf"camera a: --{section} .*absent.* does not exist. Create it first"):
        Cameras(values, segmenter=FakeSegmenter())
    cameras[0]["enabled"] = False
    with pytest.raises(InputError, match=r"camera b: .*absent.* does not exist"):
        Cameras(values, segmenter=FakeSegmenter())


def test_a_camera_of_images_makes_its_folder_itself(tmp_path):
    for number in range(2):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.zeros((48, 80, 3), np.uint8))
    camera = {"name": "a", "uri": str(tmp_path), "output": {"path": str(tmp_path / "new" / "masks")}}
    with Cameras({**HEADLESS, "cameras": [camera]}, segmenter=FakeSegmenter()) as cameras:
        cameras.run()
    assert len(list((tmp_path / "new" / "masks").iterdir())) == 2


def test_a_cameras_stream_waits_for_its_source_and_leaves_window_and_network_to_the_run():
    camera = {"name": "a", "uri": "test:", "source": {"reconnect": {"first_delay_s": 2.0}}}
    settings = Settings.model_validate(
        {"window": {"mode": "on"}, "supervision": {"restart": True}, "cameras": [camera]}
    )
    own = settings_of(settings, settings.cameras[0])
    assert (own.source.reconnect.at_start, own.source.reconnect.first_delay_s) == (True, 2.0)
    assert (own.window.mode, own.supervision.restart) == (WindowMode.OFF, False)
