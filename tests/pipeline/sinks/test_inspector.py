"""Choosing an object, following it, and describing it."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.records import Instances
from pipeline.sinks.inspector import Inspector

LABELS = ("BG", "person", "dog")


def objects(*boxes, ids=None, classes=None, probs=None):
    count = len(boxes)
    return Instances(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(classes or [1] * count, np.int32),
        np.full(count, 0.984, np.float32),
        np.ones((count, 28, 28), np.float32) if probs is None else probs,
        None if ids is None else np.array(ids, np.int32),
    )


LEFT, RIGHT, AROUND = (0, 0, 20, 40), (50, 0, 80, 40), (-10, -10, 100, 60)


def inspector_of(instances, pts_s=0.0):
    inspector = Inspector(LABELS)
    inspector.see(instances, pts_s)
    return inspector


def test_a_point_chooses_the_smallest_object_there_and_nothing_outside():
    inspector = inspector_of(objects(AROUND, LEFT, RIGHT))
    found = []
    for point in ((10, 10), (60, 10), (30, 10), (200, 10)):
        inspector.choose_at(*point)
        chosen = inspector.chosen()
        found.append(chosen and chosen.box_xyxy)
    assert found == [LEFT, RIGHT, AROUND, None]


def test_a_mask_at_the_point_comes_before_a_smaller_box():
    probs = np.ones((2, 28, 28), np.float32)
    probs[1, :, :14] = 0  # the left half of the small box is not the object
    inspector = inspector_of(objects(AROUND, LEFT, probs=probs))
    inspector.choose_at(5, 20)
    assert inspector.chosen().box_xyxy == AROUND
    inspector.choose_at(15, 20)
    assert inspector.chosen().box_xyxy == LEFT


def test_one_after_another_from_left_to_right():
    inspector = inspector_of(objects(RIGHT, LEFT))
    boxes = []
    for _ in range(4):
        inspector.choose_next()
        boxes.append(inspector.chosen() and inspector.chosen().box_xyxy)
    assert boxes == [LEFT, RIGHT, None, LEFT]
    empty = inspector_of(Instances.empty())
    empty.choose_next()
    assert empty.chosen() is None


def test_a_track_is_followed_and_its_time_in_view_counted_also_from_before_it_was_chosen():
    inspector = inspector_of(objects(LEFT, RIGHT, ids=[4, 7], classes=[1, 2]), pts_s=10.0)
    inspector.see(objects(RIGHT, LEFT, ids=[7, 4], classes=[2, 1]), 22.5)
    inspector.choose_at(60, 10)
    assert inspector.chosen().text == "dog · #7 · 98% · 12 s in view"
    inspector.see(objects(LEFT, ids=[4]), 30.0)
    assert inspector.chosen() is None
    inspector.see(objects(LEFT, (0, 0, 5, 5), ids=[4, 7], classes=[1, 2]), 82.0)
    assert inspector.chosen().text == "dog · #7 · 98% · 1:12 min in view"
    assert inspector.chosen().box_xyxy == (0, 0, 5, 5)


def test_a_track_that_stays_while_thousands_come_and_go_keeps_its_time():
    inspector = inspector_of(objects(LEFT, ids=[1]))
    inspector.choose_next()
    for track_id in range(2, 10_100):
        inspector.see(objects(LEFT, RIGHT, ids=[1, track_id]), float(track_id))
    assert inspector.chosen().text == "person · #1 · 98% · 168:19 min in view"


def test_without_track_ids_the_object_of_the_class_that_overlaps_most_is_followed():
    inspector = inspector_of(objects(LEFT, RIGHT))
    inspector.choose_at(60, 10)
    assert inspector.chosen().text == "person · 98%"
    inspector.see(objects((52, 0, 82, 40), LEFT), 0.1)
    assert inspector.chosen().box_xyxy == (52, 0, 82, 40)
    inspector.see(objects((52, 0, 82, 40), classes=[2]), 0.2)
    assert inspector.chosen() is None
    inspector.see(objects((52, 0, 82, 40)), 0.3)
    assert inspector.chosen() is None


@pytest.mark.parametrize("ids", [None, [3]])
def test_another_image_does_not_continue_the_one_before(ids):
    inspector = inspector_of(objects(LEFT, ids=ids))
    inspector.choose_next()
    assert inspector.chosen() is not None
    inspector.see(objects(LEFT, ids=ids), 0.0, continues=False)
    assert inspector.chosen() is None


def test_an_object_that_gets_its_id_later_stays_chosen():
    inspector = inspector_of(objects(LEFT, ids=[0]))
    inspector.choose_next()
    assert inspector.chosen().text == "person · 98%"
    inspector.see(objects(LEFT, ids=[5]), 1.0)
    inspector.see(objects(LEFT, ids=[5]), 3.0)
    assert inspector.chosen().text == "person · #5 · 98% · 2 s in view"


def test_a_score_is_never_shown_as_certain():
    certain = replace(objects(LEFT), scores=np.ones(1, np.float32))
    inspector = inspector_of(certain)
    inspector.choose_next()
    assert inspector.chosen().text == "person · 99%"
