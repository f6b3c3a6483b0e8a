"""What the command `cameras` prints."""

import json

import pytest

from pipeline.commands.main import main
from pipeline.sources import camera_list
from pipeline.sources.camera_list import ListedCamera
from pipeline.sources.v4l2 import CameraMode

BY_ID = "/dev/v4l/by-id/usb-Maker_AB12-video-index0"
GOOD = ListedCamera(
    "2",
    "Maker's camera",
    BY_ID,
    (
        CameraMode("YUYV", 640, 480, (30.0, 15.0)),
        CameraMode("MJPG", 640, 480, (60.0,)),
        CameraMode("MJPG", 1920, 1080, (29.97,)),
        CameraMode("YUYV", 1280, 720, ()),
    ),
)
BROKEN = ListedCamera("10", "Other", fault="no permission to use /dev/video10: ask for it")


@pytest.fixture
def cameras(monkeypatch):
    """What this machine has."""
    found = []
    monkeypatch.setattr(camera_list.CameraLister, "cameras", lambda lister: found)
    return found


def test_each_camera_with_its_sizes_largest_first(cameras, capsys):
    cameras += [GOOD, BROKEN]
    assert main(["cameras"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "2  Maker's camera",
        f"   --source {BY_ID}",
        "   YUYV 1280x720; 640x480 at 30, 15 fps",
        "   MJPG 1920x1080 at 29.97 fps; 640x480 at 60 fps",
        "10 Other",
        "   cannot be used: no permission to use /dev/video10: ask for it",
    ]


def test_without_one_that_can_be_used_the_exit_code_is_1(cameras, capsys):
    assert main(["cameras"]) == 1
    assert capsys.readouterr().out.startswith("none: this machine has no camera device; plug one in")
    cameras.append(BROKEN)
    assert main(["cameras"]) == 1


def test_json(cameras, capsys):
    cameras += [GOOD, BROKEN]
    assert main(["cameras", "--json"]) == 0
    good, broken = json.loads(capsys.readouterr().out)
    assert (good["source"], good["name"], good["by_id"], good["fault"]) == ("2", "Maker's camera", BY_ID, None)
    assert good["modes"][0] == {"pixels": "YUYV", "width": 640, "height": 480, "rates": [30.0, 15.0]}
    assert (broken["fault"], broken["modes"]) == (BROKEN.fault, [])


def test_a_mistake_is_one_line(cameras, capsys):
    assert main(["cameras", "--jason"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
