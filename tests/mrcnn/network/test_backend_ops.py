"""Suppression and cropping: every road against a plain loop in numpy."""

import numpy as np
import pytest
from keras import ops

from mrcnn.network import backend_ops
from mrcnn.network.backend_ops import (
    DEAD,
    class_wise_nms,
    gathering_sampler,
    greedy_nms,
    level_sampler,
    non_max_suppression,
    parallel_nms,
)

ROADS = [non_max_suppression, greedy_nms, parallel_nms]


def numpy_iou(a, b):
    top, left = np.maximum(a[:2], b[:2])
    bottom, right = np.minimum(a[2:], b[2:])
    inner = max(bottom - top, 0) * max(right - left, 0)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inner
    return inner / union if inner > 0 else 0.0


def numpy_nms(boxes, scores, most, threshold):
    kept = []
    for index in np.argsort(-scores, kind="stable"):
        if (
            scores[index] >= 0
            and len(kept) < most
            and all(numpy_iou(boxes[index], boxes[k]) <= threshold for k in kept)
        ):
            kept.append(int(index))
    return kept


def random_boxes(rng, count):
    corners = rng.uniform(0, 0.7, (count, 2))
    return np.concatenate([corners, corners + rng.uniform(0.02, 0.3, (count, 2))], -1).astype(np.float32)


def as_list(indices, count):
    count = int(ops.convert_to_numpy(count))
    indices = ops.convert_to_numpy(indices)
    assert (indices[count:] == 0).all()
    return indices[:count].tolist()


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize(("count", "most", "threshold"), [(150, 40, 0.3), (150, 150, 0.7), (5, 9, 0.5), (1, 1, 0.5)])
def test_suppression_equals_a_plain_loop(road, count, most, threshold):
    rng = np.random.default_rng(count)
    boxes, scores = random_boxes(rng, count), rng.permutation(count).astype(np.float32) / count
    scores[rng.random(count) < 0.2] = DEAD
    if count == 1:
        scores[:] = 0.5
    indices, kept = road(ops.convert_to_tensor(boxes), ops.convert_to_tensor(scores), most, threshold)
    assert ops.convert_to_numpy(indices).shape == (most,)
    assert as_list(indices, kept) == numpy_nms(boxes, scores, most, threshold)


@pytest.mark.parametrize("road", ROADS)
def test_nothing_live_keeps_nothing(road):
    boxes = random_boxes(np.random.default_rng(1), 6)
    assert as_list(*road(ops.convert_to_tensor(boxes), ops.full((6,), DEAD), 4, 0.5)) == []


@pytest.mark.parametrize("road", ROADS)
def test_a_chain_is_settled_in_order(road):
    # each overlaps its neighbor by more than half: 0 removes 1, so 2 stays and removes 3
    boxes = np.array([[0, x, 1, x + 1] for x in (0, 0.3, 0.6, 0.9)], np.float32)
    scores = np.array([0.9, 0.8, 0.7, 0.6], np.float32)
    assert as_list(*road(ops.convert_to_tensor(boxes), ops.convert_to_tensor(scores), 4, 0.5)) == [0, 2]


def test_classes_do_not_suppress_each_other():
    boxes = np.array([[0, 0, 1, 1], [0, 0, 1, 0.9], [0, 0, 1, 1], [0.5, 0.5, 0.6, 0.6]], np.float32)
    scores = np.array([0.8, 0.9, 0.7, DEAD], np.float32)
    ids = np.array([1, 1, 2, 2], np.int32)
    arguments = [ops.convert_to_tensor(array) for array in (boxes, scores, ids)]
    assert as_list(*class_wise_nms(*arguments, 3, 0.5)) == [1, 2]
    assert as_list(*class_wise_nms(*arguments, 1, 0.5)) == [1]


