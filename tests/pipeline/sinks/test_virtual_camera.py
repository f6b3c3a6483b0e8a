import sys
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest

from pipeline.errors import InputError, RunError
from pipeline.settings.output_settings import VirtualCameraSettings
from pipeline.settings.schema import Settings
from pipeline.sinks.base import Delivery
from pipeline.sinks.factory import make_sinks
from pipeline.sinks.virtual_camera import VirtualCamera
from tests.pipeline.sinks.presentations import context, picture, presentation


class FakeLibrary:
    """Looks like pyvirtualcam, with one device."""

    PixelFormat = SimpleNamespace(BGR="BGR")

    def __init__(self, error=None, send_error=None):
        self._error, self._send_error = error, send_error
        self.asked, self.frames, self.closed = None, [], 0

    def Camera(self, width, height, fps, *, fmt, device):
        if self._error:
            raise self._error
        self.asked = (width, height, fps, fmt, device)
        self.device = device or "/dev/video9"
        return self

    def send(self, frame):
        if self._send_error:
            raise self._send_error
        assert frame.flags.c_contiguous
        assert (frame.shape[1], frame.shape[0]) == self.asked[:2]
        self.frames.append(frame)

    def close(self):
        self.closed += 1


def test_frames_reach_the_device_in_its_size():
    library = FakeLibrary()
    sink = VirtualCamera(VirtualCameraSettings(device="auto"), library)
    sink.open(context((95, 63)))
    assert library.asked == (96, 64, 25.0, "BGR", None)
    assert sink.delivery is Delivery.NEWEST
    sink.write(presentation(3, image=picture(3, (96, 64))))
    sink.write(presentation(4, image=picture(4, (40, 64))))
    assert (library.frames[0] == picture(3, (96, 64))).all()
    assert (library.frames[1][:, :20] == 0).all()
    assert (library.frames[1][:, 28:68] == picture(4, (40, 64))).all()
    assert sink.outputs == ("/dev/video9",)
    sink.close()
    sink.close()
    assert library.closed == 1


def test_non_square_pixels_are_letterboxed():
    library = FakeLibrary()
    sink = VirtualCamera(VirtualCameraSettings(device="auto"), library)
    sink.open(context((96, 64)))
    white = np.full((64, 96, 3), 255, np.uint8)
    sink.write(presentation(0, image=white, sample_aspect_ratio=Fraction(2)))
    assert (library.frames[0][16:48] == 255).all()  # 192x64 in square pixels
    assert (library.frames[0][:16] == 0).all()
    assert (library.frames[0][48:] == 0).all()


def test_the_named_device_is_opened():
    library = FakeLibrary()
    VirtualCamera(VirtualCameraSettings(device="/dev/video4"), library).open(context())
    assert library.asked[-1] == "/dev/video4"


def test_no_device_no_library_and_a_lost_device(monkeypatch):
    with pytest.raises(InputError, match=r"no virtual camera could be opened \(a; b\)\. Linux: sudo modprobe"):
        VirtualCamera(VirtualCameraSettings(device="auto"), FakeLibrary(RuntimeError("a\nb"))).open(context())
    monkeypatch.setitem(sys.modules, "pyvirtualcam", None)
    with pytest.raises(InputError, match="pip install pyvirtualcam"):
        VirtualCamera(VirtualCameraSettings(device="auto")).open(context())
    sink = VirtualCamera(VirtualCameraSettings(device="auto"), FakeLibrary(send_error=RuntimeError("gone")))
    sink.open(context())
    with pytest.raises(RunError, match="/dev/video9 stopped accepting frames: gone"):
        sink.write(presentation(0, image=np.zeros((64, 96, 3), np.uint8)))
    sink.close()


def test_it_is_made_if_a_device_is_set():
    off = {"window": {"mode": "off"}}
    assert make_sinks(Settings.model_validate(off), context().source) == []
    sinks = make_sinks(Settings.model_validate({**off, "virtual_camera": {"device": "auto"}}), context().source)
    assert [type(sink) for sink in sinks] == [VirtualCamera]
    with pytest.raises(ValueError, match="device"):
        VirtualCamera(VirtualCameraSettings())
