"""Targets against boxes whose overlaps can be worked out on paper."""

import numpy as np
import pytest
from keras import ops

from mrcnn.training.targets import (
    ObjectSlots,
    full_mask_targets,
    mask_targets,
    numpy_deltas,
    numpy_iou,
    numpy_share_inside,
    random_regions,
    rpn_targets,
    sample_regions,
)

STD_DEV = np.array([0.1, 0.1, 0.2, 0.2])
NO_BOXES = np.zeros((0, 4), np.float32)


def boxes(*rows):
    return np.array(rows, np.float32).reshape(-1, 4)


def as_numpy(tensor):
    return ops.convert_to_numpy(tensor)


def test_iou_of_overlapping_touching_and_distant_boxes():
    found = numpy_iou(boxes([0, 0, 2, 4]), boxes([0, 2, 2, 6], [2, 0, 4, 4], [0, 0, 2, 4], [9, 9, 10, 10]))
    np.testing.assert_allclose(found, [[4 / 12, 0, 1, 0]], atol=1e-6)


def test_share_inside_takes_the_best_region():
    found = numpy_share_inside(boxes([0, 0, 4, 4], [10, 10, 12, 12]), boxes([0, 0, 4, 1], [0, 2, 4, 9]))
    np.testing.assert_allclose(found, [0.5, 0])
    assert numpy_share_inside(boxes([0, 0, 4, 4]), NO_BOXES).tolist() == [0]


def test_deltas_by_hand():
    # height 10 -> 20, width 20 -> 10, center (5, 10) -> (15, 10)
    found = numpy_deltas(boxes([0, 0, 10, 20]), boxes([5, 5, 25, 15]))
    np.testing.assert_allclose(found, [[1.0, 0.0, np.log(2), -np.log(2)]], rtol=1e-6)


def test_rpn_objects_background_and_in_between():
    anchors = boxes([0, 0, 10, 10], [0, 0, 10, 8], [0, 0, 10, 4], [50, 50, 60, 60])
    match, deltas = rpn_targets(anchors, boxes([0, 0, 10, 10]), NO_BOXES, STD_DEV, 256, np.random.default_rng(0))
    assert match.tolist() == [1, 1, 0, -1]  # overlaps 1, 0.8, 0.4, 0
    np.testing.assert_allclose(deltas[0], 0, atol=1e-6)
    np.testing.assert_allclose(deltas[1], [0, (5 - 4) / 8 / 0.1, 0, np.log(10 / 8) / 0.2], rtol=1e-5)
    assert not deltas[2:].any()


def test_an_object_that_no_anchor_fits_gets_its_best_one():
    anchors = boxes([0, 0, 10, 10], [0, 0, 10, 30], [90, 90, 99, 99])
    object_box = boxes([0, 0, 3, 10])  # overlaps 0.3 and 0.1
    match, deltas = rpn_targets(anchors, object_box, NO_BOXES, STD_DEV, 256, np.random.default_rng(0))
    assert match.tolist() == [1, -1, -1]
    np.testing.assert_allclose(deltas[0], [-3.5 / 10 / 0.1, 0, np.log(0.3) / 0.2, 0], rtol=1e-5)


def test_rpn_background_spares_crowd_regions():
    anchors = boxes([0, 0, 10, 10], [0, 6, 10, 16], [0, 4, 10, 14])
    match, _ = rpn_targets(anchors, NO_BOXES, boxes([0, 0, 10, 10]), STD_DEV, 256, np.random.default_rng(0))
    assert match.tolist() == [0, -1, 0]  # shares inside the crowd: 1, 0.4, 0.6


def test_rpn_samples_at_most_half_objects_and_no_more_than_asked():
    anchors = np.tile(boxes([0, 0, 10, 10], [50, 50, 60, 60]), (40, 1))
    match, _ = rpn_targets(anchors, boxes([0, 0, 10, 10]), NO_BOXES, STD_DEV, 21, np.random.default_rng(0))
    assert (match == 1).sum() == 10
    assert (match == -1).sum() == 11


