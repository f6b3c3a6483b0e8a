import numpy as np
import pytest

from pipeline.geometry import greedy_pairs, iou_matrix


def boxes(*rows):
    return np.array(rows, np.float32).reshape(-1, 4)


def test_iou_by_hand():
    a = boxes([0, 0, 10, 20], [0, 0, 4, 4], [5, 5, 5, 9])
    b = boxes([5, 10, 15, 30], [0, 0, 10, 20], [40, 0, 50, 9], [0, 0, 4, 4])
    # 5 x 10 of 200 + 200; 16 of 200; a box of width 0 overlaps nothing.
    expected = [[50 / 350, 1, 0, 0.08], [0, 0.08, 0, 1], [0, 0, 0, 0]]
    assert iou_matrix(a, b) == pytest.approx(np.array(expected), abs=1e-6)
    assert iou_matrix(a, b).dtype == np.float32


def test_iou_of_boxes_without_area_is_zero():
    point = boxes([5, 5, 5, 5])
    assert iou_matrix(point, point).tolist() == [[0]]


def test_iou_of_no_boxes():
    some = boxes([0, 0, 10, 20], [1, 2, 3, 4])
    assert iou_matrix(some, boxes()).shape == (2, 0)
    assert iou_matrix(boxes(), some).shape == (0, 2)


def test_iou_agrees_with_counted_pixels():
    rng = np.random.default_rng(4)
    corners = rng.integers(0, 30, (12, 2, 2))
    some = np.concatenate([corners.min(1), corners.max(1)], axis=1)
    pixels = []
    for x1, y1, x2, y2 in some:
        image = np.zeros((30, 30), bool)
        image[y1:y2, x1:x2] = True
        pixels.append(image)
    expected = [[(p & q).sum() / max((p | q).sum(), 1) for q in pixels[:5]] for p in pixels]
    found = iou_matrix(some.astype(np.float32), some[:5].astype(np.float32))
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_each_row_and_column_is_paired_once_best_first():
    scores = np.array([[0.8, 0.9, 0.1], [0.3, 0.85, 0.0]], np.float32)
    assert greedy_pairs(scores, 0.2) == [(0, 1), (1, 0)]
    assert greedy_pairs(scores, 0.5) == [(0, 1)]
    assert greedy_pairs(scores.T, 0.2) == [(1, 0), (0, 1)]


def test_a_pair_may_have_exactly_the_threshold():
    assert greedy_pairs(np.array([[0.5]]), 0.5) == [(0, 0)]


def test_equal_scores_go_to_the_lower_row_then_the_lower_column():
    assert greedy_pairs(np.full((2, 3), 0.5), 0.1) == [(0, 0), (1, 1)]
    assert greedy_pairs(np.array([[0.2, 0.7], [0.7, 0.7]]), 0.1) == [(0, 1), (1, 0)]


def test_nan_never_pairs_and_nothing_gives_nothing():
    assert greedy_pairs(np.array([[np.nan, 0.3], [0.4, np.nan]]), 0.2) == [(1, 0), (0, 1)]
    assert greedy_pairs(np.zeros((0, 3), np.float32), 0.0) == []
    assert greedy_pairs(np.zeros((3, 0), np.float32), 0.0) == []
