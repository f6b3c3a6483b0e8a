"""Synthetic frames with known motion."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from pipeline.records import Frame, Instances, StageTimes, UnredactedFrame
from tests.pipeline.fakes import make_frame

HEIGHT, WIDTH = 180, 322


def texture(seed: int = 1, height: int = 260, width: int = 420) -> np.ndarray:
    """uint8 (height, width, 3): blobs of every gray level, smooth enough for optical flow."""
    noise = np.random.default_rng(seed).uniform(0, 255, (height, width)).astype(np.float32)
    blurred = sum(cv2.GaussianBlur(noise, (0, 0), sigma) * sigma for sigma in (2.0, 5.0, 12.0))
    gray = cv2.normalize(blurred, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    return cv2.cvtColor(gray, cv2.COLOR_GRAY2BGR)


def window(picture: np.ndarray, x: float, y: float) -> np.ndarray:
    """The part of a picture whose top left corner lies at (x, y), which may be between pixels."""
    matrix = np.array([[1.0, 0.0, -x], [0.0, 1.0, -y]])
    return cv2.warpAffine(picture, matrix, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REFLECT_101)


def frame_of(index: int, image: np.ndarray) -> Frame:
    """A frame at 25 a second."""
    return replace(make_frame(index, 1, 1), image_bgr=image)


def patch_frame(index: int, x: float, y: float, size: tuple[int, int] = (70, 60), background: int = 1) -> Frame:
    """A textured rectangle with its top left corner at (x, y) on a textured background that stands still."""
    image = window(texture(background), 20, 20)
    width, height = size
    patch = texture(9)[:height, :width]
    matrix = np.array([[1.0, 0.0, x], [0.0, 1.0, y]])
    drawn = cv2.warpAffine(patch, matrix, (WIDTH, HEIGHT))
    cover = cv2.warpAffine(np.ones((height, width), np.float32), matrix, (WIDTH, HEIGHT))[..., None]
    return frame_of(index, (image * (1 - cover) + drawn * cover).astype(np.uint8))


def box_instances(*boxes: tuple[float, float, float, float], class_id: int = 1, side: int = 28) -> Instances:
    """Objects that fill their boxes."""
    count = len(boxes)
    return Instances(
        np.array(boxes, np.float32).reshape(count, 4),
        np.full(count, class_id, np.int32),
        np.linspace(0.9, 0.6, count, dtype=np.float32),
        np.ones((count, side, side), np.float32),
    )


def result_on(frame: Frame, instances: Instances) -> UnredactedFrame:
    """A result for a frame."""
    return UnredactedFrame(frame, instances, frame.index, StageTimes(frame.captured_at_s, 0.0, 0.0))