def regions(proposals, gt, class_ids, *, used=None, crowd=None, sampled=6, objects=2, noise=None):
    gt = np.asarray(gt, np.float32).reshape(-1, 4)
    count = len(proposals) + len(gt)
    truth = (
        gt,
        np.asarray(class_ids, np.int32),
        np.ones(len(gt), np.float32) if used is None else np.asarray(used, np.float32),
        np.zeros((1, 4), np.float32) if crowd is None else np.asarray(crowd, np.float32),
    )
    result = sample_regions(
        ops.convert_to_tensor(np.asarray(proposals, np.float32)),
        ObjectSlots(*map(ops.convert_to_tensor, truth)),
        ops.convert_to_tensor(np.asarray(np.linspace(0.9, 0.1, count) if noise is None else noise, np.float32)),
        sampled,
        objects,
        STD_DEV,
    )
    return type(result)(*(as_numpy(field) for field in result))


def test_regions_of_objects_come_first_and_carry_their_targets():
    proposals = [[0.5, 0.5, 0.9, 0.9], [0.0, 0.0, 0.2, 0.3], [0, 0, 0, 0]]
    found = regions(proposals, [[0, 0, 0.2, 0.4]], [3])
    # two slots for objects: the proposal (overlap 0.75) and the object's own box; then the only background
    assert found.is_object.tolist() == [1, 1, 0, 0, 0, 0]
    assert found.counts.tolist() == [1, 1, 1, 0, 0, 0]
    assert found.class_ids.tolist() == [3, 3, 0, 0, 0, 0]
    np.testing.assert_allclose(found.rois[2], proposals[0])
    assert not found.rois[3:].any()
    row = next(i for i in range(2) if np.allclose(found.rois[i], proposals[1]))
    np.testing.assert_allclose(found.deltas[row], [0, 0.05 / 0.3 / 0.1, 0, np.log(4 / 3) / 0.2], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found.deltas[1 - row], 0, atol=1e-5)


def test_regions_prefer_objects_of_a_class():
    gt = [[0, 0, 0.2, 0.2], [0.5, 0.5, 0.9, 0.7], [0.3, 0.0, 0.4, 0.3]]
    found = regions(np.zeros((4, 4)), gt, [0, 5, 0], noise=[0.5] * 4 + [0.99, 0.01, 0.5], objects=2, sampled=5)
    assert found.object_indices[:2].tolist() == [1, 0]
    assert found.class_ids[:2].tolist() == [5, 0]
    assert found.is_object.tolist() == [1, 1, 0, 0, 0]


def test_regions_of_unused_slots_and_crowds_are_no_background():
    proposals = [[0.0, 0.0, 0.2, 0.2], [0.6, 0.6, 0.8, 0.8], [0, 0, 0, 0]]
    found = regions(proposals, np.zeros((2, 4)), [0, 0], used=[0, 0], crowd=[[0.5, 0.5, 1, 1], [0, 0, 0, 0]])
    assert found.counts.tolist() == [0, 0, 1, 0, 0, 0]
    np.testing.assert_allclose(found.rois[2], proposals[0])


def test_region_targets_are_finite_for_empty_images():
    found = regions(np.zeros((5, 4)), np.zeros((3, 4)), [0, 0, 0], used=[0, 0, 0])
    assert all(np.isfinite(field).all() for field in found)
    assert not found.counts.any()


def masks_of(targets, *arrays_and_size):
    *arrays, size = arrays_and_size
    return as_numpy(targets(*map(ops.convert_to_tensor, arrays), size))


def test_mask_of_the_whole_object_is_its_mini_mask():
    mini = np.zeros((2, 8, 8), np.float32)
    mini[1, :, 4:] = 1  # right half
    gt = np.array([[0, 0, 0.1, 0.1], [0.2, 0.4, 0.6, 0.6]], np.float32)
    found = masks_of(mask_targets, gt[1:], gt, mini, np.array([1], np.int32), 8)
    np.testing.assert_allclose(found[0], mini[1], atol=1e-5)


