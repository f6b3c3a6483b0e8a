"""Measures a network while it is trained: the losses on a fixed choice of windows, and mask AP50 on whole images."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import keras
import numpy as np

from mrcnn.config import MIN_DIM_SHARE, Config
from mrcnn.engines.keras_engine import KerasEngine
from mrcnn.network.constants import CANVAS_MULTIPLE
from mrcnn.network.network import MaskRCNNNetwork
from mrcnn.training.coco import AnnotatedImage, AnnotatedImages, Instance
from mrcnn.training.data import BatchMaker
from mrcnn.training.pictures import PictureError, PictureStore
from mrcnn.training.training_model import TrainingModel
from mrcnn.weights.metadata import config_from_metadata, describe

MOST_IMAGES = 100
"""More images than this are not looked at: evenly chosen ones stand for them."""

MOST_BATCHES = 16
SHOWN_IMAGES = 8
LEAST_SCORE = 0.05
MASK_THRESHOLD = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """One detection on a photograph.

    Attributes:
        class_id: 1 … K - 1.
        score: 0 … 1.
        box: int (4,), (y1, x1, y2, x2) in pixels of the photograph, inside it.
        mask: bool (y2 - y1, x2 - x1).
    """

    class_id: int
    score: float
    box: np.ndarray
    mask: np.ndarray


@contextlib.contextmanager
def float32_policy() -> Iterator[None]:
    """Inside, new layers compute in float32 whatever the training's precision."""
    before = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy("float32")
    try:
        yield
    finally:
        keras.mixed_precision.set_global_policy(before)


