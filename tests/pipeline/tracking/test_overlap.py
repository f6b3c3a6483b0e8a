import numpy as np
import pytest

from pipeline.drawing.masks import paste_mask
from pipeline.tracking.overlap import mask_iou, resample_masks


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
    ious = mask_iou(a_boxes, a, b_boxes, b)
    for i in range(40):
        one, other = np.zeros((250, 260), bool), np.zeros((250, 260), bool)
        for whole, mask, box in ((one, a[i], a_boxes[i]), (other, b[i], b_boxes[i])):
            part, y0, x0 = paste_mask(mask, box, *whole.shape, 0.5)
            whole[y0 : y0 + part.shape[0], x0 : x0 + part.shape[1]] = part
        expected = np.count_nonzero(one & other) / np.count_nonzero(one | other)
        assert ious[i] == pytest.approx(expected, abs=0.08)
    assert mask_iou(a_boxes, a, a_boxes, a) == pytest.approx(1)


def test_masks_far_apart_or_empty_do_not_overlap():
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 10]], np.float32)
    others = np.array([[500, 0, 510, 10], [0, 0, 10, 10]], np.float32)
    full = np.ones((2, 28, 28), np.float32)
    empty = full * np.array([1, 0], np.float32)[:, None, None]
    assert mask_iou(boxes, empty, others, empty).tolist() == [0, 0]
    assert mask_iou(boxes[:0], full[:0], others[:0], full[:0]).shape == (0,)


def test_resampling_onto_the_same_box_changes_nothing():
    boxes, masks = blobs(3, 3)
    assert resample_masks(masks, boxes, boxes, 28) == pytest.approx(masks, abs=1e-4)


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
