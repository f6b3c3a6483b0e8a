"""Measures a network during training: the losses on a fixed set of windows, and mask AP50 on whole images."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import cv2
import keras
import numpy as np
from pycocotools import mask as coco_mask

from mrcnn.architecture import architecture_of
from mrcnn.coco.annotation_file import Record
from mrcnn.coco.average_precision import ALL_AREAS, MAX_DETECTIONS, Kind, measure
from mrcnn.config import MIN_DIM_SHARE, Config
from mrcnn.engines.keras_engine import KerasEngine
from mrcnn.network.constants import CANVAS_MULTIPLE
from mrcnn.network.network import MaskRCNNNetwork
from mrcnn.training.annotated_images import AnnotatedImage, Instance
from mrcnn.training.data import BatchMaker, UnreadableImageError
from mrcnn.training.training_model import TrainingModel, keras_policy
from mrcnn.weights.metadata import config_from_metadata, describe

MAX_IMAGES = 100
"""Of more images than this, AP is measured on an evenly spaced sample."""

MAX_BATCHES = 16
SHOWN_IMAGES = 8
MIN_SCORE = 0.05
MASK_THRESHOLD = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Detection:
    """One detection in an image.

    Attributes:
        class_id: 1 … K - 1.
        score: 0 … 1.
        box: int (4,), (y1, x1, y2, x2) in pixels of the image, inside it.
        mask: bool (y2 - y1, x2 - x1).
    """

    class_id: int
    score: float
    box: np.ndarray
    mask: np.ndarray


class Validator:
    """Measures a network that is being trained, on a second network that is always float32.

    Attributes:
        shown: (image, detections) of some images with an object at the last measurement, for pictures.
        image_count: number of images on which AP is measured.
    """

    def __init__(self, config: Config, batches: BatchMaker):
        """Build the network.

        Args:
            config: the training's; its IMAGE_MAX_DIM is the canvas.
            batches: makes windows of the validation images without random changes; the losses are measured on the
                first batches, AP on the whole images.
        """
        self._batches, self._data = batches, batches.windows.data
        overrides = {
            "DETECTION_MIN_CONFIDENCE": MIN_SCORE,
            "DETECTION_MAX_INSTANCES": max(MAX_DETECTIONS, int(config.DETECTION_MAX_INSTANCES)),
        }
        eval_config = config_from_metadata(describe(config, self._data.class_names), **overrides)
        with keras_policy("float32"):
            self._network = MaskRCNNNetwork(eval_config)
        self._detector = KerasEngine(self._network)
        self._config = config
        self._images = _evenly(self._data.images, MAX_IMAGES)
        self.image_count = len(self._images)
        self.shown: list[tuple[AnnotatedImage, list[Detection]]] = []

    def measure(self, model: TrainingModel, stopped: Callable[[], bool] = lambda: False) -> dict[str, Any] | None:
        """The losses ("val_loss", "val_" + name), "mask_ap50" (0 … 1) and "ap50_by_class" of the model's weights.

        Args:
            model: whose weights are copied and whose losses are taken.
            stopped: called after each image.

        Returns:
            None if `stopped` returned true. "mask_ap50" is None where the images have no object of a class.
        """
        result = self._losses(model)
        for mine, theirs in zip(self._network.variables, model.network.variables, strict=True):
            mine.assign(np.array(keras.ops.convert_to_numpy(theirs), np.float32))  # a copy: see averaged_weights
        found: list[tuple[AnnotatedImage, list[Detection]]] = []
        for image in self._images:
            if stopped():
                return None
            with contextlib.suppress(UnreadableImageError):  # the cache has logged it
                found.append((image, self.detect(self._batches.windows.cache.get(image))))
        with_object = [pair for pair in found if any(one.class_id for one in pair[0].instances)]
        self.shown = _evenly(with_object or found, SHOWN_IMAGES)
        by_class = mask_ap50(found, self._data.class_names)
        known = [value for value in by_class.values() if value is not None]
        return result | {"mask_ap50": round(fmean(known), 4) if known else None, "ap50_by_class": by_class}

    def detect(self, image_rgb: np.ndarray) -> list[Detection]:
        """The objects in an image, uint8 (H, W, 3) RGB, best first."""
        height, width = image_rgb.shape[:2]
        canvas, window = place_on_canvas(image_rgb, self._config)
        raw = self._detector.detect_molded(canvas[None], window[None])[0]
        scales = np.array([height, width]) / (window[2:] - window[:2])
        boxes = (raw.boxes_in_pixels(*canvas.shape[:2]) - np.tile(window[:2], 2)) * np.tile(scales, 2)
        placed = (_paste(box, mask, height, width) for box, mask in zip(boxes, raw.mask_probs, strict=True))
        return [
            Detection(int(class_id), float(score), *area)
            for class_id, score, area in zip(raw.class_ids, raw.scores, placed, strict=True)
            if area is not None
        ]

    def _losses(self, model: TrainingModel) -> dict[str, Any]:
        count = min(MAX_BATCHES, -(-len(self._data.images) // self._batches.count))
        logs = [model.test_on_batch(self._batches.make(number), return_dict=True) for number in range(count)]
        return {f"val_{name}": round(fmean(float(one[name]) for one in logs), 5) for name in logs[0]}


def place_on_canvas(image_rgb: np.ndarray, config: Config) -> tuple[np.ndarray, np.ndarray]:
    """Place an image on a square canvas as its network expects it; the same size for all images is compiled once.

    The longer side becomes at most IMAGE_MAX_DIM. In IMAGE_RESIZE_MODE "shortest", the shorter side becomes at most
    IMAGE_MIN_DIM; otherwise a smaller image is enlarged only until its shorter side is `MIN_DIM_SHARE` of
    IMAGE_MAX_DIM.

    Args:
        image_rgb: uint8 (H, W, 3).
        config: these settings and the architecture are read.

    Returns:
        uint8 (side, side, 3), black around the image; the image's place, int (4,), (y1, x1, y2, x2).
    """
    height, width = image_rgb.shape[:2]
    architecture, max_dim = architecture_of(config), int(config.IMAGE_MAX_DIM)
    if config.IMAGE_RESIZE_MODE == "shortest":
        wanted = config.IMAGE_MIN_DIM / min(height, width)
    else:
        wanted = max(1.0, round(MIN_DIM_SHARE * max_dim) / min(height, width))
    scale = min(wanted, max_dim / max(height, width))
    rounded = math.floor if architecture.floored_size else round
    size = (max(1, rounded(width * scale)), max(1, rounded(height * scale)))
    shrinks_smoothly = architecture.antialiased and scale < 1
    interpolation = cv2.INTER_AREA if shrinks_smoothly else cv2.INTER_LINEAR
    resized = cv2.resize(image_rgb, size, interpolation=interpolation)
    whole = -(-max_dim // CANVAS_MULTIPLE) * CANVAS_MULTIPLE
    canvas = np.zeros((whole, whole, 3), np.uint8)
    top, left = ((whole - size[1]) // 2, (whole - size[0]) // 2) if architecture.centered else (0, 0)
    window = np.array([top, left, top + size[1], left + size[0]])
    canvas[window[0] : window[2], window[1] : window[3]] = resized
    return canvas, window


def mask_ap50(
    detected: Sequence[tuple[AnnotatedImage, Sequence[Detection]]], class_names: Sequence[str]
) -> dict[str, float | None]:
    """COCO's average precision of masks at an IoU of 0.5 by class, rounded; None where there is no object.

    Args:
        detected: images with their detections.
        class_names: K names, the background first.
    """
    annotations: list[Record] = []
    detections: list[Record] = []
    for image_id, (image, found) in enumerate(detected):
        for objects, is_crowd in ((image.instances, 0), (image.crowds, 1)):
            for one in objects:
                mask = one.mask > 127
                numbers = {"iscrowd": is_crowd, "area": float(np.count_nonzero(mask))}
                if one.class_id:
                    annotations.append(_record(image_id, image, one, mask) | numbers)
        detections.extend(_record(image_id, image, one, one.mask) | {"score": one.score} for one in found)
    class_ids = range(1, len(class_names))
    by_class = measure(annotations, detections, Kind.MASK, class_ids, ALL_AREAS, [0.5]).by_category
    return {
        class_names[class_id]: None if math.isnan(numbers.ap50) else round(numbers.ap50, 4)
        for class_id, numbers in by_class.items()
    }


def _record(image_id: int, image: AnnotatedImage, one: Instance | Detection, mask: np.ndarray) -> Record:
    full = np.zeros((image.height, image.width), np.uint8, order="F")
    full[one.box[0] : one.box[2], one.box[1] : one.box[3]] = mask
    return {"image_id": image_id, "category_id": int(one.class_id), "segmentation": coco_mask.encode(full)}


def _paste(box: np.ndarray, mask_probs: np.ndarray, height: int, width: int) -> tuple[np.ndarray, np.ndarray] | None:
    """(box, mask) of a detection in whole pixels, clipped to the image; None if the mask is empty there."""
    whole = np.round(box).astype(int)
    whole[2:] = np.maximum(whole[2:], whole[:2] + 1)
    size = int(whole[3] - whole[1]), int(whole[2] - whole[0])
    mask = cv2.resize(mask_probs, size, interpolation=cv2.INTER_LINEAR) > MASK_THRESHOLD
    cut = np.clip(whole, 0, [height, width, height, width])
    mask = mask[cut[0] - whole[0] : cut[2] - whole[0], cut[1] - whole[1] : cut[3] - whole[1]]
    return (cut, mask) if mask.any() else None


def _evenly(items: Sequence[Any], most: int) -> list[Any]:
    if len(items) <= most:
        return list(items)
    return [items[round(i)] for i in np.linspace(0, len(items) - 1, most)]
