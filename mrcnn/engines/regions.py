"""Steps between the exported parts of the network, on the host, in NumPy: pyramid levels, RoIAlign windows, detections.

The functions compute what functions of the same name in `mrcnn.network` compute. Shape letters: N regions; K classes
including the background; B images.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from mrcnn.architecture import Architecture, architecture_of
from mrcnn.config import Config
from mrcnn.engines.base import Floats
from mrcnn.network.constants import CANONICAL_SIDE, LEVELS
from mrcnn.network.numpy_boxes import decode_deltas, intersections

Rows = TypeVar("Rows", bound=NDArray[Any])

Detected = tuple[Floats, NDArray[np.int32], Floats]
"""Boxes float32 (D, 4), normalized (y1, x1, y2, x2); class_ids int32 (D,); scores float32 (D,), highest first."""


def roi_levels(boxes: Floats, height: int, width: int, architecture: Architecture) -> NDArray[np.int64]:
    """Index of the pyramid level from which each region is pooled (Lin et al. 2017, equation 1).

    Args:
        boxes: float32 (N, 4), normalized (y1, x1, y2, x2).
        height, width: canvas size, pixels.
        architecture: says how the level is rounded.

    Returns:
        int64 (N,), index into LEVELS: 0 for P2 … 3 for P5.
    """
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    side = np.sqrt(np.maximum(area, np.float32(1e-12)))
    octave = np.log2(side * np.float32(math.sqrt(height * width) / CANONICAL_SIDE))
    level = np.floor(octave + np.float32(1e-6)) if architecture.floored_levels else np.round(octave)
    return np.asarray(np.clip(level + 2, 0, len(LEVELS) - 1), np.int64)


def roi_windows(boxes: Floats, level_hw: tuple[int, int], samples: int, architecture: Architecture) -> Floats:
    """Windows for which ONNX's RoiAlign samples the points that the architecture's pooling samples.

    Most architectures pool with RoiAlign. crop_and_resize, Matterport's pooling, puts the first and the last sample on
    the edges of the box. RoiAlign with one sample per bin puts it in the center of each of `samples` bins, and takes
    the center of a cell to be half a cell from its corner. So the window is half a step wider on each side and shifted
    by half a cell.

    Args:
        boxes: float32 (N, 4), normalized (y1, x1, y2, x2).
        level_hw: rows and columns of the level.
        samples: per side, 2 or more.
        architecture: says how regions are pooled.

    Returns:
        float32 (N, 4), (x1, y1, x2, y2) in cells.
    """
    if architecture.roi_samples is not None:
        return np.ascontiguousarray((boxes * np.array([*level_hw] * 2, np.float32))[:, [1, 0, 3, 2]])
    last = np.array([level_hw[0] - 1, level_hw[1] - 1] * 2, np.float32)
    corners = boxes * last
    half_step = (corners[:, 2:] - corners[:, :2]) * np.float32(0.5 / (samples - 1))
    low, high = corners[:, :2] - half_step + np.float32(0.5), corners[:, 2:] + half_step + np.float32(0.5)
    return np.ascontiguousarray(np.concatenate([low[:, ::-1], high[:, ::-1]], axis=1))


@dataclass(frozen=True, slots=True, eq=False)
class RegionsByLevel:
    """Regions sorted by level, as the head graphs take them.

    Attributes:
        inputs: arrays by input name: windows2 … windows5 float32 (n, 4), (x1, y1, x2, y2) in cells; images2 … images5
            int64 (n,), index into the batch.
        order: int64 (N,): row i of a head's output belongs to region order[i].
    """

    inputs: dict[str, NDArray[Any]]
    order: NDArray[np.int64]

    def restore(self, rows: Rows) -> Rows:
        """Rows of a head's output in the original order of the regions."""
        restored: Rows = np.empty_like(rows)
        restored[self.order] = rows
        return restored


def sort_by_level(
    boxes: Floats,
    image_indices: NDArray[np.int64],
    level_hws: Sequence[tuple[int, int]],
    canvas_hw: tuple[int, int],
    samples: int,
    architecture: Architecture,
) -> RegionsByLevel:
    """Assign every region to its pyramid level.

    Args:
        boxes: float32 (N, 4), normalized (y1, x1, y2, x2).
        image_indices: int64 (N,), index into the batch.
        level_hws: rows and columns of P2 … P5.
        canvas_hw: canvas height and width, pixels.
        samples: samples per side of a region.
        architecture: says how levels and windows are chosen.
    """
    levels = roi_levels(boxes, *canvas_hw, architecture)
    inputs: dict[str, NDArray[Any]] = {}
    order = []
    for index, (level, level_hw) in enumerate(zip(LEVELS, level_hws, strict=True)):
        at_level = np.flatnonzero(levels == index)
        order.append(at_level)
        inputs[f"windows{level}"] = roi_windows(boxes[at_level], level_hw, samples, architecture)
        inputs[f"images{level}"] = image_indices[at_level]
    return RegionsByLevel(inputs, np.concatenate(order))


