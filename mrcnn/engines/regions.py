"""What happens between the parts of the network, on the host, in numpy: levels, windows, final detections.

The functions give what their namesakes in `mrcnn.network` give. Letters: N regions, K classes with the background,
B images.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

CANONICAL_SIDE = 224.0
"""Side in pixels of a region that belongs to P4 (Lin et al. 2017, equation 1)."""

LONGEST_STRETCH = 30.0
"""As in `mrcnn.network.box_coding`."""

LEVEL_COUNT = 4


def roi_levels(boxes: np.ndarray, height: int, width: int) -> np.ndarray:
    """Which of P2 to P5 each region is read from.

    Args:
        boxes: float32 (N, 4), normalized (y1, x1, y2, x2).
        height, width: of the canvas, pixels.

    Returns:
        int64 (N,): 0 for P2 … 3 for P5.
    """
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    side = np.sqrt(np.maximum(area, np.float32(1e-12)))
    level = np.round(np.log2(side * np.float32(math.sqrt(height * width) / CANONICAL_SIDE)))
    return np.clip(level + 2, 0, LEVEL_COUNT - 1).astype(np.int64)


def roi_windows(boxes: np.ndarray, level_hw: tuple[int, int], samples: int) -> np.ndarray:
    """The windows for which ONNX's RoiAlign takes its samples where crop_and_resize would.

    crop_and_resize puts the first and the last sample on the box's edges; RoiAlign, asked for one sample a bin, puts
    one in the middle of each of `samples` bins, and takes a cell's center for half a cell in. So the window is wider
    by half a step on each side, and moved by half a cell.

    Args:
        boxes: float32 (N, 4), normalized (y1, x1, y2, x2).
        level_hw: rows and columns of the level.
        samples: along each side, 2 or more.

    Returns:
        float32 (N, 4), (x1, y1, x2, y2) in cells.
    """
    last = np.array([level_hw[0] - 1, level_hw[1] - 1] * 2, np.float32)
    corners = boxes * last
    half_step = (corners[:, 2:] - corners[:, :2]) * np.float32(0.5 / (samples - 1))
    low, high = corners[:, :2] - half_step + np.float32(0.5), corners[:, 2:] + half_step + np.float32(0.5)
    return np.ascontiguousarray(np.concatenate([low[:, ::-1], high[:, ::-1]], axis=1))


@dataclass(frozen=True, slots=True, eq=False)
class LevelledRegions:
    """Regions sorted by level, as the heads' graphs take them.

    Attributes:
        inputs: arrays by input name: windows2 … windows5 float32 (n, 4), images2 … images5 int64 (n,).
        order: int64 (N,): the heads' row i is of the region order[i].
    """

    inputs: dict[str, np.ndarray]
    order: np.ndarray

    def restore(self, rows: np.ndarray) -> np.ndarray:
        """A head's answer in the order of the regions."""
        restored = np.empty_like(rows)
        restored[self.order] = rows
        return restored


def sort_by_level(
    boxes: np.ndarray,
    image_indices: np.ndarray,
    level_hws: list[tuple[int, int]],
    canvas_hw: tuple[int, int],
    size: int,
) -> LevelledRegions:
    """Give every region to its level.

    Args:
        boxes: float32 (N, 4), normalized.
        image_indices: int64 (N,), which image of the batch.
        level_hws: rows and columns of P2 … P5.
        canvas_hw: height and width of the canvas, pixels.
        size: samples along each side of a region.
    """
    levels = roi_levels(boxes, *canvas_hw)
    inputs, order = {}, []
    for index, level_hw in enumerate(level_hws):
        places = np.flatnonzero(levels == index)
        order.append(places)
        inputs[f"windows{index + 2}"] = roi_windows(boxes[places], level_hw, size)
        inputs[f"images{index + 2}"] = image_indices[places]
    return LevelledRegions(inputs, np.concatenate(order))


def decode_deltas(boxes: np.ndarray, deltas: np.ndarray) -> np.ndarray:
    """Move and stretch boxes by deltas (Girshick et al. 2014, appendix C): float32 (N, 4) each, and as the result."""
    sizes = boxes[:, 2:] - boxes[:, :2]
    centers = boxes[:, :2] + np.float32(0.5) * sizes + deltas[:, :2] * sizes
    sizes = sizes * np.exp(np.minimum(deltas[:, 2:], np.float32(LONGEST_STRETCH)))
    low = centers - np.float32(0.5) * sizes
    return np.concatenate([low, low + sizes], axis=1)


def detect(
    rois: np.ndarray, class_probs: np.ndarray, deltas: np.ndarray, window: np.ndarray, config: Any
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Final detections of one image; see `mrcnn.network.detection_selection.detect`.

    Args:
        rois: float32 (N, 4), normalized.
        class_probs: float32 (N, K).
        deltas: float32 (N, K, 4), not yet multiplied by BBOX_STD_DEV.
        window: float32 (4,), normalized: the part of the canvas that holds the picture.
        config: BBOX_STD_DEV, DETECTION_MIN_CONFIDENCE, DETECTION_NMS_THRESHOLD, DETECTION_MAX_INSTANCES and, if it has
            one, DETECTION_IGNORE_BACKGROUND count.

    Returns:
        boxes float32 (D, 4), class_ids int32 (D,), scores float32 (D,), best score first.
    """
    if getattr(config, "DETECTION_IGNORE_BACKGROUND", False):
        class_probs = class_probs.copy()
        class_probs[:, 0] = 0.0
    class_ids = class_probs.argmax(axis=1)
    scores = class_probs[np.arange(len(rois)), class_ids]
    live = np.flatnonzero((class_ids > 0) & (scores >= np.float32(config.DETECTION_MIN_CONFIDENCE or 0.0)))
    rois, class_ids, scores = rois[live], class_ids[live], scores[live]
    own_deltas = deltas[live, class_ids] * np.asarray(config.BBOX_STD_DEV, np.float32)
    boxes = decode_deltas(rois, own_deltas)
    boxes = np.clip(boxes, np.tile(window[:2], 2), np.tile(window[2:], 2)).astype(np.float32)
    kept = class_wise_nms(
        boxes, scores, class_ids, int(config.DETECTION_MAX_INSTANCES), float(config.DETECTION_NMS_THRESHOLD)
    )
    return boxes[kept], class_ids[kept].astype(np.int32), scores[kept]


def class_wise_nms(
    boxes: np.ndarray, scores: np.ndarray, class_ids: np.ndarray, limit: int, iou_threshold: float
) -> np.ndarray:
    """Greedy suppression in which boxes suppress only boxes of their own class.

    A box without area that is kept ends its class, as in `mrcnn.network.backend_ops.class_wise_nms`.

    Args:
        boxes: float32 (N, 4), (y1, x1, y2, x2).
        scores: float32 (N,).
        class_ids: (N,).
        limit: how many are kept at most.
        iou_threshold: 0 … 1.

    Returns:
        int64 (at most limit,): indices of those kept, best score first.
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
        sides = np.minimum(boxes[index, 2:], boxes[rest, 2:]) - np.maximum(boxes[index, :2], boxes[rest, :2])
        sides = np.maximum(sides, 0)
        intersection = sides[:, 0] * sides[:, 1]
        union = areas[index] + areas[rest] - intersection
        alive[rest[intersection > np.float32(iou_threshold) * union]] = False
    return order[kept]
