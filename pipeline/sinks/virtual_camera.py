"""Provides the annotated frames to other programs (video calls) as a camera, through pyvirtualcam."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Sequence
from typing import Any

import numpy as np

from pipeline.drawing.letterbox import letterbox
from pipeline.errors import InputError, RunError
from pipeline.records import Image
from pipeline.settings.output_settings import VirtualCameraSettings
from pipeline.sinks.base import Delivery, Presentation, RunContext, Sink

log = logging.getLogger(__name__)

ANY_DEVICE = "auto"
_ASSUMED_FPS = 30.0


class VirtualCamera(Sink):
    """A virtual camera of the source's size; frames of other sizes are letterboxed.

    Args:
        settings: the device.
        library: pyvirtualcam, or a fake for tests; None imports it.
    """

    name = "virtual camera"
    delivery = Delivery.NEWEST

    def __init__(self, settings: VirtualCameraSettings, library: Any = None) -> None:
        if settings.device is None:
            raise ValueError("VirtualCamera needs settings.device")
        self._device = None if settings.device == ANY_DEVICE else settings.device
        self._library = library
        self._camera: Any = None
        self._size_wh = (0, 0)
        self._outputs: tuple[str, ...] = ()

    def open(self, context: RunContext) -> None:
        """Open the device. Raises InputError if pyvirtualcam is not installed or the device does not exist."""
        library = self._library
        if library is None:
            try:
                library = importlib.import_module("pyvirtualcam")
            except ImportError:
                raise InputError(
                    "--virtual-camera needs the package pyvirtualcam: install it with `pip install pyvirtualcam`"
                ) from None
        source = context.source
        self._size_wh = (source.width + source.width % 2, source.height + source.height % 2)
        try:
            self._camera = library.Camera(
                *self._size_wh, source.fps or _ASSUMED_FPS, fmt=library.PixelFormat.BGR, device=self._device
            )
        except RuntimeError as error:
            reason = "; ".join(str(error).splitlines())
            raise InputError(
                f"--virtual-camera: no virtual camera could be opened ({reason}). Linux: sudo modprobe v4l2loopback; "
                "Windows and macOS: install OBS"
            ) from None
        self._outputs = (str(self._camera.device),)
        log.info("virtual camera: %s", self._camera.device)

    def write(self, presentation: Presentation) -> None:
        """Send one frame. Raises RunError if the device is lost."""
        aspect = float(presentation.segmented.frame.sample_aspect_ratio)
        image: Image = np.ascontiguousarray(letterbox(presentation.annotated_bgr, self._size_wh, aspect))
        try:
            self._camera.send(image)
        except (RuntimeError, OSError) as error:
            raise RunError(f"the virtual camera {self._outputs[0]} stopped accepting frames: {error}") from error

    def close(self) -> None:
        """Release the device. May be called twice."""
        camera, self._camera = self._camera, None
        if camera is not None:
            camera.close()

    @property
    def outputs(self) -> Sequence[str]:
        """The device's path or name."""
        return self._outputs
