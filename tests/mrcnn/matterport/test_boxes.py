"""Boxes and anchors, by hand-worked values and by their inverses; parity with the original is in test_utils.py."""

import numpy as np
import pytest
from keras import ops

from mrcnn.matterport.boxes import (
    apply_box_deltas,
    batch_slice,
    box_refinement,
    box_refinement_graph,
    compute_iou,
    compute_overlaps,
    compute_overlaps_masks,
    denorm_boxes,
    extract_bboxes,
    generate_anchors,
    generate_pyramid_anchors,
    non_max_suppression,
    norm_boxes,
)


def test_extract_bboxes():
    mask = np.zeros((7, 9, 3), bool)
    mask[2, 3, 0] = True
    mask[1, 8, 1] = mask[6, 4, 1] = True
    boxes = extract_bboxes(mask)
    assert boxes.dtype == np.int32
    np.testing.assert_array_equal(boxes, [[2, 3, 3, 4], [1, 4, 7, 9], [0, 0, 0, 0]])


def test_extract_bboxes_of_no_masks():
    assert extract_bboxes(np.zeros((7, 9, 0), bool)).shape == (0, 4)


def test_iou_by_hand():
    box, boxes = np.array([0, 0, 4, 3]), np.array([[2, 1, 6, 5], [0, 0, 4, 3], [4, 0, 8, 3]])
    areas = np.array([16, 12, 12])
    np.testing.assert_allclose(compute_iou(box, boxes, 12, areas), [4 / 24, 1, 0])  # 2 x 2 shared; touching is none
    np.testing.assert_allclose(compute_overlaps(box[None], boxes), [[4 / 24, 1, 0]])


@pytest.mark.parametrize(("count1", "count2"), [(0, 3), (3, 0), (0, 0)])
def test_overlaps_of_nothing(count1, count2):
    assert compute_overlaps(np.zeros((count1, 4)), np.zeros((count2, 4))).shape == (count1, count2)
    masks1, masks2 = np.zeros((5, 4, count1), bool), np.zeros((5, 4, count2), bool)
    assert compute_overlaps_masks(masks1, masks2).shape == (count1, count2)


def test_overlaps_of_masks_by_hand():
    masks1, masks2 = np.zeros((2, 5, 2)), np.zeros((2, 5, 1))
    masks1[0, :3, 0] = 1
    masks1[1, :, 1] = 0.5  # not more than 0.5: empty
    masks2[0, 2:, 0] = 0.51
    np.testing.assert_allclose(compute_overlaps_masks(masks1, masks2), [[1 / 5], [0]])


def test_suppression_keeps_the_best_of_each_cluster():
    boxes = np.array([[0, 0, 10, 8], [0, 1, 10, 9], [20, 0, 30, 8], [0, 0, 10, 9]])
    scores = np.array([0.6, 0.9, 0.1, 0.8])
    kept = non_max_suppression(boxes, scores, 0.5)
    assert kept.dtype == np.int32
    assert kept.tolist() == [1, 2]


def test_suppression_needs_more_than_the_threshold():
    boxes = np.array([[0.0, 0, 2, 1], [0, 0, 1, 1]])  # overlap: exactly 0.5
    assert non_max_suppression(boxes, np.array([0.9, 0.8]), 0.5).tolist() == [0, 1]
    assert non_max_suppression(boxes, np.array([0.9, 0.8]), 0.499).tolist() == [0]


def test_suppression_of_nothing_and_of_one():
    assert non_max_suppression(np.zeros((0, 4)), np.zeros(0), 0.5).tolist() == []
    assert non_max_suppression(np.array([[0, 0, 5, 3]]), np.array([0.2]), 0.5).tolist() == [0]


def test_deltas_by_hand():
    moved = apply_box_deltas(np.array([[10, 20, 30, 60]]), np.array([[0.5, -0.25, 0, np.log(2)]]))
    np.testing.assert_allclose(moved, [[20, -10, 40, 70]], rtol=1e-6)  # center (20, 40) to (30, 30), width 40 to 80
    assert moved.dtype == np.float32


