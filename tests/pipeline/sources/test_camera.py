"""Cameras that fail, hang, deliver something else than requested, or come back: with a fake in OpenCV's place."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.errors import InputError, RunError
from pipeline.settings.source_settings import SourceSettings
from pipeline.sources.camera import MAX_EMPTY_READS, WARM_UP_READS, CameraDevice, CameraSystem, as_bgr
from pipeline.sources.live import LiveSource
from tests.pipeline.sources.conftest import ManualClock


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What opening a camera "on Windows" sets is undone after the test."""
    monkeypatch.setenv("OPENCV_VIDEOIO_MSMF_ENABLE_HW_TRANSFORMS", "0")


ANY_MODE = SourceSettings()


class FakeCapture:
    """Behaves as cv2.VideoCapture with a camera that supports one size and rate."""

    def __init__(self, size_wh: tuple[int, int] = (640, 480), fps: float = 30.0, empty_reads: int = 0) -> None:
        self.size_wh = size_wh
        self.fps = fps
        self.empty_reads = empty_reads
        self.opened = True
        self.asked: list[tuple[int, float]] = []
        self.released = False
        self.image: np.ndarray | None = np.zeros((size_wh[1], size_wh[0], 3), np.uint8)
        self.after_grab = lambda: None

    def isOpened(self) -> bool:
        return self.opened

    def set(self, prop: int, value: float) -> bool:
        self.asked.append((prop, value))
        return False

    def get(self, prop: int) -> float:
        return self.fps if prop == cv2.CAP_PROP_FPS else 0.0

    def grab(self) -> bool:
        self.empty_reads -= 1
        return self.empty_reads < 0

    def retrieve(self) -> tuple[bool, np.ndarray | None]:
        self.after_grab()
        return self.image is not None, self.image

    def release(self) -> None:
        self.released = True


def camera(
    capture: FakeCapture,
    dev: Path,
    platform: str = "win32",
    mode: SourceSettings = ANY_MODE,
    clock: Callable[[], float] = time.monotonic,
) -> CameraDevice:
    system = CameraSystem(lambda _where, _api: capture, platform, dev)
    return CameraDevice("0", "camera 0", mode, clock, system)


def test_a_camera_without_the_requested_mode_describes_its_own(tmp_path: Path) -> None:
    capture = FakeCapture((640, 480), 15)
    device = camera(capture, tmp_path, mode=SourceSettings(width=1920, height=1080, fps=60.0))
    info = device.open()
    assert (info.width, info.height, info.fps) == (640, 480, 15)
    assert info.description == "camera 0: 640x480 at 15 fps (requested 1920x1080 at 60 fps)"
    device.close()
    assert capture.released
    device.close()


def test_a_matching_mode_is_described_without_the_request(tmp_path: Path) -> None:
    info = camera(FakeCapture((640, 480), 29.97), tmp_path, mode=SourceSettings(width=640, fps=30.0)).open()
    assert info.description == "camera 0: 640x480 at 29.97 fps"


@pytest.mark.parametrize("fps", [0.0, -1.0, 180000.0, float("nan")])
def test_implausible_rates_are_unknown(tmp_path: Path, fps: float) -> None:
    info = camera(FakeCapture(fps=fps), tmp_path).open()
    assert info.fps is None
    assert info.description == "camera 0: 640x480"


@pytest.mark.parametrize(
    ("platform", "wanted", "mjpg"),
    [
        ("linux", {"width": 1280, "height": 720}, True),
        ("linux", {"fps": 60.0}, True),
        ("linux", {"width": 320, "height": 240, "fps": 30.0}, False),
        ("linux", {}, False),
        ("darwin", {"width": 1280, "height": 720}, False),
        ("win32", {"width": 1280, "height": 720}, True),
    ],
)
def test_large_modes_request_compression(tmp_path: Path, platform: str, wanted: dict, mjpg: bool) -> None:
    (tmp_path / "video0").touch()
    capture = FakeCapture()
    camera(capture, tmp_path, platform, SourceSettings(**wanted)).open()
    props = [prop for prop, _value in capture.asked]
    assert (cv2.CAP_PROP_FOURCC in props) is mjpg
    assert props.count(cv2.CAP_PROP_FOURCC) == (2 if platform == "win32" else int(mjpg))
    if mjpg:
        assert props[0] == cv2.CAP_PROP_FOURCC, "before the size, or the driver refuses the size"
        assert capture.asked[0][1] == int.from_bytes(b"MJPG", "little")
    assert (cv2.CAP_PROP_FRAME_WIDTH in props) == ("width" in wanted)
    assert (cv2.CAP_PROP_BUFFERSIZE, 1) in capture.asked


