"""Cameras with their names and modes on each system; one that hangs, fails or may not be used."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import av
import pytest

from pipeline.sources import camera_list
from pipeline.sources.camera import CameraSystem
from pipeline.sources.camera_list import CameraLister, ListedCamera, device_names
from pipeline.sources.v4l2 import CameraMode
from tests.pipeline.sources.test_camera import FakeCapture

HD = CameraMode("MJPG", 1280, 720, (30.0,))
VGA = CameraMode("YUYV", 640, 480, (15.0,))


@pytest.fixture
def linux(tmp_path):
    """Makes a lister of a Linux with these device files and what they answer, by number."""
    dev, sysfs = tmp_path / "dev", tmp_path / "sys"

    def make(answers, answer_s=60.0):
        for number in answers:
            (sysfs / f"video{number}").mkdir(parents=True)
            (sysfs / f"video{number}" / "name").write_text(f"System's name {number}\n")
            dev.mkdir(exist_ok=True)
            (dev / f"video{number}").touch()

        def modes(path):
            answer = answers[int(path.name.removeprefix("video"))]
            return answer() if callable(answer) else answer

        return CameraLister(CameraSystem(platform="linux", dev=dev), sysfs, modes, answer_s=answer_s)

    return make


def test_linux_lists_what_captures_by_number(linux):
    lister = linux({10: ("Ten", (HD, VGA)), 2: ("", (VGA,)), 0: None})
    assert lister.cameras() == [
        ListedCamera("2", "System's name 2", modes=(VGA,)),
        ListedCamera("10", "Ten", modes=(HD, VGA)),
    ]


def test_the_path_by_serial_number(linux):
    lister = linux({0: ("Zero", (HD,)), 1: ("One", (HD,))})
    by_id = lister.system.dev / "v4l" / "by-id"
    by_id.mkdir(parents=True)
    (by_id / "usb-Maker_AB12-video-index0").symlink_to(lister.system.dev / "video1")
    assert [camera.by_id for camera in lister.cameras()] == [None, str(by_id / "usb-Maker_AB12-video-index0")]


def test_no_device_file_is_no_camera(linux):
    assert linux({}).cameras() == []


def test_one_that_hangs_or_fails_does_not_hide_the_others(linux):
    never = threading.Event()

    def fails():
        raise OSError(19, "No such device")

    lister = linux({0: never.wait, 1: ("One", (HD,)), 4: fails, 7: lambda: 1 // 0}, answer_s=1.0)
    hung, fine, failed, broken = lister.cameras()
    never.set()
    assert hung == ListedCamera("0", "System's name 0", fault="no answer within 1 s: unplug it and plug it in again")
    assert fine == ListedCamera("1", "One", modes=(HD,))
    assert failed.fault == f"{lister.system.dev / 'video4'} cannot be opened: No such device"
    assert broken.source == "7"
    assert "ZeroDivisionError" in broken.fault


def test_a_camera_that_this_user_may_not_use(linux, monkeypatch):
    lister = linux({0: lambda: pytest.fail("it is not opened")})
    monkeypatch.setattr(camera_list.os, "access", lambda *_: False)
    [camera] = lister.cameras()
    assert camera.fault.startswith(f"no permission to use {lister.system.dev / 'video0'}: add yourself to its group ")


@pytest.mark.parametrize(("platform", "ffmpeg_format"), [("win32", "dshow"), ("darwin", "avfoundation")])
def test_elsewhere_each_camera_is_opened_for_a_moment(platform, ffmpeg_format, monkeypatch):
    monkeypatch.setenv("OPENCV_VIDEOIO_MSMF_ENABLE_HW_TRANSFORMS", "0")
    captures = {0: FakeCapture((640, 360), 25.0), 1: FakeCapture()}
    captures[1].opened = False
    names = {ffmpeg_format: ["Built in", "In use"]}
    system = CameraSystem(lambda location, api: captures[location], platform)
    first, second = CameraLister(system, names=names.__getitem__).cameras()
    assert first == ListedCamera("0", "Built in", modes=(CameraMode("", 640, 360, (25.0,)),))
    assert captures[0].released
    assert (second.source, second.name) == ("1", "In use")
    assert second.fault.startswith("camera 1 cannot be opened: ")


def test_ffmpegs_list_without_sound_and_screens(monkeypatch):
    devices = [
        SimpleNamespace(name="0", description="FaceTime HD", media_types=["video"]),
        SimpleNamespace(name="@device_7", description="", media_types=["video", "audio"]),
        SimpleNamespace(name="1", description="Capture screen 0", media_types=["video"]),
        SimpleNamespace(name="2", description="Microphone", media_types=["audio"]),
    ]
    monkeypatch.setattr(av, "enumerate_input_devices", {"dshow": devices}.__getitem__)
    assert device_names("dshow") == ["FaceTime HD", "@device_7"]


def test_where_ffmpeg_cannot_list_there_may_be_one_camera():
    assert device_names("no such format") == ["camera 0"]
    assert device_names("mp4") == ["camera 0"]
