"""Box arithmetic in NumPy, worked out by hand and against its counterpart on tensors."""

import numpy as np
from keras import ops

from mrcnn.network import box_coding
from mrcnn.network.numpy_boxes import areas, decode_deltas, intersections, iou

ONE = np.float32([0, 0, 4, 6])
# the same; 2 x 3 in common; a common edge; a line inside; far away
OTHERS = np.float32([[0, 0, 4, 6], [2, 3, 6, 9], [4, 0, 8, 6], [1, 1, 1, 5], [10, 10, 12, 12]])


def random_boxes(count, seed):
    corners = np.random.default_rng(seed).uniform(0, 1, (count, 2, 2)).astype(np.float32)
    return np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)


def test_areas_and_intersections_by_hand():
    assert areas(OTHERS).tolist() == [24, 24, 24, 0, 4]
    assert intersections(ONE, OTHERS).tolist() == [24, 6, 0, 0, 0]


def test_iou_by_hand():
    found = iou(ONE, OTHERS, areas(ONE), areas(OTHERS))
    np.testing.assert_allclose(found, [1, 6 / 42, 0, 0, 0], rtol=1e-6)


def test_pairs_of_boxes_as_on_tensors():
    boxes_a, boxes_b = random_boxes(7, 1), random_boxes(5, 2)
    found = iou(boxes_a[:, None], boxes_b[None], areas(boxes_a)[:, None], areas(boxes_b)[None])
    np.testing.assert_allclose(found, ops.convert_to_numpy(box_coding.iou_matrix(boxes_a, boxes_b)), rtol=1e-5)


def test_whole_pixels_stay_whole():
    boxes = np.array([[0, 0, 4, 6], [2, 3, 6, 9]], np.int32)
    assert intersections(boxes[0], boxes).tolist() == [24, 6]
    assert areas(boxes).dtype.kind == "i"


def test_deltas_are_decoded_as_on_tensors():
    boxes, deltas = random_boxes(50, 4), np.random.default_rng(5).normal(0, 0.5, (50, 4)).astype(np.float32)
    deltas[0, 2:] = 1000.0  # limited, not infinite
    expected = ops.convert_to_numpy(box_coding.decode_deltas(ops.convert_to_tensor(boxes), deltas, 30.0))
    found = decode_deltas(boxes, deltas, 30.0)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_deltas_by_hand():
    """Down by half the height, left by a quarter of the width; twice as high, half as wide."""
    found = decode_deltas(np.float32([[0, 0, 2, 4]]), np.float32([[0.5, -0.25, np.log(2), -np.log(2)]]), 30.0)
    np.testing.assert_allclose(found, [[0, 0, 4, 2]], atol=1e-6)
    limited = decode_deltas(np.float32([[0, 0, 2, 4]]), np.float32([[0, 0, 9, 0]]), np.log(3))
    np.testing.assert_allclose(limited, [[-2, 0, 4, 4]], rtol=1e-6)