@pytest.mark.parametrize(
    ("platform", "apis"),
    [
        ("linux", [cv2.CAP_V4L2, cv2.CAP_ANY]),
        ("darwin", [cv2.CAP_AVFOUNDATION, cv2.CAP_ANY]),
        ("win32", [cv2.CAP_DSHOW, cv2.CAP_MSMF]),
        ("freebsd14", [cv2.CAP_ANY]),
    ],
)
def test_each_system_has_its_api_and_a_fallback(tmp_path: Path, platform: str, apis: list[int]) -> None:
    (tmp_path / "video3").touch()
    tried: list[tuple[int | str, int]] = []

    def refuse(where: int | str, api: int) -> FakeCapture:
        tried.append((where, api))
        capture = FakeCapture()
        capture.opened = False
        return capture

    device = CameraDevice("3", "camera 3", ANY_MODE, system=CameraSystem(refuse, platform, tmp_path))
    with pytest.raises(InputError, match="camera 3 cannot be opened"):
        device.open()
    assert tried == [(3, api) for api in apis]


def test_a_device_path_reaches_opencv(tmp_path: Path) -> None:
    path = tmp_path / "video5"
    path.touch()
    asked: list[int | str] = []
    capture = FakeCapture()
    device = CameraDevice(
        str(path),
        f"camera {path}",
        ANY_MODE,
        system=CameraSystem(lambda where, _api: asked.append(where) or capture, "linux"),
    )
    device.open()
    assert asked == [str(path)]


def test_empty_first_reads_are_skipped_and_time_is_taken_at_the_grab(tmp_path: Path, clock: ManualClock) -> None:
    capture = FakeCapture(empty_reads=WARM_UP_READS - 1)
    capture.after_grab = lambda: clock.advance(5)  # decoding takes long
    device = camera(capture, tmp_path, clock=clock)
    device.open()
    assert [device.grab().captured_at_s for _ in range(3)] == [100, 105, 110]


def test_camera_without_pictures(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="delivers no frame: another program may be using it"):
        camera(FakeCapture(empty_reads=10_000), tmp_path).open()


@pytest.mark.parametrize("lost", ["grab", "empty", "error"])
def test_a_lost_camera_is_a_run_error(tmp_path: Path, lost: str) -> None:
    capture = FakeCapture()
    device = camera(capture, tmp_path)
    device.open()
    device.grab()
    capture.empty_reads = MAX_EMPTY_READS - 1
    assert device.grab().image_bgr.shape == (480, 640, 3)
    if lost == "grab":
        capture.empty_reads = 10_000
    elif lost == "empty":
        capture.image = None
    else:
        capture.retrieve = lambda: (_ for _ in ()).throw(cv2.error("unplugged"))
    with pytest.raises(RunError, match="camera 0"):
        device.grab()


def test_a_missing_camera_lists_the_available_ones(tmp_path: Path) -> None:
    for name in ("video0", "video2", "video10", "video-dec", "null"):
        (tmp_path / name).touch()
    device = CameraDevice("3", "camera 3", ANY_MODE, system=CameraSystem(platform="linux", dev=tmp_path))
    with pytest.raises(InputError) as caught:
        device.open()
    expected = ", ".join(str(tmp_path / name) for name in ("video0", "video2", "video10"))
    assert str(caught.value) == f"there is no camera 3 ({tmp_path / 'video3'}): this machine has {expected}"


def test_no_camera_at_all(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="this machine has no camera device; plug one in, or in a container pass it"):
        CameraDevice("0", "camera 0", ANY_MODE, system=CameraSystem(platform="linux", dev=tmp_path)).open()


