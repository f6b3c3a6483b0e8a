"""Runs the exported graphs with any runtime that supports ONNX; boxes are decoded and ordered on the host, in NumPy.

Between the exported parts of the network lie pyramid levels, RoIAlign windows and detections; the functions for them
compute what functions of the same name in `mrcnn.network` compute. Shape letters: N regions; K classes including the
background; B images.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from mrcnn.architecture import Architecture, architecture_of
from mrcnn.config import Config
from mrcnn.engines.base import Engine, Floats, RawDetections, check_canvases, matterport_boxes
from mrcnn.network.anchors import AnchorSettings, feature_shapes, level_ends, normalize_boxes, normalized_anchors
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


Arrays = Mapping[str, Any]
"""Arrays by name: NumPy's, or device tensors that a runtime passes from one part to the next."""

Inputs = Mapping[str, NDArray[Any]]
"""NumPy arrays by input name."""


class Runtime(ABC):
    """Loads and runs the parts of one network (see `mrcnn.export.parts`)."""

    @abstractmethod
    def run(self, part: str, inputs: Arrays) -> Arrays:
        """Run the part `features`, `proposals`, `boxes` or `masks`.

        Args:
            part: its name.
            inputs: NumPy arrays by name; for `boxes` and `masks` among them what `features` returned.

        Returns:
            Its outputs as NumPy arrays float32, but for p2 … p5: these are the runtime's own tensors, valid until
            `features` runs again.
        """


class GraphEngine(Engine):
    """Computes the network with exported graphs."""

    def __init__(self, runtime: Runtime, config: Config):
        """Store the arguments.

        Args:
            runtime: holds the parts of this network.
            config: settings of the network; thresholds and limits are read on each call.
        """
        self._runtime, self._config = runtime, config
        self._architecture = architecture_of(config)
        self._anchor_settings = AnchorSettings.from_config(config)

    def warm_up(self, batch: int, height: int, width: int) -> None:
        """See `Engine.warm_up`."""
        self.detect_molded(np.zeros((batch, height, width, 3), np.uint8), np.array([[0, 0, height, width]] * batch))

    def detect_molded(self, images: NDArray[np.uint8], windows: NDArray[np.integer]) -> list[RawDetections]:
        """See `Engine.detect_molded`; images must be uint8."""
        check_canvases(images, windows)
        if images.dtype != np.uint8:
            raise ValueError(f"images must be uint8 (B, H, W, 3), got {images.dtype} {images.shape}")
        height, width = images.shape[1:3]
        canvases = {"images": np.ascontiguousarray(images), "windows": np.array(windows, np.int64)}
        pyramid = self._runtime.run("features", canvases)
        normalized = normalize_boxes(windows, height, width, self._architecture.last_pixel_is_one)
        rois = [self._propose(pyramid, index, normalized[index], height, width) for index in range(len(images))]
        class_probs, deltas = self._classify(pyramid, rois, height, width)
        ends = np.cumsum([len(image_rois) for image_rois in rois])[:-1]
        by_image = zip(
            rois,
            np.split(class_probs, ends),
            np.split(deltas, ends),
            normalized,
            strict=True,
        )
        detected = [detect(*arrays, (height, width), self._config) for arrays in by_image]
        masks = self._predict_masks(pyramid, detected, height, width)
        return [
            RawDetections(matterport_boxes(boxes, height, width, self._architecture), class_ids, scores, mask)
            for (boxes, class_ids, scores), mask in zip(detected, masks, strict=True)
        ]

    def _propose(self, pyramid: Arrays, index: int, window: Floats, height: int, width: int) -> Floats:
        rpn = {name: pyramid[name][index] for name in ("rpn_class_logits", "rpn_deltas")}
        inputs = rpn | proposal_inputs(self._config, window, height, width)
        rois: Floats = self._runtime.run("proposals", inputs)["rois"]
        return rois

    def _classify(self, pyramid: Arrays, rois: Sequence[Floats], height: int, width: int) -> tuple[Floats, Floats]:
        regions = self._sort(rois, height, width, int(self._config.POOL_SIZE))
        found = self._runtime.run("boxes", {**pyramid, **regions.inputs})
        return regions.restore(found["class_probs"]), regions.restore(found["deltas"])

    def _predict_masks(
        self, pyramid: Arrays, detected: Sequence[Detected], height: int, width: int
    ) -> Sequence[Floats]:
        """Mask probabilities of each image's detections: [float32 (N, S, S), …]."""
        boxes = [image_boxes for image_boxes, _, _ in detected]
        class_ids = np.concatenate([image_class_ids for _, image_class_ids, _ in detected]).astype(np.int64)
        side = 2 * int(self._config.MASK_POOL_SIZE)
        if len(class_ids) == 0:
            return [np.zeros((0, side, side), np.float32) for _ in detected]
        regions = self._sort(boxes, height, width, int(self._config.MASK_POOL_SIZE))
        inputs = {**pyramid, **regions.inputs, "class_ids": class_ids[regions.order]}
        mask_probs: Floats = self._runtime.run("masks", inputs)["mask_probs"]
        return np.split(regions.restore(mask_probs), np.cumsum([len(image_boxes) for image_boxes in boxes])[:-1])

    def _sort(self, boxes: Sequence[Floats], height: int, width: int, samples: int) -> RegionsByLevel:
        image_indices = np.repeat(np.arange(len(boxes), dtype=np.int64), [len(image_boxes) for image_boxes in boxes])
        level_hws = feature_shapes((height, width), self._anchor_settings.feature_strides)[: len(LEVELS)]
        return sort_by_level(
            np.concatenate(boxes), image_indices, level_hws, (height, width), samples, self._architecture
        )


def proposal_inputs(config: Config, window: Floats, height: int, width: int) -> dict[str, NDArray[Any]]:
    """The inputs of the part `proposals` that do not come from the network, see `mrcnn.export.parts.export_proposals`.

    Args:
        config: settings of the network.
        window: float32 (4,), normalized (y1, x1, y2, x2): the part of the canvas that the image covers.
        height, width: canvas size, pixels.
    """
    architecture, anchors = architecture_of(config), AnchorSettings.from_config(config)
    ends = level_ends(anchors, height, width)
    starts = (0, *ends[:-1])
    if not architecture.proposals_per_level:
        starts, ends, window = (0,), ends[-1:], np.array([0, 0, 1, 1], np.float32)
    return {
        "anchors": normalized_anchors(anchors, height, width),
        "starts": np.array(starts, np.int64),
        "ends": np.array(ends, np.int64),
        "window": window,
        "smallest": np.float32(architecture.smallest_proposal) / np.array([height, width], np.float32),
        "limit": np.array([int(config.PRE_NMS_LIMIT)], np.int64),
        "count": np.array([int(config.POST_NMS_ROIS_INFERENCE)], np.int64),
    }
