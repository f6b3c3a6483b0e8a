import math

import numpy as np
import pytest

from benchmarks.matching import agreement, box_iou, compare, least_percent
from pipeline.records import Instances


def instances(*objects):
    boxes = np.array([box for _, box in objects], np.float32).reshape(-1, 4)
    count = len(objects)
    return Instances(
        boxes,
        np.array([class_id for class_id, _ in objects], np.int32),
        np.linspace(0.9, 0.8, count, dtype=np.float32),
        np.zeros((count, 28, 28), np.float32),
    )


def test_overlap_by_hand():
    a, b = np.array([[0, 0, 10, 20]], np.float32), np.array([[5, 0, 15, 20], [20, 0, 30, 20]], np.float32)
    np.testing.assert_allclose(box_iou(a, b), [[100 / 300, 0]])


def test_each_object_counts_once_and_only_for_its_class():
    wanted = instances((1, (0, 0, 100, 50)), (1, (200, 0, 300, 50)), (2, (400, 0, 500, 50)))
    found = instances((1, (0, 0, 99, 50)), (1, (0, 0, 98, 50)), (1, (400, 0, 500, 50)))
    agreed = compare(wanted, found)
    assert (agreed.wanted, agreed.found, agreed.matched) == (3, 3, 1)
    assert agreed.share == pytest.approx(100 / 3)


def test_missing_and_extra_objects_both_cost():
    one, two = instances((1, (0, 0, 10, 10))), instances((1, (0, 0, 10, 10)), (1, (30, 0, 40, 10)))
    assert compare(one, two).share == compare(two, one).share == pytest.approx(200 / 3)
    both = agreement([(one, two), (one, one), (instances(), instances())])
    assert (both.wanted, both.found, both.matched) == (2, 3, 2)
    assert both.text == "2 matched of 2 and 3"
    assert math.isnan(compare(instances(), instances()).share)


def test_overlap_from_which_on_boxes_are_the_same():
    wanted, found = instances((1, (0, 0, 100, 10))), instances((1, (0, 0, 80, 10)))
    assert compare(wanted, found).matched == 0
    assert compare(wanted, found, 0.5).matched == 1


@pytest.mark.parametrize(
    ("words", "percent"),
    [
        ("OpenVINO, CPU, int8", 90),
        ("OpenVINO, CPU, bfloat16", 95),
        ("GPU, float16", 95),
        ("CPU, float32", 97),
        ("", 97),
    ],
)
def test_what_is_asked_of_a_precision(words, percent):
    assert least_percent(words) == percent
