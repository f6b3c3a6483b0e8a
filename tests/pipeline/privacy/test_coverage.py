import numpy as np
import pytest

from pipeline.privacy.coverage import (
    PLANE_SIDE,
    PlaneSize,
    changes_plane,
    match_once,
    overlaps,
    shapes_plane,
    small_gray,
    widened,
)
from pipeline.records import Instances


def instances_of(boxes, probs):
    count = len(boxes)
    return Instances(
        np.array(boxes, np.float32).reshape(count, 4),
        np.ones(count, np.int32),
        np.full(count, 0.9, np.float32),
        np.array(probs, np.float32).reshape(count, 28, 28),
    )


@pytest.mark.parametrize(("height", "width", "plane"), [(90, 160, (90, 160)), (719, 1280, (180, 320)), (641, 65, None)])
def test_the_plane_has_the_shape_of_the_frame_and_is_never_larger(height, width, plane):
    size = PlaneSize.of(np.zeros((height, width, 3), np.uint8))
    assert max(size.width, size.height) == min(PLANE_SIDE, max(height, width))
    assert size.height / size.width == pytest.approx(height / width, rel=0.03)
    assert plane is None or (size.height, size.width) == plane


def test_every_pixel_that_a_set_plane_pixel_touches_is_on_the_frame():
    size = PlaneSize.of(np.zeros((719, 1280, 3), np.uint8))
    plane = size.nothing()
    plane[10, 20] = 255
    mask = size.on_frame(plane)
    assert mask.shape == (719, 1280)
    assert set(np.unique(mask)) == {0, 255}
    assert (mask[40:43, 80:84] == 255).all()
    assert not mask[:30].any()
    assert not mask[56:].any()


def test_shapes_lie_in_their_boxes_and_follow_their_masks():
    size = PlaneSize.of(np.zeros((100, 200, 3), np.uint8))
    left_half = np.zeros((28, 28), np.float32)
    left_half[:, :14] = 1.0
    plane = shapes_plane(instances_of([[100, 20, 156, 76]], [left_half]), size)
    assert (plane[24:72, 102:124] == 255).all()
    assert not plane[:, 132:].any()
    assert not plane[:, :100].any()
    assert not plane[:20].any()


def test_a_mask_that_is_next_to_nothing_covers_its_box():
    size = PlaneSize.of(np.zeros((100, 200, 3), np.uint8))
    plane = shapes_plane(instances_of([[100, 20, 156, 76]], [np.zeros((28, 28))]), size)
    assert (plane[20:76, 100:156] == 255).all()
    assert plane.sum() == 255 * 56 * 56


def test_no_objects_and_objects_outside_cover_nothing():
    size = PlaneSize.of(np.zeros((100, 200, 3), np.uint8))
    assert not shapes_plane(Instances.empty(), size).any()
    assert not shapes_plane(instances_of([[300, 20, 356, 76]], [np.ones((28, 28))]), size).any()


def test_widened_reaches_all_around():
    plane = np.zeros((41, 61), np.uint8)
    plane[20, 30] = 255
    wide = widened(plane, 5.0)
    rows, columns = np.nonzero(wide)
    assert np.hypot(rows - 20, columns - 30).max() <= 6.3
    for row, column in ((20, 35), (20, 25), (25, 30), (15, 30), (23, 34)):
        assert wide[row, column] == 255
    assert not widened(np.zeros((9, 9), np.uint8), 50.0).any()
    assert (widened(plane, 0.0) > 0).sum() >= 5


def test_changes_are_seen_and_light_that_changes_everywhere_is_not():
    size = PlaneSize.of(np.zeros((120, 200, 3), np.uint8))
    random = np.random.default_rng(3)
    before = np.repeat(random.integers(60, 120, (120, 200, 1)), 3, axis=2).astype(np.uint8)
    now = (before + 25).astype(np.uint8)
    now[40:80, 100:130] = 250
    changed = changes_plane(small_gray(before, size), small_gray(now, size))
    assert (changed[44:76, 104:126] == 255).all()
    assert not changed[:, :90].any()
    noisy = np.clip(before.astype(int) + random.integers(-8, 9, before.shape), 0, 255).astype(np.uint8)
    assert not changes_plane(small_gray(before, size), small_gray(noisy, size)).any()


def test_overlaps_by_hand():
    boxes = np.array([[0, 0, 10, 10], [0, 0, 4, 4], [50, 50, 50, 50]], np.float32)
    others = np.array([[5, 0, 15, 10], [0, 0, 4, 4]], np.float32)
    expected = [[1 / 3, 0.16], [0.0, 1.0], [0.0, 0.0]]
    assert overlaps(boxes, others) == pytest.approx(np.array(expected), abs=1e-5)
    assert overlaps(boxes, others[:0]).shape == (3, 0)


def test_each_row_and_column_is_matched_once():
    scores = np.array([[0.9, 0.8, 0.1], [0.85, 0.3, 0.0]], np.float32)
    assert match_once(scores, 0.2) == [(0, 0), (1, 1)]
    assert match_once(scores, 0.5) == [(0, 0)]
    assert match_once(np.zeros((0, 3), np.float32), 0.2) == []
