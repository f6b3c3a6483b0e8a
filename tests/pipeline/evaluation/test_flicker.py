"""Masks are boxes 10 rows high: their IoU follows from their columns."""

import math

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from pipeline.evaluation.flicker import Flicker, flicker, threshold_for_recall


def mask(first, last):
    """Columns first … last - 1 of rows 5 … 14, in a frame of 30 x 100 pixels."""
    pixels = np.zeros((30, 100), np.uint8, order="F")
    pixels[5:15, first:last] = 1
    return coco_mask.encode(pixels)


def test_what_stands_still_does_not_flicker():
    found = flicker([[mask(0, 10)]] * 4, [1] * 4)
    assert found == Flicker(objects=3, present=4, found=4)
    assert (found.change, found.change_of_masks, found.recall) == (0, 0, 1)


def test_masks_change_by_one_minus_their_iou():
    found = flicker([[mask(0, 10)], [mask(0, 8)], [mask(0, 10)]], [1, 1, 1])  # IoU 8 / 10, twice
    assert found.objects == 2
    assert found.change == pytest.approx(0.2)


def test_an_object_that_is_missed_vanishes_and_comes_back():
    found = flicker([[mask(0, 10)], [], [mask(0, 10)], [mask(0, 10)]], [1, 1, 1, 1])
    assert (found.objects, found.vanished, found.found, found.present) == (3, 2, 3, 4)
    assert found.change == pytest.approx(2 / 3)
    assert found.change_of_masks == 0
    assert found.recall == 0.75


def test_masks_that_overlap_by_less_than_half_are_two_objects():
    # 10 columns, moved by 3 and by 4: 7 / 13 and 6 / 14
    assert flicker([[mask(0, 10)], [mask(3, 13)]], [1, 1]).change_of_masks == pytest.approx(6 / 13)
    assert flicker([[mask(0, 10)], [mask(4, 14)]], [1, 1]) == Flicker(objects=2, vanished=2, present=2, found=2)


def test_objects_are_matched_whatever_their_order():
    found = flicker([[mask(0, 10), mask(50, 60)], [mask(50, 59), mask(0, 10), mask(80, 90)]], [2, 2])
    assert (found.objects, found.vanished, found.false_alarms) == (3, 1, 1)
    assert found.change == pytest.approx((0.1 + 0 + 1) / 3)
    assert found.change_of_masks == pytest.approx(0.05)


def test_pairs_around_a_real_change_are_left_out():
    frames = [[mask(0, 10)], [], [mask(0, 10)], [mask(50, 60)]]
    assert flicker(frames, [1, 0, 1, None]) == Flicker(present=2, found=2)
    assert flicker(frames, [None, None, None, None]) == Flicker()
    assert math.isnan(flicker(frames, [None] * 4).change)
    assert math.isnan(flicker(frames, [0, None, None, None]).recall)


def test_what_is_seen_where_nothing_is_flickers_too():
    found = flicker([[], [mask(0, 10)], []], [0, 0, 0])
    assert found == Flicker(objects=2, vanished=2, false_alarms=1)
    assert found.change == 1


def test_clips_add_up_and_do_not_meet():
    one, other = flicker([[mask(0, 10)]] * 2, [1] * 2), flicker([[mask(0, 10)], []], [1] * 2)
    assert one + other == Flicker(objects=2, vanished=1, present=4, found=3)


def test_frames_and_numbers_of_objects_must_be_as_many():
    with pytest.raises(ValueError, match="shorter"):
        flicker([[], []], [0])


def test_the_threshold_is_the_highest_that_reaches_the_recall():
    scores = [0.95, 0.8, 0.6, 0.605]  # one object in each of four frames

    def measure(threshold):
        return Flicker(present=4, found=sum(score >= threshold for score in scores))

    assert threshold_for_recall(measure, 0.25) == 0.95
    assert threshold_for_recall(measure, 0.7) == 0.60
    assert threshold_for_recall(measure, 1.0) == 0.60
    assert threshold_for_recall(lambda _: Flicker(present=4), 0.5) == 0.01