def test_refinement_and_deltas_undo_each_other():
    rng = np.random.default_rng(5)
    top_left = rng.uniform(0, 100, (20, 2, 2))
    size = rng.uniform(1, 80, (20, 2, 2))
    first, second = np.concatenate([top_left, top_left + size], axis=2).transpose(1, 0, 2)
    np.testing.assert_allclose(apply_box_deltas(first, box_refinement(first, second)), second, atol=1e-3)


def test_norm_boxes_by_hand():
    normalized = norm_boxes(np.array([[0, 0, 101, 51], [50, 25, 51, 26]]), (101, 51))
    np.testing.assert_allclose(normalized, [[0, 0, 1, 1], [0.5, 0.5, 0.5, 0.5]])
    assert normalized.dtype == np.float32


def test_denorm_undoes_norm():
    boxes = np.array([[3, 5, 17, 200], [0, 0, 240, 333], [239, 332, 240, 333]])
    result = denorm_boxes(norm_boxes(boxes, (240, 333)), (240, 333))
    np.testing.assert_array_equal(result, boxes)
    assert result.dtype == np.int32


def test_anchors_by_hand():
    anchors = generate_anchors(8, [0.25, 1], (2, 3), 16, 1)
    assert anchors.shape == (12, 4)
    np.testing.assert_allclose(anchors[0], [-8, -2, 8, 2])  # ratio 1/4: 16 high, 4 wide
    np.testing.assert_allclose(anchors[1], [-4, -4, 4, 4])
    np.testing.assert_allclose(anchors[2], [-8, 14, 8, 18])  # one cell to the right
    np.testing.assert_allclose(anchors[6], [8, -2, 24, 2])  # one cell down


def test_anchor_stride_skips_cells():
    every, other = generate_anchors(8, [2], (3, 5), 4, 1), generate_anchors(8, [2], (3, 5), 4, 2)
    np.testing.assert_allclose(other, every.reshape(3, 5, 4)[::2, ::2].reshape(-1, 4))


def test_pyramid_anchors_are_the_levels_in_order():
    shapes = np.array([[6, 4], [3, 2], [2, 1]])
    anchors = generate_pyramid_anchors((8, 16, 32), [0.5, 1, 2], shapes, [4, 8, 16], 1)
    assert anchors.shape == (3 * (24 + 6 + 2), 4)
    areas = (anchors[:, 2] - anchors[:, 0]) * (anchors[:, 3] - anchors[:, 1])
    np.testing.assert_allclose(areas, np.repeat([64, 256, 1024], [72, 18, 6]))


BOXES = np.array([[0, 0, 10, 20], [5, 3, 6, 40], [7, 7, 19, 9]])
GT_BOXES = np.array([[2, -1, 9, 25], [5, 3, 6, 40], [0, 0, 30, 8]])


def test_box_refinement_graph():
    deltas = ops.convert_to_numpy(box_refinement_graph(BOXES, GT_BOXES))
    assert deltas.dtype == np.float32
    np.testing.assert_allclose(deltas, box_refinement(BOXES, GT_BOXES), atol=1e-6)


def test_batch_slice_of_one_input_and_output():
    items = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    result = batch_slice(items, lambda item: ops.sum(item, axis=0), 2)
    np.testing.assert_array_equal(ops.convert_to_numpy(result), items.sum(axis=1))


def test_batch_slice_of_several():
    items, factors = np.arange(12, dtype=np.float32).reshape(3, 4), np.array([2.0, 0.5, -1], np.float32)
    product, total = batch_slice([items, factors], lambda x, f: (x * f, ops.sum(x)), 3, names=["product", "total"])
    np.testing.assert_array_equal(ops.convert_to_numpy(product), items * factors[:, None])
    np.testing.assert_array_equal(ops.convert_to_numpy(total), items.sum(axis=1))
