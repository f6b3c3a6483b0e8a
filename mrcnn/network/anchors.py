"""Anchors: reference boxes that the region proposal network scores and refines (Ren et al. 2015, section 3.1.1).

Order: pyramid levels P2 to P6, then rows, columns, ratios. One scale per level (Lin et al. 2017, section 4.1).
Shape letters: A anchors of all levels; H, W canvas height and width in pixels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mrcnn.config import Config


@dataclass(frozen=True)
class AnchorSettings:
    """Settings that determine the anchors of a canvas; hashable, so that anchors can be cached.

    Attributes:
        scales: side of the square anchor of each level, pixels.
        ratios: width / height of the anchors at each position.
        feature_strides: canvas pixels per cell of each level.
        anchor_stride: cells between neighboring anchor positions.
    """

    scales: tuple[float, ...]
    ratios: tuple[float, ...]
    feature_strides: tuple[int, ...]
    anchor_stride: int

    @classmethod
    def from_config(cls, config: Config) -> AnchorSettings:
        """Read RPN_ANCHOR_SCALES, RPN_ANCHOR_RATIOS, BACKBONE_STRIDES and RPN_ANCHOR_STRIDE of a Config."""
        settings = cls(
            tuple(float(scale) for scale in config.RPN_ANCHOR_SCALES),
            tuple(float(ratio) for ratio in config.RPN_ANCHOR_RATIOS),
            tuple(int(stride) for stride in config.BACKBONE_STRIDES),
            int(config.RPN_ANCHOR_STRIDE),
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


def level_anchors(
    scale: float, ratios: Sequence[float], shape: Sequence[int], feature_stride: float, anchor_stride: int
) -> NDArray[np.float64]:
    """Anchors of one pyramid level.

    Args:
        scale: side of the square anchor, pixels.
        ratios: width / height; the area stays scale squared.
        shape: rows and columns of the level.
        feature_stride: pixels per cell.
        anchor_stride: cells between neighboring anchor positions.

    Returns:
        float64 (positions * ratios, 4), (y1, x1, y2, x2) in pixels. Centers lie on the cells' corners, as in
        Matterport's package.
    """
    root_ratios = np.sqrt(np.asarray(ratios, np.float64))
    half_sizes_yx = 0.5 * scale * np.stack([1.0 / root_ratios, root_ratios], axis=-1)  # (R, 2)
    rows = np.arange(0, shape[0], anchor_stride) * float(feature_stride)
    columns = np.arange(0, shape[1], anchor_stride) * float(feature_stride)
    centers_yx = np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1).reshape(-1, 1, 2)
    return np.concatenate([centers_yx - half_sizes_yx, centers_yx + half_sizes_yx], axis=-1).reshape(-1, 4)


@lru_cache(maxsize=16)
def pyramid_anchors(settings: AnchorSettings, height: int, width: int) -> NDArray[np.float64]:
    """Anchors of all levels for a canvas of height x width pixels: float64 (A, 4), pixels, read-only, cached."""
    shapes = feature_shapes((height, width), settings.feature_strides)
    anchors = np.concatenate(
        [
            level_anchors(scale, settings.ratios, shape, stride, settings.anchor_stride)
            for scale, shape, stride in zip(settings.scales, shapes, settings.feature_strides, strict=True)
        ]
    )
    anchors.flags.writeable = False
    return anchors


@lru_cache(maxsize=16)
def normalized_anchors(settings: AnchorSettings, height: int, width: int) -> NDArray[np.float32]:
    """Anchors of all levels in normalized coordinates: float32 (A, 4), (y1, x1, y2, x2), read-only, cached."""
    anchors = normalize_boxes(pyramid_anchors(settings, height, width), height, width)
    anchors.flags.writeable = False
    return anchors


def normalize_boxes(boxes: ArrayLike, height: int, width: int) -> NDArray[np.float32]:
    """Pixel boxes in Matterport's normalized coordinates.

    y2 and x2 of a pixel box are exclusive, those of a normalized box inclusive, and the last pixel is 1: normalized
    boxes are (y1, x1, y2 - 1, x2 - 1) / (H - 1, W - 1, H - 1, W - 1).

    Args:
        boxes: (..., 4), (y1, x1, y2, x2), pixels.
        height, width: canvas size, pixels.

    Returns:
        float32 (..., 4), (y1, x1, y2, x2), normalized.
    """
    scale = np.array([height - 1, width - 1, height - 1, width - 1], np.float64)
    normalized: NDArray[np.float64] = (np.asarray(boxes, np.float64) - (0.0, 0.0, 1.0, 1.0)) / scale
    return normalized.astype(np.float32)
