"""Drawing masks, outlines and labels of 20 objects on 1080p frames, against supervision's annotators."""

from collections.abc import Callable

import cv2
import numpy as np
import supervision

from benchmarks.measuring import RowReport, Spread, Value, alternate, at_least, ratios
from benchmarks.options import Options
from pipeline.drawing.overlay import Overlay
from pipeline.records import Instances
from pipeline.settings.output_settings import OverlaySettings

TITLE = "drawing 20 objects at 1080p from 28x28 masks"
HEIGHT, WIDTH, COUNT = 1080, 1920, 20
LABELS = ("BG", *(f"class {i}" for i in range(1, 81)))
LEAST_RATIO = 7


def measure(options: Options) -> RowReport:
    """Alternately, in one process."""
    taken = alternate(drawers(blurred_noise()), options.rounds(25), warm_ups=2)
    values = [
        Value("times as fast as supervision", ratios(taken["theirs"], taken["ours"]), "x", at_least(LEAST_RATIO)),
        Value("ours", Spread.of([1000 * s for s in taken["ours"]]), "ms"),
        Value("supervision's", Spread.of([1000 * s for s in taken["theirs"]]), "ms"),
    ]
    return RowReport("drawing", TITLE, values, {"supervision": supervision.__version__})


def blurred_noise() -> np.ndarray:
    """A picture to draw on, uint8 (HEIGHT, WIDTH, 3)."""
    return cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8), (0, 0), 5)


def drawers(image_bgr: np.ndarray) -> dict[str, Callable[[], np.ndarray]]:
    """Functions that draw the same objects on a copy of the picture, "theirs" and "ours".

    supervision needs full-frame masks; making them is not timed."""
    instances = twenty_objects()
    overlay = Overlay(OverlaySettings(), LABELS)
    detections = full_frame_detections(instances)
    texts = [overlay.label(int(i), float(s)) for i, s in zip(instances.class_ids, instances.scores, strict=True)]
    masks = supervision.MaskAnnotator(opacity=0.35)
    polygons = supervision.PolygonAnnotator(thickness=2)
    labels = supervision.LabelAnnotator(text_scale=0.75, text_thickness=1, text_padding=8)

    def theirs() -> np.ndarray:
        scene = polygons.annotate(masks.annotate(image_bgr.copy(), detections), detections)
        return labels.annotate(scene, detections, labels=texts)

    return {"theirs": theirs, "ours": lambda: overlay.draw(image_bgr, instances)}


def twenty_objects() -> Instances:
    """Round masks in boxes of 120 to 600 pixels, which overlap."""
    rng = np.random.default_rng(11)
    size = rng.integers(120, 600, (COUNT, 2))
    corner = (rng.random((COUNT, 2)) * (np.array([WIDTH, HEIGHT]) - size)).astype(int)
    boxes = np.concatenate([corner, corner + size], axis=1).astype(np.float32)
    y, x = np.mgrid[0:28, 0:28]
    blob = 1 / (1 + np.exp(np.hypot(y - 13.5, (x - 13.5) / 0.9) - 12))
    return Instances(
        boxes,
        np.arange(1, COUNT + 1, dtype=np.int32),
        np.linspace(0.99, 0.7, COUNT, dtype=np.float32),
        np.tile(blob.astype(np.float32), (COUNT, 1, 1)),
    )


def full_frame_detections(instances: Instances) -> supervision.Detections:
    """The same objects as supervision takes them."""
    masks = np.zeros((COUNT, HEIGHT, WIDTH), bool)
    boxes = instances.boxes_xyxy.astype(int)
    for mask, probs, (x1, y1, x2, y2) in zip(masks, instances.mask_probs, boxes, strict=True):
        mask[y1:y2, x1:x2] = cv2.resize(probs, (int(x2 - x1), int(y2 - y1))) >= 0.5
    return supervision.Detections(
        xyxy=instances.boxes_xyxy, mask=masks, class_id=instances.class_ids, confidence=instances.scores
    )