class Validator:
    """Owns a second network, always float32, that gets the weights to be measured.

    Attributes:
        shown: (image, detections) of some images with an object at the last measurement, for pictures.
        image_count: how many images are looked at.
    """

    def __init__(self, config: Config, data: AnnotatedImages, windows: BatchMaker, batch: int, pictures: PictureStore):
        """Build the network.

        Args:
            config: the training's; its IMAGE_MAX_DIM is the canvas.
            data: the images to measure on, with the classes of the training.
            windows: makes batches of them, without chance; the first few are the ones whose losses are measured.
            batch: windows of a batch.
            pictures: where photographs are kept.
        """
        overrides = {
            "DETECTION_MIN_CONFIDENCE": LEAST_SCORE,
            "DETECTION_MAX_INSTANCES": max(100, int(config.DETECTION_MAX_INSTANCES)),
        }
        eval_config = config_from_metadata(describe(config, data.class_names), **overrides)
        with float32_policy():
            self._network = MaskRCNNNetwork(eval_config)
        self._detector = KerasEngine(self._network)
        self._side = int(config.IMAGE_MAX_DIM)
        self._short_side = round(MIN_DIM_SHARE * self._side)
        self._data, self._pictures, self._windows = data, pictures, windows
        self._images = _evenly(data.images, MOST_IMAGES)
        self._batches = min(MOST_BATCHES, -(-len(data.images) // batch))
        self.image_count = len(self._images)
        self.shown: list[tuple[AnnotatedImage, list[Found]]] = []

    def measure(self, model: TrainingModel, stopped: Callable[[], bool] = lambda: False) -> dict[str, Any] | None:
        """The losses ("val_loss", "val_" + name), "mask_ap50" (0 … 1) and "ap50_by_class" of the model's weights.

        Args:
            model: whose weights are copied and whose losses are taken.
            stopped: asked after each image.

        Returns:
            None if `stopped` became true. "mask_ap50" is None where the images have no object of a class.
        """
        result = self._losses(model)
        for mine, theirs in zip(self._network.variables, model.network.variables, strict=True):
            mine.assign(np.array(keras.ops.convert_to_numpy(theirs), np.float32))  # a copy: see averaged_weights
        found: list[tuple[AnnotatedImage, list[Found]]] = []
        for image in self._images:
            if stopped():
                return None
            with contextlib.suppress(PictureError):  # said when it happened
                found.append((image, self.detect(self._pictures.get(image))))
        with_object = [pair for pair in found if any(one.class_id for one in pair[0].instances)]
        self.shown = _evenly(with_object or found, SHOWN_IMAGES)
        by_class = mask_ap50(found, self._data.class_names)
        known = [value for value in by_class.values() if value is not None]
        result["mask_ap50"] = round(float(np.mean(known)), 4) if known else None
        result["ap50_by_class"] = by_class
        return result

    def detect(self, image_rgb: np.ndarray) -> list[Found]:
        """The objects in a photograph, uint8 (H, W, 3) RGB, best first."""
        height, width = image_rgb.shape[:2]
        canvas, (top, left), scale = place_on_canvas(image_rgb, self._side, self._short_side)
        window = np.array([[top, left, top + round(height * scale), left + round(width * scale)]])
        raw = self._detector.detect_molded(canvas[None], window)[0]
        boxes = (raw.boxes_in_pixels(*canvas.shape[:2]) - np.tile([top, left], 2)) / scale
        placed = (_paste(box, mask, height, width) for box, mask in zip(boxes, raw.mask_probs, strict=True))
        return [
            Found(int(class_id), float(score), *area)
            for class_id, score, area in zip(raw.class_ids, raw.scores, placed, strict=True)
            if area is not None
        ]

    def _losses(self, model: TrainingModel) -> dict[str, Any]:
        sums: dict[str, float] = {}
        for number in range(self._batches):
            logs = model.test_on_batch(self._windows.make(number), return_dict=True)  # of this batch alone
            sums = {name: sums.get(name, 0.0) + float(value) for name, value in logs.items()}
        return {f"val_{name}": round(value / self._batches, 5) for name, value in sums.items()}


def place_on_canvas(image_rgb: np.ndarray, side: int, short_side: int) -> tuple[np.ndarray, tuple[int, int], float]:
    """A photograph in the middle of a square canvas, its longer side at most `side`; smaller ones are enlarged until
    their shorter side is `short_side`.

    Args:
        image_rgb: uint8 (H, W, 3).
        side: pixels, a multiple of 64.
        short_side: pixels.

    Returns:
        uint8 (side, side, 3), black around the photograph; (top, left) of it; the scale.
    """
    height, width = image_rgb.shape[:2]
    scale = min(max(1.0, short_side / min(height, width)), side / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    resized = cv2.resize(image_rgb, size, interpolation=cv2.INTER_LINEAR)
    whole = -(-side // CANVAS_MULTIPLE) * CANVAS_MULTIPLE
    canvas = np.zeros((whole, whole, 3), np.uint8)
    top, left = (whole - size[1]) // 2, (whole - size[0]) // 2
    canvas[top : top + size[1], left : left + size[0]] = resized
    return canvas, (top, left), scale


def mask_ap50(
    found: Sequence[tuple[AnnotatedImage, Sequence[Found]]], class_names: Sequence[str]
) -> dict[str, float | None]:
    """Average precision of masks at an overlap of 0.5, as COCO measures it, by class; None where there is no object.

    Args:
        found: images with what was found on them.
        class_names: K names, the background first.
    """
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truth, results = COCO(), []
    truth.dataset = {
        "images": [{"id": n, "height": image.height, "width": image.width} for n, (image, _) in enumerate(found)],
        "categories": [{"id": class_id, "name": name} for class_id, name in enumerate(class_names) if class_id],
        "annotations": [],
    }
    for n, (image, detections) in enumerate(found):
        for objects, is_crowd in ((image.instances, 0), (image.crowds, 1)):
            truth.dataset["annotations"].extend(_truth_row(n, image, one, is_crowd) for one in objects if one.class_id)
        results.extend(_result_row(n, image, one) for one in detections)
    for number, row in enumerate(truth.dataset["annotations"], start=1):
        row["id"] = number
    has_object = {row["category_id"] for row in truth.dataset["annotations"] if not row["iscrowd"]}
    by_class: dict[str, float | None] = {
        name: 0.0 if class_id in has_object else None for class_id, name in enumerate(class_names) if class_id
    }
    if not results or not has_object:
        return by_class
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(results), "segm")
        evaluation.params.iouThrs = np.array([0.5])
        evaluation.params.maxDets = [100]
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][0, :, :, 0, 0]  # (recalls, categories), -1 where there is no object
    for index, class_id in enumerate(evaluation.params.catIds):
        if class_id in has_object:
            by_class[class_names[class_id]] = round(float(precision[:, index].mean()), 4)
    return by_class


def _truth_row(number: int, image: AnnotatedImage, one: Instance, is_crowd: int) -> dict[str, Any]:
    row = _row(number, image, one.class_id, one.box, one.mask > 127)
    return row | {"iscrowd": is_crowd, "area": float(np.count_nonzero(one.mask > 127))}


def _result_row(number: int, image: AnnotatedImage, one: Found) -> dict[str, Any]:
    return _row(number, image, one.class_id, one.box, one.mask) | {"score": one.score}


def _row(number: int, image: AnnotatedImage, class_id: int, box: np.ndarray, mask: np.ndarray) -> dict[str, Any]:
    from pycocotools import mask as coco_mask

    full = np.zeros((image.height, image.width), np.uint8, order="F")
    full[box[0] : box[2], box[1] : box[3]] = mask
    return {"image_id": number, "category_id": int(class_id), "segmentation": coco_mask.encode(full)}


def _paste(box: np.ndarray, mask_probs: np.ndarray, height: int, width: int) -> tuple[np.ndarray, np.ndarray] | None:
    """(box, mask) of a detection in whole pixels inside the photograph; None if nothing of it is."""
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