def test_no_permission_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "video0").touch()
    monkeypatch.setattr("pipeline.sources.camera.os.access", lambda _path, _mode: False)
    with pytest.raises(InputError, match=r"no permission to use camera 0 .*usermod -aG video"):
        CameraDevice("0", "camera 0", ANY_MODE, system=CameraSystem(platform="linux", dev=tmp_path)).open()


def test_the_real_opencv_on_a_file_that_is_no_camera_prints_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "video99").touch()
    device = CameraDevice(
        str(tmp_path / "video99"), "camera 99", ANY_MODE, system=CameraSystem(platform="linux", dev=tmp_path)
    )
    with pytest.raises(InputError, match="camera 99 cannot be opened"):
        device.open()
    assert capfd.readouterr() == ("", "")


def test_gray_and_four_channel_cameras() -> None:
    gray = np.array([[7, 9]], np.uint8)
    assert as_bgr(gray).tolist() == [[[7, 7, 7], [9, 9, 9]]]
    assert as_bgr(gray[:, :, None]).tolist() == [[[7, 7, 7], [9, 9, 9]]]
    assert as_bgr(np.array([[[1, 2, 3, 4]]], np.uint8)).tolist() == [[[1, 2, 3]]]


def test_as_a_source(tmp_path: Path, clock: ManualClock) -> None:
    capture = FakeCapture((320, 240))
    capture.after_grab = lambda: clock.advance(0.04)
    source = LiveSource(camera(capture, tmp_path, clock=clock), read_timeout_s=5, open_timeout_s=5)
    assert source.open().width == 320
    assert [source.read().pts for _ in range(3)] == [0, 40_000, 80_000]
    source.close()
    assert capture.released


def by_id(dev: Path, *names: str) -> None:
    """Cameras plugged in, in this order: links in by-id to video0, video2 …, and one to each one's second device."""
    folder = dev / "v4l" / "by-id"
    folder.mkdir(parents=True)
    for number, name in enumerate(names):
        for index in range(2):
            device = dev / f"video{2 * number + index}"
            device.touch()
            (folder / f"usb-{name}-video-index{index}").symlink_to(device)


def test_a_serial_number_finds_its_camera_at_any_port(tmp_path: Path) -> None:
    by_id(tmp_path, "Maker_Cam_CD34", "Maker_Cam_AB12")
    opened: list[object] = []

    def open_capture(where: int | str, _api: int) -> FakeCapture:
        opened.append(where)
        return FakeCapture()

    device = CameraDevice(
        "serial:ab12", "camera serial:ab12", ANY_MODE, system=CameraSystem(open_capture, "linux", tmp_path)
    )
    device.open()
    assert opened == [str(tmp_path / "video2")]


@pytest.mark.parametrize(
    ("serial", "message"),
    [
        ("EF56", r"there is no camera serial:EF56: there are usb-Maker_Cam_AB12-video-index0, usb-Maker_Cam_CD34-"),
        ("Maker", r"matches 2 cameras \(usb-Maker_Cam_AB12-video-index0, usb-Maker_Cam_CD34-video-index0\)"),
    ],
)
def test_a_serial_number_that_matches_none_or_several(tmp_path: Path, serial: str, message: str) -> None:
    by_id(tmp_path, "Maker_Cam_CD34", "Maker_Cam_AB12")
    with pytest.raises(InputError, match=message):
        CameraDevice(
            f"serial:{serial}", f"camera serial:{serial}", ANY_MODE, system=CameraSystem(platform="linux", dev=tmp_path)
        ).open()


def test_serial_numbers_without_cameras_or_linux(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no camera device; plug one in"):
        CameraDevice(
            "serial:x", "camera serial:x", ANY_MODE, system=CameraSystem(platform="linux", dev=tmp_path)
        ).open()
    with pytest.raises(InputError, match="on Linux only"):
        CameraDevice(
            "serial:x", "camera serial:x", ANY_MODE, system=CameraSystem(platform="win32", dev=tmp_path)
        ).open()