def detect(
    rois: Floats, class_probs: Floats, deltas: Floats, window: Floats, canvas_hw: tuple[int, int], config: Config
) -> Detected:
    """Final detections of one image; see `mrcnn.network.detection_selection.detect`.

    Args:
        rois: float32 (N, 4), normalized (y1, x1, y2, x2).
        class_probs: float32 (N, K).
        deltas: float32 (N, K, 4), not yet multiplied by BBOX_STD_DEV.
        window: float32 (4,), normalized (y1, x1, y2, x2): the part of the canvas that the image covers.
        canvas_hw: canvas height and width, pixels.
        config: BBOX_STD_DEV, DETECTION_MIN_CONFIDENCE, DETECTION_NMS_THRESHOLD, DETECTION_MAX_INSTANCES, the
            architecture and the optional DETECTION_IGNORE_BACKGROUND are read.
    """
    architecture = architecture_of(config)
    regions, class_ids = _candidates(class_probs, config, architecture.every_class)
    scores = class_probs[regions, class_ids]
    own_deltas = deltas[regions, class_ids] * np.asarray(config.BBOX_STD_DEV, np.float32)
    boxes = decode_deltas(rois[regions], own_deltas, architecture.max_log_scale)
    boxes = np.clip(boxes, np.tile(window[:2], 2), np.tile(window[2:], 2)).astype(np.float32)
    if architecture.smallest_detection:
        sides = (boxes[:, 2:] - boxes[:, :2]) * np.array(canvas_hw, np.float32)
        is_large = (sides >= np.float32(architecture.smallest_detection)).all(axis=1)
        boxes, class_ids, scores = boxes[is_large], class_ids[is_large], scores[is_large]
    kept = class_wise_nms(
        boxes, scores, class_ids, int(config.DETECTION_MAX_INSTANCES), float(config.DETECTION_NMS_THRESHOLD)
    )
    return boxes[kept], class_ids[kept].astype(np.int32), scores[kept]


def _candidates(class_probs: Floats, config: Config, every_class: bool) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Regions and classes whose score reaches the threshold: each region's best class, or every class."""
    least = np.float32(config.DETECTION_MIN_CONFIDENCE or 0.0)
    if every_class:
        regions, class_ids = np.nonzero(class_probs[:, 1:] >= least)
        return regions, class_ids + 1
    if getattr(config, "DETECTION_IGNORE_BACKGROUND", False):
        class_probs = class_probs.copy()
        class_probs[:, 0] = 0.0
    best = class_probs.argmax(axis=1)
    regions = np.flatnonzero((best > 0) & (class_probs.max(axis=1) >= least))
    return regions, best[regions]


def class_wise_nms(
    boxes: Floats, scores: Floats, class_ids: NDArray[np.integer], limit: int, iou_threshold: float
) -> NDArray[np.int64]:
    """Greedy non-maximum suppression among boxes of the same class.

    A kept box without area suppresses the rest of its class, as in `mrcnn.network.backend_ops.class_wise_nms`.

    Args:
        boxes: float32 (N, 4), (y1, x1, y2, x2).
        scores: float32 (N,).
        class_ids: (N,).
        limit: maximum number of boxes to keep.
        iou_threshold: 0 … 1.

    Returns:
        int64 (at most limit,): indices of the kept boxes, highest score first.
    """
    order = np.argsort(-scores, kind="stable")
    boxes, class_ids = boxes[order], class_ids[order]
    heights, widths = np.maximum(boxes[:, 2] - boxes[:, 0], 0), np.maximum(boxes[:, 3] - boxes[:, 1], 0)
    areas = heights * widths
    alive = np.ones(len(order), bool)
    kept: list[int] = []
    for index in range(len(order)):
        if not alive[index]:
            continue
        kept.append(index)
        if len(kept) == limit:
            break
        rest = np.flatnonzero(alive[index + 1 :] & (class_ids[index + 1 :] == class_ids[index])) + index + 1
        if areas[index] <= 0:
            alive[rest] = False
            continue
        intersection = intersections(boxes[index], boxes[rest])
        union = areas[index] + areas[rest] - intersection
        alive[rest[intersection > np.float32(iou_threshold) * union]] = False
    return order[kept]
