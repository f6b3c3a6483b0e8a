"""The two ways of suppression in keras.ops must agree, class by class too; test_backend_ops has them against numpy."""

import numpy as np
import pytest
from keras import ops

from mrcnn.network.compiled import compile_function
from mrcnn.network.suppression import DEAD, greedy_nms, parallel_nms


def kept(road, boxes, scores, most, threshold, ids=None):
    ids = np.ones(len(scores)) if ids is None else ids
    run = compile_function(lambda b, s, i: road(b, s, most, threshold, i), [])  # faster under JAX than op by op
    indices, count = run(np.array(boxes, np.float32), np.array(scores, np.float32), np.array(ids, np.int32))
    indices, count = ops.convert_to_numpy(indices), int(ops.convert_to_numpy(count))
    assert indices.shape == (most,)
    assert (indices[count:] == 0).all()
    return indices[:count].tolist()


@pytest.mark.parametrize(("count", "most", "threshold"), [(90, 90, 0.3), (90, 7, 0.5), (1, 1, 0.5), (3, 8, 0.0)])
def test_class_by_class_both_keep_the_same(count, most, threshold):
    rng = np.random.default_rng(count + most)
    corners = rng.uniform(0, 0.6, (count, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(-0.01, 0.3, (count, 2))], -1)  # some without area
    boxes[rng.random(count) < 0.1, 2:] = 0.2
    scores = rng.permutation(count) / count
    scores[rng.random(count) < 0.2] = DEAD
    ids = rng.integers(1, 4, count)
    both = [kept(road, boxes, scores, most, threshold, ids) for road in (greedy_nms, parallel_nms)]
    assert both[0] == both[1]


@pytest.mark.parametrize("road", [greedy_nms, parallel_nms])
def test_classes_and_empty_boxes_by_hand(road):
    whole, most_of_it, line, far = [0, 0, 1, 1], [0, 0, 1, 0.9], [0.2, 0.1, 0.2, 0.4], [2, 2, 3, 4]
    assert kept(road, [whole, most_of_it], [0.8, 0.9], 2, 0.5, [1, 2]) == [1, 0]
    assert kept(road, [whole, most_of_it], [0.8, 0.9], 2, 0.5, [2, 2]) == [1]
    # the line is kept, and ends class 1 for all that score less
    assert kept(road, [whole, line, far, far], [0.9, 0.8, 0.7, 0.6], 4, 0.5, [1, 1, 1, 2]) == [0, 1, 3]
    assert kept(road, [whole, line], [DEAD, DEAD], 3, 0.5, [1, 1]) == []


def test_a_long_chain_takes_the_parallel_way_as_many_rounds_as_it_needs():
    boxes = [[0, 0.4 * place, 1, 0.4 * place + 1] for place in range(41)]  # each overlaps its neighbors by 0.43
    scores = np.linspace(0.9, 0.1, 41)
    assert kept(parallel_nms, boxes, scores, 41, 0.4) == list(range(0, 41, 2))
