"""Marks are seen where they were painted, and nowhere once they are blurred."""

import cv2
import numpy as np

from benchmarks.marked_people import MARK, MarkedPeople, marks, paint


def picture():
    """A gray picture with a person, and one on whom there is no room for a mark."""
    image = np.full((180, 320, 3), 110, np.uint8)
    person, child = np.zeros((180, 320), bool), np.zeros((180, 320), bool)
    person[40:140, 100:161] = True
    child[10:30, 250:270] = True
    paint(image, [person, child])
    return image


def test_a_mark_lies_in_the_middle_of_whoever_has_room_for_it():
    image = picture()
    changed = np.argwhere((image != 110).any(axis=2))
    y1, x1 = changed.min(axis=0)
    assert tuple(changed.max(axis=0) - (y1, x1) + 1) == (MARK, MARK)
    assert abs(x1 + MARK // 2 - 130) <= 1, "the largest squares lie along the person's axis"
    assert marks(image) == [(x1 + MARK // 2, y1 + MARK // 2)]


def test_it_is_seen_through_compression_and_not_through_a_blur():
    image = picture()
    compressed = cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 60])[1], cv2.IMREAD_COLOR)
    assert len(marks(compressed)) == 1
    assert marks(cv2.GaussianBlur(image, (0, 0), 6)) == []
    assert marks(np.full((180, 320, 3), (220, 20, 220), np.uint8)) == [], "a color alone is no mark"


def test_its_network_finds_whom_it_sees():
    segmenter = MarkedPeople(takes_s=0.0)
    segmenter.open()
    somebody, nobody = segmenter.segment_batch([picture(), np.zeros((90, 160, 3), np.uint8)])
    ((x, y),) = marks(picture())
    x1, y1, x2, y2 = somebody.boxes_xyxy[0]
    assert x1 < x < x2
    assert y1 < y < y2
    assert list(somebody.class_ids) == [1]
    assert len(nobody) == 0
