from math import pi

import numpy as np
import pytest

from pipeline.drawing.masks import paste_mask
from pipeline.geometry import resample_masks
from pipeline.motion.similarity import Similarity, clip_to_frame, fit_similarity, resample_mask, warp, weighted_median

RNG = np.random.default_rng(5)
WEIGHTS = np.ones((1, 60), np.float32)


def cloud(count=60, extent=20.0):
    return (RNG.uniform(-extent, extent, (1, count)) + 1j * RNG.uniform(-extent, extent, (1, count)) + 70 + 40j).astype(
        np.complex64
    )


def test_compose_applies_the_argument_first():
    quarter = Similarity(np.array([1j], np.complex64), np.array([0], np.complex64))
    right = Similarity(np.array([1], np.complex64), np.array([5], np.complex64))
    point = np.array([2 + 1j], np.complex64)
    # (2, 1) turned by 90 degrees is (-1, 2); moved right by 5 it is (4, 2)
    np.testing.assert_allclose(right.compose(quarter).apply(point), [4 + 2j])
    # moved first: (7, 1), turned: (-1, 7)
    np.testing.assert_allclose(quarter.compose(right).apply(point), [-1 + 7j])


def test_identity_select_and_concatenate():
    both = Similarity.identity(1).concatenate(Similarity(np.array([2j], np.complex64), np.array([1], np.complex64)))
    np.testing.assert_allclose(both.apply(np.array([[3, 4j], [3, 4j]], np.complex64)), [[3, 4j], [1 + 6j, -7]])
    assert both.select(np.array([1])).linear.tolist() == [2j]


@pytest.mark.parametrize(("linear", "translation"), [(1.0, 3 - 2j), (1.04, 0.5j), (np.exp(1j * 3 * pi / 180), -2.0)])
def test_motion_of_a_large_object_is_found(linear, translation):
    points = cloud(extent=60)
    center = points.mean()
    goal = (points - center) * linear + center + translation
    found = fit_similarity(points, (goal - points).astype(np.complex64), WEIGHTS)
    # scale and rotation are regularized, the translation is not
    assert np.abs(found.apply(points) - goal).max() < 0.35
    assert np.abs(found.apply(points) - goal).mean() < 0.02 * np.abs(goal - points).mean() + 0.02


def test_a_third_of_the_points_on_the_background_does_not_matter():
    points = cloud()
    moves = np.full((1, 60), 6 - 3j, np.complex64)
    moves[0, ::3] = 0
    found = fit_similarity(points, moves, WEIGHTS)
    assert np.abs(found.apply(points) - points - (6 - 3j)).max() < 0.5


def test_points_without_weight_do_not_count_and_an_object_without_any_gets_the_identity():
    points = np.concatenate([cloud(), cloud()])
    moves = np.full((2, 60), 2 + 2j, np.complex64)
    moves[0, :40] = -9
    weights = np.ones((2, 60), np.float32)
    weights[0, :40] = 0
    weights[1] = 0
    moved = fit_similarity(points, moves, weights).apply(points) - points
    np.testing.assert_allclose(moved[0], 2 + 2j, atol=0.01)
    np.testing.assert_allclose(moved[1], 0, atol=1e-5)


def test_no_objects():
    empty = np.zeros((0, 60), np.complex64)
    assert fit_similarity(empty, empty, np.zeros((0, 60), np.float32)).linear.shape == (0,)


def test_weighted_median():
    values = np.array([[5.0, 1.0, 3.0], [5.0, 1.0, 3.0]], np.float32)
    shares = np.array([[1 / 3, 1 / 3, 1 / 3], [0.8, 0.1, 0.1]], np.float32)
    assert weighted_median(values, shares).tolist() == [[3.0], [5.0]]


def test_inverse_and_interpolate():
    away = Similarity(np.array([2j, 1], np.complex64), np.array([3, -4j], np.complex64))
    points = np.array([1 + 2j, 5 - 1j], np.complex64)
    np.testing.assert_allclose(away.inverse().apply(away.apply(points)), points, atol=1e-6)
    # A quarter of the way from the identity: linear 1 + (2j - 1) / 4, translation 3 / 4.
    between = Similarity.identity(2).interpolate(away, 0.25)
    np.testing.assert_allclose(between.linear, [0.75 + 0.5j, 1])
    np.testing.assert_allclose(between.translation, [0.75, -1j])


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


def test_no_objects_are_warped():
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
