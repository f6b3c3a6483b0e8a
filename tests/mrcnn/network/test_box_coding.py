"""Deltas, clipping and overlaps against values worked out by hand, and encode against decode."""

import math

import numpy as np
from keras import ops

from mrcnn.network.box_coding import box_areas, clip_boxes, decode_deltas, encode_deltas, iou_matrix

LIMIT = 4.0


def test_decode_moves_the_center_and_stretches_the_sides():
    boxes = np.array([[10.0, 20.0, 14.0, 30.0]], np.float32)  # 4 high, 10 wide, center (12, 25)
    deltas = np.array([[0.5, -0.1, np.log(2.0), np.log(0.5)]], np.float32)
    # center (14, 24), 8 high, 5 wide
    found = decode_deltas(ops.convert_to_tensor(boxes), ops.convert_to_tensor(deltas), LIMIT)
    np.testing.assert_allclose(ops.convert_to_numpy(found), [[10, 21.5, 18, 26.5]], rtol=1e-6)


def test_sides_grow_by_the_limit_at_most():
    boxes, deltas = np.array([[0.0, 0.0, 2.0, 4.0]], np.float32), np.array([[0.0, 0.0, 9.0, -9.0]], np.float32)
    found = ops.convert_to_numpy(
        decode_deltas(ops.convert_to_tensor(boxes), ops.convert_to_tensor(deltas), math.log(3))
    )
    narrow = 2 * np.exp(-9)
    np.testing.assert_allclose(found, [[-2, 2 - narrow, 4, 2 + narrow]], rtol=1e-5)


def test_encode_is_the_inverse_of_decode():
    rng = np.random.default_rng(3)
    corners = rng.uniform(0, 50, (2, 7, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(1, 30, (2, 7, 2))], -1).astype(np.float32)
    targets = boxes[:, ::-1].copy()
    boxes = ops.convert_to_tensor(boxes)
    found = decode_deltas(boxes, encode_deltas(boxes, ops.convert_to_tensor(targets)), LIMIT)
    np.testing.assert_allclose(ops.convert_to_numpy(found), targets, atol=1e-4)


def test_clip_leaves_outside_boxes_empty_on_the_edge():
    boxes = np.array([[[-1, 2, 3, 12], [20, 1, 30, 2], [1, 1, 2, 2]]], np.float32)
    clipped = clip_boxes(boxes, np.array([[[0, 0, 8, 10]]], np.float32))
    np.testing.assert_allclose(ops.convert_to_numpy(clipped), [[[0, 2, 3, 10], [8, 1, 8, 2], [1, 1, 2, 2]]])


def test_overlaps_by_hand():
    others = np.array([[0, 0, 4, 6], [2, 3, 6, 9], [4, 0, 8, 6], [1, 1, 1, 5], [10, 10, 12, 12]], np.float32)
    # the second shares 2 x 3 of 24 + 24 - 6; neighbors share an edge only; a line has no area
    expected = [1, 6 / 42, 0, 0, 0]
    matrix = ops.convert_to_numpy(iou_matrix(others[:2], others))
    np.testing.assert_allclose(matrix[0], expected, rtol=1e-6)
    np.testing.assert_allclose(matrix[:, :2], matrix[:, :2].T)


def test_two_empty_boxes_do_not_overlap():
    line = np.array([[2, 2, 2, 9]], np.float32)
    assert ops.convert_to_numpy(iou_matrix(line, line)).tolist() == [[0.0]]
    assert ops.convert_to_numpy(box_areas(np.array([[5, 5, 3, 9], [0, 0, 2, 3]], np.float32))).tolist() == [0.0, 6.0]
