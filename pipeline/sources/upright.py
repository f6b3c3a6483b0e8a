"""Converts decoded pictures to upright BGR: color matrix and range, transparency, display matrix (phone videos)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import av
import cv2
import numpy as np
from av.sidedata.sidedata import Type
from av.video.reformatter import Colorspace, VideoReformatter
from numpy.typing import NDArray

HD_HEIGHT, HD_WIDTH = 720, 1280
"""Video without a stated color matrix is BT.709 from this size on and BT.601 below, as players assume."""

_AVCOL_SPC_UNSPECIFIED = 2


@dataclass(frozen=True, slots=True)
class Orientation:
    """One of the eight ways to rotate and mirror a picture: first transpose, then mirror.

    Attributes:
        transpose: swap rows and columns.
        mirror_x: then mirror horizontally.
        mirror_y: then mirror vertically.
    """

    transpose: bool = False
    mirror_x: bool = False
    mirror_y: bool = False

    def apply(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Turns uint8 (H, W, 3) upright: (W, H, 3) if transposed; the same array if already upright."""
        if self.transpose:
            image = cv2.transpose(image)
        if self.mirror_x or self.mirror_y:
            code = -1 if self.mirror_x and self.mirror_y else 1 if self.mirror_x else 0
            image = cv2.flip(image, code)
        return image

    @property
    def text(self) -> str:
        """A description for the user: "", "rotated 90 degrees" (clockwise), "mirrored" …"""
        turns = {
            (False, False, False): "",
            (True, True, False): "rotated 90 degrees",
            (False, True, True): "rotated 180 degrees",
            (True, False, True): "rotated 270 degrees",
        }
        return turns.get((self.transpose, self.mirror_x, self.mirror_y), "mirrored")


def orientation_of(frame: av.VideoFrame) -> Orientation:
    """The orientation in the frame's display matrix, to the nearest quarter turn.

    The matrix maps a stored pixel (p, q) to the screen: x = a p + c q, y = b p + d q (ISO/IEC 14496-12, 8.5.2).
    """
    matrix: Any = cast("Mapping[Any, Any]", frame.side_data).get(Type.DISPLAYMATRIX)
    if matrix is None:
        return Orientation()
    a, b, _u, c, d = (int(value) for value in np.frombuffer(bytes(matrix), np.int32)[:5])
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return Orientation(transpose=False, mirror_x=a < 0, mirror_y=d < 0)
    return Orientation(transpose=True, mirror_x=c < 0, mirror_y=b < 0)


def blend_on_white(image_bgra: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Blends uint8 (H, W, 4) BGRA with straight alpha onto white, as a web page does: uint8 (H, W, 3)."""
    alpha = image_bgra[:, :, 3]
    color: NDArray[np.uint8] = np.ascontiguousarray(image_bgra[:, :, :3])
    if bool((alpha == 255).all()):
        return color
    weight = alpha[:, :, None].astype(np.uint16)
    blended = (color * weight + 255 * (255 - weight) + 127) // 255
    result: NDArray[np.uint8] = blended.astype(np.uint8)
    return result


class BgrConverter:
    """Converts decoded frames of any pixel format to BGR."""

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()
        self._has_alpha: dict[str, bool] = {}

    def convert(self, frame: av.VideoFrame, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
        """Returns uint8 (H, W, 3), not yet rotated.

        Args:
            frame: as decoded.
            size: width and height to scale to, in pixels, for streams whose size changes; None keeps the frame's own.
        """
        width, height = size or (frame.width, frame.height)
        alpha = self._alpha(frame)
        converted = self._reformatter.reformat(
            frame,
            width=width,
            height=height,
            format="bgra" if alpha else "bgr24",
            src_colorspace=self._matrix(frame),
            interpolation="BILINEAR",
            threads=1,
        )
        image = cast("NDArray[np.uint8]", converted.to_ndarray())
        return blend_on_white(image) if alpha else image

    def _alpha(self, frame: av.VideoFrame) -> bool:
        name = frame.format.name
        if name not in self._has_alpha:
            self._has_alpha[name] = any(component.is_alpha for component in frame.format.components) or name == "pal8"
        return self._has_alpha[name]

    @staticmethod
    def _matrix(frame: av.VideoFrame) -> Any:
        if frame.colorspace != _AVCOL_SPC_UNSPECIFIED:
            return None  # the frame's own
        is_hd = max(frame.width, frame.height) >= HD_WIDTH or min(frame.width, frame.height) >= HD_HEIGHT
        return Colorspace.ITU709 if is_hd else Colorspace.ITU601