def test_mask_of_a_part_is_stretched_over_the_region():
    mini = np.zeros((1, 8, 8), np.float32)
    mini[0, :2, :] = 1  # top quarter
    gt = np.array([[0.2, 0.2, 0.6, 0.6]], np.float32)
    top_half = np.array([[0.2, 0.2, 0.4, 0.6]], np.float32)
    found = masks_of(mask_targets, top_half, gt, mini, np.array([0], np.int32), 4)[0]
    np.testing.assert_allclose(found[:, 1], [1, 1, 0, 0], atol=1e-5)  # its four rows are the mask's first four


def test_mask_samples_between_cells_are_interpolated():
    mini = np.zeros((1, 8, 8), np.float32)
    mini[0, :2, :] = 1
    box = np.array([[0.2, 0.2, 0.6, 0.6]], np.float32)
    found = masks_of(mask_targets, box, box, mini, np.array([0], np.int32), 16)[0]
    # cell j of 16 lies at row (j + 0.5) / 2 - 0.5 of 8; the outermost quarter cell fades to the zero outside
    np.testing.assert_allclose(found[:6, 4], [0.75, 1, 1, 0.75, 0.25, 0], atol=1e-5)


@pytest.mark.parametrize("axis", [0, 1])
def test_mask_outside_the_object_is_empty(axis):
    mini = np.ones((1, 8, 8), np.float32)
    gt = np.array([[0.4, 0.4, 0.6, 0.6]], np.float32)
    roi = np.array([[0.4, 0.4, 0.6, 0.6]], np.float32)
    roi[0, axis + 2] = 0.8  # twice as long: the second half lies outside
    found = np.moveaxis(masks_of(mask_targets, roi, gt, mini, np.array([0], np.int32), 8)[0], axis, 0)
    np.testing.assert_allclose(found[:4, 1:-1], 1, atol=1e-4)
    np.testing.assert_allclose(found[4:], 0, atol=1e-4)


def test_mask_of_an_oblong_mini_mask():
    mini = np.zeros((1, 4, 12), np.float32)
    mini[0, :, 9:] = 1  # right quarter
    gt = np.array([[0.2, 0.1, 0.6, 0.9]], np.float32)
    found = masks_of(mask_targets, gt, gt, mini, np.array([0], np.int32), 4)[0]
    np.testing.assert_allclose(found[1:3], [[0, 0, 0, 1]] * 2, atol=1e-5)
    top_right = np.array([[0.2, 0.5, 0.4, 0.9]], np.float32)
    found = masks_of(mask_targets, top_right, gt, mini, np.array([0], np.int32), 2)[0]
    np.testing.assert_allclose(found, [[0, 1]] * 2, atol=1e-5)


def test_full_masks_are_sampled_from_first_pixel_to_last():
    masks = np.zeros((2, 9, 17), np.uint8)
    masks[1, 2:5, 4:10] = 1  # the region's left half, to its row 2
    # rows 2 to 6 and columns 4 to 16, normalized
    roi = np.array([[2 / 8, 4 / 16, 6 / 8, 16 / 16]], np.float32)
    found = masks_of(full_mask_targets, roi, masks, np.array([1], np.int32), 5)[0]
    np.testing.assert_allclose(found, [[1, 1, 0, 0, 0]] * 3 + [[0] * 5] * 2, atol=1e-5)  # columns 4, 7, 10, 13, 16


def test_random_regions_are_boxes_on_the_canvas_mostly_around_the_objects():
    gt = boxes([0.1, 0.2, 0.3, 0.8], [0.7, 0.9, 1.0, 1.0])
    found = random_regions(gt, 200, np.random.default_rng(2))
    assert (found.shape, found.dtype) == ((200, 4), np.float32)
    assert ((found >= 0) & (found <= 1)).all()
    assert (found[:, 2:] >= found[:, :2]).all()
    overlaps = numpy_iou(found, gt)
    assert (overlaps[:180].max(axis=1) > 0).mean() > 0.95
    assert ((overlaps >= 0.5).sum(axis=0) > 10).all()  # there is something to learn from for each
