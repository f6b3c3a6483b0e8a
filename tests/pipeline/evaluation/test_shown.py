"""Boxes of 10 x 10 pixels, and one crowd region."""

import numpy as np
from pycocotools import mask as coco_mask

from pipeline.evaluation.shown import ShownObjects, shown_objects


def mask(left, width=10):
    pixels = np.zeros((30, 200), np.uint8, order="F")
    pixels[5:15, left : left + width] = 1
    return coco_mask.encode(pixels)


def annotated(image_id, left, category_id=1, iscrowd=0, width=10):
    return {
        "image_id": image_id,
        "category_id": category_id,
        "iscrowd": iscrowd,
        "segmentation": mask(left, width),
    }


def found(image_id, left, score, category_id=1):
    return {"image_id": image_id, "category_id": category_id, "score": score, "segmentation": mask(left)}


def test_right_wrong_and_alarms_on_empty_images_are_counted():
    truth = [annotated(1, 0), annotated(1, 50)]
    detections = [
        found(1, 2, 0.9),  # 8 of 12 columns: right
        found(1, 46, 0.9),  # 6 of 14: wrong
        found(1, 50, 0.69),  # below the threshold
        found(2, 0, 0.7),
        found(2, 40, 0.8),
        found(3, 0, 0.1),
    ]
    assert shown_objects([1, 2, 3], truth, detections, 0.7) == ShownObjects(0.7, 2, 4, 1, 2, 2)
    assert shown_objects([1, 2, 3], truth, detections, 0.05) == ShownObjects(0.05, 2, 6, 2, 2, 3)


def test_an_object_is_found_once_and_by_its_class_only():
    truth = [annotated(1, 0), annotated(1, 50, category_id=2)]
    detections = [found(1, 0, 0.8), found(1, 1, 0.9), found(1, 50, 0.9)]
    assert shown_objects([1], truth, detections, 0.5) == ShownObjects(0.5, 2, 3, 1, 0, 0)


def test_the_best_detection_takes_the_object_that_it_overlaps_most():
    truth = [annotated(1, 0), annotated(1, 4)]
    detections = [found(1, 3, 0.9), found(1, 1, 0.8)]  # 3 overlaps 4 more than 0; 1 is left with 0
    assert shown_objects([1], truth, detections, 0.5).right == 2


def test_what_lies_in_a_crowd_region_is_neither_right_nor_wrong():
    truth = [annotated(1, 0), annotated(1, 100, iscrowd=1, width=60)]
    detections = [found(1, 0, 0.9), found(1, 110, 0.9), found(1, 156, 0.9)]  # the last one has 4 of 10 columns in it
    assert shown_objects([1], truth, detections, 0.5) == ShownObjects(0.5, 1, 2, 1, 0, 0)


def test_the_line_names_every_count():
    assert ShownObjects(0.7, 188, 134, 78, 38, 9).text == (
        "at a score of 0.7, 134 objects are shown, 78 of them right (mask IoU 0.5), of 188; "
        "9 on the 38 images without any"
    )
