from math import pi

import numpy as np
import pytest

from pipeline.drawing.masks import paste_mask
from pipeline.geometry import resample_masks
from pipeline.motion.similarity import Similarity
from pipeline.motion.warp import clip_to_frame, resample_mask, warp

SCALE = (0.25, 0.25)
HEIGHT, WIDTH = 200, 330


def similarity(linear, translation):
    return Similarity(np.array([linear], np.complex64), np.array([translation], np.complex64))


def boxes(*values):
    return np.array(values, np.float32).reshape(-1, 4)


def disc(side=28):
    centers = (np.arange(side) + 0.5) / side * 2 - 1
    return (np.hypot(centers[:, None], centers[None, :]) < 1).astype(np.float32)[None]


def full(mask, box):
    pasted, y, x = paste_mask(mask, box, HEIGHT, WIDTH, 0.5)
    image = np.zeros((HEIGHT, WIDTH), bool)
    image[y : y + pasted.shape[0], x : x + pasted.shape[1]] = pasted
    return image


def test_no_motion_changes_nothing_at_all():
    box, mask = boxes((10.3, 20.7, 90.1, 77.9)), disc()
    placed, masks = warp(box, mask, Similarity.identity(1), (0.31, 0.3))
    assert placed.tolist() == box.tolist()
    assert masks is mask


def test_a_translation_in_flow_pixels_becomes_one_in_frame_pixels():
    placed, _ = warp(boxes((10, 20, 50, 80)), disc(), similarity(1, 2.5 - 1j), SCALE)
    np.testing.assert_allclose(placed, [[20, 16, 60, 76]], atol=1e-4)


def test_growth_about_a_point():
    # twice as large about the frame's point (40, 40), which is the flow point (9.5, 9.5)
    placed, masks = warp(boxes((40, 40, 60, 50)), disc(), similarity(2, -9.5 - 9.5j), SCALE)
    np.testing.assert_allclose(placed, [[40, 40, 80, 60]], atol=1e-3)
    np.testing.assert_array_equal(masks, disc())


def test_a_rotation_by_90_degrees_swaps_the_sides_and_rotates_the_mask():
    mask = np.zeros((1, 28, 28), np.float32)
    mask[0, :14] = 1  # upper half
    box = boxes((40, 60, 120, 100))
    center = (80 * 0.25 - 0.5) + 1j * (80 * 0.25 - 0.5)
    placed, masks = warp(box, mask, similarity(1j, center - 1j * center), SCALE)
    # x to the right becomes y down: the upper half ends right of the middle
    image = full(masks[0], placed[0])
    rows, columns = np.nonzero(image)
    assert (rows.min(), rows.max() + 1) == pytest.approx((40, 120), abs=2)
    assert (columns.min(), columns.max() + 1) == pytest.approx((80, 100), abs=2)


def test_a_disc_rotated_slightly_is_the_same_disc():
    angle = 10 * pi / 180
    box = boxes((40, 60, 120, 140))
    center = (80 * 0.25 - 0.5) + 1j * (100 * 0.25 - 0.5)
    placed, masks = warp(box, disc(), similarity(np.exp(1j * angle), center - np.exp(1j * angle) * center), SCALE)
    np.testing.assert_allclose(placed, box, atol=2.0)
    before, after = full(disc()[0], box[0]), full(masks[0], placed[0])
    assert (before & after).sum() / (before | after).sum() > 0.95


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((-40, 20, 40, 100), (0, 20, 40, 100)),
        ((300, 150, 360, 260), (300, 150, 330, 200)),
        ((-100, -50, 500, 300), (0, 0, 330, 200)),
        ((10.5, 20, 40, 100), (10.5, 20, 40, 100)),
    ],
)
def test_clipping_keeps_the_pixels_that_are_inside(box, expected):
    clipped, masks, visible = clip_to_frame(boxes(box), disc(), WIDTH, HEIGHT)
    assert clipped.tolist() == [list(expected)]
    assert visible.tolist() == [True]
    before, after = full(disc()[0], boxes(box)[0]), full(masks[0], clipped[0])
    assert (before & after).sum() / (before | after).sum() > 0.95


def test_boxes_outside_the_frame_are_not_visible():
    _, _, visible = clip_to_frame(
        boxes((-50, 10, -1, 60), (330, 0, 400, 50), (10, 199.9, 50, 260), (10, 10, 10.3, 50)),
        np.repeat(disc(), 4, 0),
        WIDTH,
        HEIGHT,
    )
    # The last one was as narrow before clipping.
    assert visible.tolist() == [False, False, False, True]


def test_no_objects():
    none = np.zeros((0, 4), np.float32), np.zeros((0, 28, 28), np.float32)
    placed, masks = warp(*none, Similarity.identity(0), SCALE)
    clipped, masks, visible = clip_to_frame(placed, masks, WIDTH, HEIGHT)
    assert clipped.shape == (0, 4)
    assert masks.shape == (0, 28, 28)
    assert visible.shape == (0,)


def test_resampling_agrees_with_resample_masks():
    rng = np.random.default_rng(8)
    masks = rng.uniform(0, 1, (20, 28, 28)).astype(np.float32)
    from_xyxy = boxes(*[(x, y, x + 40 + 3 * x, y + 25 + y) for x, y in rng.uniform(0, 60, (20, 2))])
    to_xyxy = from_xyxy + rng.uniform(-9, 9, (20, 4)).astype(np.float32)
    for i, expected in enumerate(resample_masks(masks, from_xyxy, to_xyxy, 17)):
        found = resample_mask(masks[i], from_xyxy[i], to_xyxy[i], 17)
        np.testing.assert_allclose(found, expected, atol=1e-3)


def test_part_of_a_mask_beyond_its_box_is_empty():
    part = resample_mask(np.ones((4, 4), np.float32), boxes((10, 10, 20, 20))[0], boxes((15, 0, 25, 20))[0], 10)
    # columns 15 … 25: the first half lies in the box; rows 0 … 20: the second half does
    expected = np.zeros((10, 10))
    expected[5:, :5] = 1
    np.testing.assert_array_equal(part, expected)
