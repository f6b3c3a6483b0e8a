"""Annotated images whose average precision is known by hand: boxes with full masks on images of 260 x 100 pixels."""

from __future__ import annotations

import json

import cv2
import numpy as np

from pipeline.evaluation.scoring import read_ground_truth
from pipeline.records import Instances
from pipeline.segmentation.engine_choice import EngineChoice
from pipeline.segmentation.segmenter import Segmenter
from pipeline.settings.model_settings import EngineKind, Precision

HEIGHT, WIDTH = 100, 260
CATEGORIES = {"person": 5, "dog": 9, "kite": 2}
SMALL, OTHER_SMALL, LARGE = (0, 0, 20, 20), (30, 70, 20, 20), (140, 2, 100, 96)
"""x, y, width, height: areas of 400, 400 and 9,600 pixels."""


def annotation(box, category="person", image_id=1, polygon=None, **more):
    x, y, width, height = box
    corners = polygon or [x, y, x + width, y, x + width, y + height, x, y + height]
    found = {"image_id": image_id, "category_id": CATEGORIES[category], "iscrowd": 0, "bbox": list(box)}
    return found | {"area": width * height, "segmentation": [corners]} | more


def document(*annotations, images=1):
    return {
        "images": [
            {"id": index, "file_name": f"{index}.png", "height": HEIGHT, "width": WIDTH}
            for index in range(1, images + 1)
        ],
        "categories": [{"id": category_id, "name": name} for name, category_id in CATEGORIES.items()],
        "annotations": [{"id": index, **record} for index, record in enumerate(annotations)],
    }


def write(folder, *annotations, images=1):
    """Write annotations and gray images into a folder; returns the annotation file."""
    path = folder / "instances.json"
    path.write_text(json.dumps(document(*annotations, images=images)), encoding="utf-8")
    for index in range(1, images + 1):
        cv2.imwrite(str(folder / f"{index}.png"), np.full((HEIGHT, WIDTH, 3), index, np.uint8))
    return path


def truth_of(folder, *annotations, images=1):
    return read_ground_truth(write(folder, *annotations, images=images))


class KnownSegmenter(Segmenter):
    """Finds what it is told to in the image of each gray value: {image: [(score, class id, (x, y, width, height))]}."""

    labels = ("BG", "Dog", "person", "unicorn")
    description = "a segmenter of the tests"
    choice = EngineChoice(EngineKind.OPENVINO, Precision.FLOAT32)

    def __init__(self, found):
        self.found = found
        self.opened = self.closed = 0

    def open(self):
        self.opened += 1

    def segment_batch(self, images_bgr):
        return [self.segment(image_bgr) for image_bgr in images_bgr]

    def segment(self, image_bgr):
        rows = self.found.get(int(image_bgr[0, 0, 0]), [])
        boxes = [[x, y, x + width, y + height] for _, _, (x, y, width, height) in rows]
        return Instances(
            np.array(boxes, np.float32).reshape(-1, 4),
            np.array([class_id for _, class_id, _ in rows], np.int32),
            np.array([score for score, _, _ in rows], np.float32),
            np.ones((len(rows), 28, 28), np.float32),
        )

    def close(self):
        self.closed += 1


DOG, PERSON, UNICORN = 1, 2, 3
