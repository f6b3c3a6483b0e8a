"""Matching and average precision, worked out by hand; parity with the original is in test_utils.py."""

import numpy as np
import pytest

from mrcnn.matterport.metrics import compute_ap, compute_ap_range, compute_matches, compute_recall, trim_zeros


def masks_of(boxes, height=40, width=30):
    masks = np.zeros((height, width, len(boxes)), bool)
    for i, (y1, x1, y2, x2) in enumerate(boxes):
        masks[y1:y2, x1:x2, i] = True
    return masks


def scene(pred_boxes, pred_ids, scores):
    """Two objects, of class 1 and 2, and predictions, as the arguments of compute_matches."""
    gt_boxes = np.array([[0, 0, 10, 10], [20, 5, 40, 25]])
    pred_boxes = np.array(pred_boxes).reshape(-1, 4)
    prediction = (pred_boxes, np.array(pred_ids, int), np.array(scores, float), masks_of(pred_boxes))
    return (gt_boxes, np.array([1, 2]), masks_of(gt_boxes), *prediction)


BOTH_AND_A_MISS = ([[12, 12, 18, 18], [0, 0, 10, 8], [20, 5, 40, 25]], [1, 1, 2], [0.7, 0.8, 0.9])


def test_trim_zeros():
    np.testing.assert_array_equal(trim_zeros(np.array([[0, 1, 0], [0, 0, 0], [-1, 0, 0]])), [[0, 1, 0], [-1, 0, 0]])


def test_matches_are_in_the_order_of_scores():
    gt_match, pred_match, overlaps = compute_matches(*scene(*BOTH_AND_A_MISS))
    assert gt_match.tolist() == [1, 0]
    assert pred_match.tolist() == [1, 0, -1]
    np.testing.assert_allclose(overlaps, [[0, 1], [0.8, 0], [0, 0]])


def test_an_object_is_matched_once():
    twice = scene([[0, 0, 10, 10], [0, 0, 10, 9]], [1, 1], [0.9, 0.8])
    assert compute_matches(*twice)[1].tolist() == [0, -1]


def test_classes_must_agree():
    assert compute_matches(*scene([[0, 0, 10, 10]], [2], [0.9]))[1].tolist() == [-1]


def test_iou_threshold_is_inclusive():
    exactly = scene([[0, 0, 10, 8]], [1], [0.9])
    iou = float(np.float32(80) / np.float32(100))
    assert compute_matches(*exactly, iou_threshold=iou)[1].tolist() == [0]
    assert compute_matches(*exactly, iou_threshold=iou + 1e-6)[1].tolist() == [-1]


def test_no_predictions():
    gt_match, pred_match, overlaps = compute_matches(*scene([], [], []))
    assert gt_match.tolist() == [-1, -1]
    assert pred_match.shape == (0,)
    assert overlaps.shape == (0, 2)


def test_average_precision_by_hand():
    average, precisions, recalls, _ = compute_ap(*scene(*BOTH_AND_A_MISS))
    assert average == pytest.approx(1)  # both found before the miss
    np.testing.assert_allclose(precisions, [1, 1, 1, 2 / 3, 0])
    np.testing.assert_allclose(recalls, [0, 0.5, 1, 1, 1])


def test_a_miss_with_the_best_score_costs_half():
    boxes, ids, _ = BOTH_AND_A_MISS
    average = compute_ap(*scene(boxes, ids, [0.95, 0.8, 0.9]))[0]
    assert average == pytest.approx(2 / 3)  # precisions 0, 1/2, 2/3, made monotone


def test_nothing_found():
    assert compute_ap(*scene([], [], []))[0] == 0
    assert compute_ap(*scene([[30, 0, 35, 4]], [1], [0.9]))[0] == 0


def test_range_by_hand(capsys):
    # One object found with overlap 1, the other with 0.8: both count up to 0.8, one of two at 0.9.
    mean = compute_ap_range(*scene(*BOTH_AND_A_MISS), iou_thresholds=[0.5, 0.7, 0.9], verbose=1)
    assert mean == pytest.approx((1 + 1 + 0.5) / 3)
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["AP @0.50:\t 1.000", "AP @0.70:\t 1.000", "AP @0.90:\t 0.500", "AP @0.50-0.90:\t 0.833"]


def test_range_can_be_silent(capsys):
    assert compute_ap_range(*scene(*BOTH_AND_A_MISS), verbose=0) == pytest.approx((6 + 4 * 0.5) / 10, abs=0.06)
    assert capsys.readouterr().out == ""


def test_recall_by_hand():
    gt_boxes = np.array([[0, 0, 10, 10], [20, 5, 40, 25], [0, 20, 10, 30]])
    pred_boxes = np.array([[0, 0, 10, 9], [0, 0, 9, 10], [20, 20, 30, 30], [0, 20, 10, 30]])
    recall, positive = compute_recall(pred_boxes, gt_boxes, 0.6)
    assert recall == pytest.approx(2 / 3)  # the first object counts once
    assert positive.tolist() == [0, 1, 3]