def test_class_wise_suppression_equals_the_loop_class_by_class():
    rng = np.random.default_rng(8)
    boxes, scores = random_boxes(rng, 120), rng.permutation(120).astype(np.float32) / 120
    ids = rng.integers(1, 4, 120).astype(np.int32)
    expected = [
        i for k in (1, 2, 3) for i in np.flatnonzero(ids == k)[numpy_nms(boxes[ids == k], scores[ids == k], 30, 0.3)]
    ]
    expected = sorted(expected, key=lambda index: -scores[index])[:30]
    arguments = [ops.convert_to_tensor(array) for array in (boxes, scores)]
    for found in (
        class_wise_nms(*arguments, ops.convert_to_tensor(ids), 30, 0.3),
        greedy_nms(*arguments, 30, 0.3, ops.convert_to_tensor(ids)),
    ):
        assert as_list(*found) == expected


def test_an_empty_box_ends_its_class():
    line = [0.2, 0.1, 0.2, 0.4]
    boxes = np.array([[0, 0, 0.5, 0.5], line, [0.6, 0.6, 0.9, 0.9], line, [0.6, 0.6, 0.8, 0.9]], np.float32)
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.5], np.float32)
    ids = np.array([1, 1, 1, 1, 2], np.int32)
    arguments = [ops.convert_to_tensor(array) for array in (boxes, scores)]
    assert as_list(*class_wise_nms(*arguments, ops.convert_to_tensor(ids), 5, 0.5)) == [0, 1, 4]
    assert as_list(*greedy_nms(*arguments, 5, 0.5, ops.convert_to_tensor(ids))) == [0, 1, 4]


def numpy_crop(level, box, side):
    """Bilinear samples of one region, one by one; 0 outside."""
    height, width, channels = level.shape
    result = np.zeros((side, side, channels), np.float64)
    for row in range(side):
        for column in range(side):
            y, x = (
                (low + (high - low) * i / (side - 1)) * (cells - 1)
                for low, high, i, cells in ((box[0], box[2], row, height), (box[1], box[3], column, width))
            )
            if 0 <= y <= height - 1 and 0 <= x <= width - 1:
                y0, x0 = int(np.floor(y)), int(np.floor(x))
                y1, x1 = min(y0 + 1, height - 1), min(x0 + 1, width - 1)
                upper = level[y0, x0] * (1 - x + x0) + level[y0, x1] * (x - x0)
                lower = level[y1, x0] * (1 - x + x0) + level[y1, x1] * (x - x0)
                result[row, column] = upper * (1 - y + y0) + lower * (y - y0)
    return result


@pytest.mark.parametrize("road", [level_sampler, gathering_sampler])
def test_crops_equal_a_plain_loop(road):
    rng = np.random.default_rng(2)
    maps = [rng.normal(size=(2, height, width, 3)).astype(np.float32) for height, width in ((12, 20), (6, 10))]
    boxes = np.array(
        [[0.1, 0.2, 0.6, 0.5], [0, 0, 1, 1], [0.3, 0.9, 0.3, 0.9], [-0.2, 0.5, 0.4, 1.3], [0, 0, 0, 0]], np.float32
    )
    images, levels = np.array([0, 1, 1, 0, 0], np.int32), np.array([1, 0, 1, 0, 0], np.int32)
    sample = road([ops.convert_to_tensor(level) for level in maps])
    found = ops.convert_to_numpy(sample(*(ops.convert_to_tensor(array) for array in (boxes, images, levels)), 5))
    expected = [numpy_crop(maps[level][image], box, 5) for box, image, level in zip(boxes, images, levels, strict=True)]
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_a_side_of_one_samples_the_center():
    level = np.arange(9 * 5, dtype=np.float32).reshape(1, 9, 5, 1)
    box = np.array([[0.0, 0.0, 0.5, 1.0]], np.float32)  # center: row 2, column 2
    zero = ops.zeros((1,), "int32")
    found = gathering_sampler([ops.convert_to_tensor(level)])(ops.convert_to_tensor(box), zero, zero, 1)
    assert ops.convert_to_numpy(found).tolist() == [[[[12.0]]]]


def test_dead_is_below_every_probability():
    assert backend_ops.DEAD < 0.0
