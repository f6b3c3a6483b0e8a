"""Anchors: reference boxes that the region proposal network scores and refines (Ren et al. 2015, section 3.1.1).

Order: pyramid levels P2 to P6, then rows, columns, ratios. One scale per level (Lin et al. 2017, section 4.1).
Shape letters: A anchors of all levels; R ratios; H, W canvas height and width in pixels.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mrcnn.architecture import architecture_of
from mrcnn.config import Config


@dataclass(frozen=True)
class AnchorSettings:
    """Settings that determine the anchors of a canvas; hashable, so that anchors can be cached.

    Attributes:
        scales: side of the square anchor of each level, pixels.
        ratios: width / height of the anchors at each position.
        feature_strides: canvas pixels per cell of each level.
        anchor_stride: cells between neighboring anchor positions.
        rounded, grid_strides, last_pixel_is_one: see `mrcnn.architecture.Architecture`.
    """

    scales: tuple[float, ...]
    ratios: tuple[float, ...]
    feature_strides: tuple[int, ...]
    anchor_stride: int
    rounded: bool = False
    grid_strides: bool = False
    last_pixel_is_one: bool = True

    @classmethod
    def from_config(cls, config: Config) -> AnchorSettings:
        """Read a Config's RPN_ANCHOR_SCALES, RPN_ANCHOR_RATIOS, BACKBONE_STRIDES, RPN_ANCHOR_STRIDE and ARCHITECTURE.

        Raises:
            ValueError: the number of scales is not the number of levels.
        """
        architecture = architecture_of(config)
        settings = cls(
            tuple(float(scale) for scale in config.RPN_ANCHOR_SCALES),
            tuple(float(ratio) for ratio in config.RPN_ANCHOR_RATIOS),
            tuple(int(stride) for stride in config.BACKBONE_STRIDES),
            int(config.RPN_ANCHOR_STRIDE),
            architecture.rounded_anchors,
            architecture.grid_strides,
            architecture.last_pixel_is_one,
        )
        if len(settings.scales) != len(settings.feature_strides):
            raise ValueError(
                f"RPN_ANCHOR_SCALES must give one scale for each of the {len(settings.feature_strides)} levels of "
                f"BACKBONE_STRIDES {settings.feature_strides}, got {settings.scales}"
            )
        return settings


def feature_shapes(image_shape: Sequence[int], strides: Sequence[int]) -> list[tuple[int, int]]:
    """Rows and columns of each pyramid level for a canvas of image_shape (H, W, ...)."""
    return [(math.ceil(image_shape[0] / stride), math.ceil(image_shape[1] / stride)) for stride in strides]


def centered_anchors(scale: float, ratios: Sequence[float]) -> NDArray[np.float64]:
    """Anchors around the position (0, 0), all of the same area.

    Args:
        scale: side of the square anchor, pixels.
        ratios: width / height.

    Returns:
        float64 (R, 4), (y1, x1, y2, x2) in pixels.
    """
    root_ratios = np.sqrt(np.asarray(ratios, np.float64))
    half_sizes_yx = 0.5 * scale * np.stack([1.0 / root_ratios, root_ratios], axis=-1)  # (R, 2)
    return np.concatenate([-half_sizes_yx, half_sizes_yx], axis=-1)


def level_anchors(
    centered: NDArray[np.float64], shape: Sequence[int], strides: tuple[float, float], anchor_stride: int
) -> NDArray[np.float64]:
    """Anchors of one pyramid level.

    Args:
        centered: float64 (R, 4), (y1, x1, y2, x2) in pixels, see `centered_anchors`.
        shape: rows and columns of the level.
        strides: pixels per row and per column.
        anchor_stride: cells between neighboring anchor positions.

    Returns:
        float64 (positions * R, 4), (y1, x1, y2, x2) in pixels. Centers lie on the cells' top left corners.
    """
    rows = np.arange(0, shape[0], anchor_stride) * float(strides[0])
    columns = np.arange(0, shape[1], anchor_stride) * float(strides[1])
    centers_yx = np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1).reshape(-1, 1, 2)
    return (np.tile(centers_yx, 2) + centered).reshape(-1, 4)


@lru_cache(maxsize=16)
def pyramid_anchors(settings: AnchorSettings, height: int, width: int) -> NDArray[np.float64]:
    """Anchors of all levels for a canvas of height x width pixels: float64 (A, 4), pixels, read-only, cached."""
    shapes = feature_shapes((height, width), settings.feature_strides)
    levels = []
    for scale, shape, stride in zip(settings.scales, shapes, settings.feature_strides, strict=True):
        centered = centered_anchors(scale, settings.ratios)
        strides = (height // shape[0], width // shape[1]) if settings.grid_strides else (stride, stride)
        levels.append(
            level_anchors(np.round(centered) if settings.rounded else centered, shape, strides, settings.anchor_stride)
        )
    anchors = np.concatenate(levels)
    anchors.flags.writeable = False
    return anchors


def level_ends(settings: AnchorSettings, height: int, width: int) -> tuple[int, ...]:
    """Where each level ends among the anchors of a canvas: the number of anchors up to and including P2, P3 … P6."""
    stride = settings.anchor_stride
    positions = [
        math.ceil(rows / stride) * math.ceil(columns / stride)
        for rows, columns in feature_shapes((height, width), settings.feature_strides)
    ]
    return tuple(itertools.accumulate(count * len(settings.ratios) for count in positions))


@lru_cache(maxsize=16)
def normalized_anchors(settings: AnchorSettings, height: int, width: int) -> NDArray[np.float32]:
    """Anchors of all levels in normalized coordinates: float32 (A, 4), (y1, x1, y2, x2), read-only, cached."""
    anchors = normalize_boxes(
        pyramid_anchors(settings, height, width), height, width, last_pixel_is_one=settings.last_pixel_is_one
    )
    anchors.flags.writeable = False
    return anchors


def normalize_boxes(boxes: ArrayLike, height: int, width: int, last_pixel_is_one: bool = True) -> NDArray[np.float32]:
    """Pixel boxes in normalized coordinates.

    In Matterport's, y2 and x2 of a pixel box are exclusive, those of a normalized box inclusive, and the last pixel is
    1: normalized boxes are (y1, x1, y2 - 1, x2 - 1) / (H - 1, W - 1, H - 1, W - 1).

    Args:
        boxes: (..., 4), (y1, x1, y2, x2), pixels.
        height, width: canvas size, pixels.
        last_pixel_is_one: Matterport's coordinates; otherwise pixels are divided by the canvas size.

    Returns:
        float32 (..., 4), (y1, x1, y2, x2), normalized.
    """
    shift, scale = _pixel_transform((height, width), last_pixel_is_one)
    normalized: NDArray[np.float64] = (np.asarray(boxes, np.float64) - shift) / scale
    return normalized.astype(np.float32)


def boxes_in_pixels(
    normalized: NDArray[np.float32], height: int, width: int, last_pixel_is_one: bool
) -> NDArray[np.float32]:
    """The inverse of `normalize_boxes`.

    Args:
        normalized: float32 (..., 4), (y1, x1, y2, x2).
        height, width: canvas size, pixels.
        last_pixel_is_one: as in `normalize_boxes`.

    Returns:
        float32 (..., 4), (y1, x1, y2, x2), pixels, y2 and x2 exclusive.
    """
    shift, scale = _pixel_transform((height, width), last_pixel_is_one)
    return normalized * scale.astype(np.float32) + shift.astype(np.float32)


def _pixel_transform(
    canvas_hw: tuple[int, int], last_pixel_is_one: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Shift and scale, float64 (4,) each: pixel boxes are normalized boxes * scale + shift."""
    last = 1 if last_pixel_is_one else 0
    return np.array([0, 0, last, last], np.float64), np.tile(np.array(canvas_hw, np.float64) - last, 2)
