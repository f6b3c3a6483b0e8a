import numpy as np
import pytest

from pipeline.drawing.masks import paste_mask
from pipeline.geometry import greedy_pairs, iou_matrix, mask_iou, resample_masks


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


def blobs(count, seed):
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:28, 0:28] - 13.5
    masks = []
    for _ in range(count):
        angle, wide, high = rng.uniform(0, np.pi), rng.uniform(8, 15), rng.uniform(5, 15)
        u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
        masks.append(np.clip(3 - 2.5 * ((u / wide) ** 2 + (v / high) ** 2), 0, 1))
    corner = rng.uniform(20, 90, (count, 2))
    sides = rng.uniform(30, 110, (count, 2))
    return np.concatenate([corner, corner + sides], axis=1).astype(np.float32), np.array(masks, np.float32)


def test_mask_iou_agrees_with_masks_on_pixels():
    (a_boxes, a), (b_boxes, b) = blobs(40, 1), blobs(40, 2)
    ious = mask_iou(a_boxes, a, b_boxes, b, 16)
    for i in range(40):
        one, other = np.zeros((250, 260), bool), np.zeros((250, 260), bool)
        for whole, mask, box in ((one, a[i], a_boxes[i]), (other, b[i], b_boxes[i])):
            part, y0, x0 = paste_mask(mask, box, *whole.shape, 0.5)
            whole[y0 : y0 + part.shape[0], x0 : x0 + part.shape[1]] = part
        expected = np.count_nonzero(one & other) / np.count_nonzero(one | other)
        assert ious[i] == pytest.approx(expected, abs=0.08)
    assert mask_iou(a_boxes, a, a_boxes, a, 16) == pytest.approx(1)


def test_masks_far_apart_or_empty_do_not_overlap():
    some = np.array([[0, 0, 10, 10], [0, 0, 10, 10]], np.float32)
    others = np.array([[500, 0, 510, 10], [0, 0, 10, 10]], np.float32)
    full = np.ones((2, 28, 28), np.float32)
    empty = full * np.array([1, 0], np.float32)[:, None, None]
    assert mask_iou(some, empty, others, empty, 16).tolist() == [0, 0]
    assert mask_iou(some[:0], full[:0], others[:0], full[:0], 16).shape == (0,)


def test_resampling_onto_the_same_box_changes_nothing():
    some, masks = blobs(3, 3)
    assert resample_masks(masks, some, some, 28) == pytest.approx(masks, abs=1e-4)


def test_resampling_keeps_frame_coordinates():
    mask = np.zeros((1, 28, 28), np.float32)
    mask[:, :, 14:] = 1  # the right half of a box 56 wide: x from 128 on
    from_xyxy = np.array([[100, 10, 156, 38]], np.float32)
    to_xyxy = np.array([[114, 10, 170, 38]], np.float32)
    moved = resample_masks(mask, from_xyxy, to_xyxy, 28)[0]
    # Cells are 2 pixels wide: 1 from x = 128 (cell 7) to 156 (cell 20), 0 beyond the source box.
    assert moved[:, :7].max() == 0
    assert moved[:, 7:21].min() == 1
    assert moved[:, 21:].max() == 0


def test_resampling_to_a_coarser_grid_and_another_side_ratio():
    _, x = np.mgrid[0:28, 0:28]
    ramp = ((x + 0.5) / 28)[None].astype(np.float32)
    coarse = resample_masks(ramp, np.array([[0, 0, 280, 28]], np.float32), np.array([[70, 7, 210, 21]], np.float32), 7)[
        0
    ]
    assert coarse == pytest.approx(np.tile(0.25 + 0.5 * (np.arange(7) + 0.5) / 7, (7, 1)), abs=1e-5)
