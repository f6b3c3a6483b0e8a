"""Resizing: hand-worked values, a direct formula, inverses; parity with the original is in test_utils.py."""

from __future__ import annotations

import random
from fractions import Fraction

import numpy as np
import pytest

from mrcnn.config import Config
from mrcnn.matterport.boxes import extract_bboxes
from mrcnn.matterport.molding import (
    compose_image_meta,
    expand_mask,
    minimize_mask,
    mold_image,
    mold_mask,
    parse_image_meta,
    resize,
    resize_image,
    resize_mask,
    unmold_image,
    unmold_mask,
)


def bilinear_pixel(image, y, x):
    """The value at (y, x), centers of pixels at whole numbers, 0 outside: the definition, for one point."""
    value = 0.0
    for row in (int(np.floor(y)), int(np.floor(y)) + 1):
        for column in (int(np.floor(x)), int(np.floor(x)) + 1):
            if 0 <= row < image.shape[0] and 0 <= column < image.shape[1]:
                value += image[row, column] * (1 - abs(y - row)) * (1 - abs(x - column))
    return value


@pytest.mark.parametrize("size", [(9, 23), (4, 3), (1, 1), (7, 11), (1, 30), (30, 2)])
def test_resize_is_bilinear(size):
    image = np.random.default_rng(1).uniform(-1, 1, (7, 11))
    expected = np.empty(size)
    for i, j in np.ndindex(size):
        expected[i, j] = bilinear_pixel(image, (i + 0.5) * 7 / size[0] - 0.5, (j + 0.5) * 11 / size[1] - 0.5)
    np.testing.assert_allclose(resize(image, size), expected, atol=1e-12)


@pytest.mark.parametrize(("old", "new"), [(425, 340), (640, 512), (27, 9), (5, 20)])
def test_positions_are_exact_on_every_processor(old, new):
    """A ramp has the position as its value. These ratios have exact binary positions, so nothing may be rounded: a
    whole number that comes out a little less would be truncated to the one below."""
    ramp = np.arange(old, dtype=np.float64)[:, None] * [1, 1, 1]
    resized = resize(ramp, (new, 3), preserve_range=True)[:, 1]
    exact = [Fraction(2 * i + 1, 2) * old / new - Fraction(1, 2) for i in range(new)]
    inside = [i for i, position in enumerate(exact) if 0 <= position <= old - 1]
    assert len(inside) >= new - 4
    assert [Fraction(resized[i]) for i in inside] == [exact[i] for i in inside]


def test_resize_of_a_row_by_hand():
    np.testing.assert_allclose(resize(np.array([[0.0, 8.0]]), (1, 4)), [[0, 2, 6, 6]])  # the last one meets the outside


def test_clip_keeps_the_range_and_the_outside():
    image = np.full((3, 3), 100.0)
    assert resize(image, (6, 6)).min() == 100
    assert resize(image, (6, 6), clip=False)[0, 0] == pytest.approx(100 * 0.75**2)


@pytest.mark.parametrize(
    ("image", "top"),
    [(np.full((4, 6), 255, np.uint8), 1.0), (np.full((4, 6), 65535, np.uint16), 1.0), (np.ones((4, 6), bool), 1.0)],
)
def test_integers_are_scaled_unless_the_range_is_kept(image, top):
    assert resize(image, (2, 5)).max() == top
    assert resize(image, (2, 5), preserve_range=True).max() == float(image.max())


def test_channels_do_not_mix():
    image = np.random.default_rng(2).uniform(0, 1, (9, 6, 4)).astype(np.float32)
    together = resize(image, (5, 13), anti_aliasing=True, clip=False)
    assert together.dtype == np.float32
    for channel in range(4):
        alone = resize(image[..., channel], (5, 13), anti_aliasing=True, clip=False)
        np.testing.assert_array_equal(together[..., channel], alone)


def test_anti_aliasing_flattens_what_is_too_fine():
    stripes = np.tile([[0.0, 1.0]], (40, 20))
    inner = (slice(3, -3), slice(1, -1))
    assert np.ptp(resize(stripes, (40, 13))[inner]) > 0.5
    assert np.ptp(resize(stripes, (40, 13), anti_aliasing=True)[inner]) < 0.35
    assert np.ptp(resize(stripes, (40, 13), anti_aliasing=True, anti_aliasing_sigma=(0, 3))[inner]) < 0.05


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"order": 3}, "supports order 1"),
        ({"mode": "reflect"}, "supports order 1"),
        ({"output_shape": (0, 5)}, "at least 1x1"),
        ({"image": np.zeros((0, 4))}, "not empty"),
        ({"image": np.zeros((3, 4), np.int16)}, "preserve_range=True"),
    ],
)
def test_resize_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        resize(**{"image": np.zeros((3, 4)), "output_shape": (5, 5), **arguments})


def picture(height, width):
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows * 2, columns, 255 - rows], axis=2).astype(np.uint8)


def test_square_geometry_by_hand():
    molded, window, scale, padding, crop = resize_image(picture(60, 100), 40, 64, 0, "square")
    assert molded.shape == (64, 64, 3)
    assert molded.dtype == np.uint8
    assert scale == pytest.approx(0.64)
    assert window == (13, 0, 51, 64)  # 60 * 0.64 = 38.4: 38 rows, 26 to pad
    assert padding == [(13, 13), (0, 0), (0, 0)]
    assert crop is None
    assert not molded[:13].any()
    assert not molded[51:].any()


def test_square_pads_the_odd_row_below():
    molded, window, scale, padding, _ = resize_image(picture(31, 50), 0, 50, None, "square")
    assert (scale, window, padding) == (1, (9, 0, 40, 50), [(9, 10), (0, 0), (0, 0)])
    np.testing.assert_array_equal(molded[9:40], picture(31, 50))


def test_min_dim_enlarges_and_max_dim_wins():
    assert resize_image(picture(40, 50), 80, 128, 0, "square")[2] == 2
    assert resize_image(picture(40, 100), 80, 128, 0, "square")[2] == pytest.approx(1.28)
    assert resize_image(picture(40, 50), 0, 128, 1.5, "square")[2] == 1.5


def test_pad64_pads_to_multiples_and_ignores_max_dim():
    molded, window, scale, padding, _ = resize_image(picture(50, 130), 64, 100, 0, "pad64")
    assert scale == 1.28
    assert molded.shape == (64, 192, 3)  # 64 x 166
    assert window == (0, 13, 64, 179)
    assert padding == [(0, 0), (13, 13), (0, 0)]


@pytest.mark.parametrize(
    ("height", "width", "scaled", "canvas"),
    [(100, 1000, (32, 320), (64, 320)), (1000, 1500, (192, 288), (192, 320)), (50, 60, (192, 230), (192, 256))],
)
def test_shortest_scales_both_ways_to_min_dim_unless_max_dim_is_exceeded(height, width, scaled, canvas):
    molded, (y1, x1, y2, x2), scale, _, _ = resize_image(picture(height, width), 192, 320, 2, "shortest")
    assert molded.shape == (*canvas, 3)
    assert (y2 - y1, x2 - x1) == scaled
    assert scale == scaled[0] / height


def test_crop_takes_the_same_place_from_image_and_mask():
    random.seed(3)
    image = picture(70, 90)
    molded, window, scale, padding, crop = resize_image(image, 64, None, 0, "crop")
    y, x, height, width = crop
    assert (scale, height, width, window) == (1, 64, 64, (0, 0, 64, 64))
    assert 0 <= y <= 6
    assert 0 <= x <= 26
    np.testing.assert_array_equal(molded, image[y : y + 64, x : x + 64])
    np.testing.assert_array_equal(resize_mask(image[:, :, :1], scale, padding, crop), molded[:, :, :1])


def test_none_leaves_the_image():
    image = picture(5, 7)
    molded, window, scale, padding, crop = resize_image(image, 64, 64, 2, "none")
    assert molded is image
    assert (window, scale, padding, crop) == ((0, 0, 5, 7), 1, [(0, 0), (0, 0), (0, 0)], None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((64, 64, 0, "sqare"), "has the modes .* got 'sqare'"),
        ((64, None, 0, "square"), "needs max_dim"),
        ((60, 64, 0, "pad64"), "multiple of 64"),
        ((None, 64, 0, "crop"), "needs min_dim"),
        ((None, 64, 0, "shortest"), 'needs min_dim in mode "shortest"'),
        ((64, None, 0, "shortest"), 'needs max_dim in mode "shortest"'),
    ],
)
def test_resize_image_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        resize_image(picture(5, 7), *arguments)


def test_resize_mask_goes_where_the_image_goes():
    mask = np.zeros((20, 30, 2), bool)
    mask[5:15, 10:20, 0] = True
    molded = resize_mask(mask, 2, [(4, 0), (0, 6), (0, 0)])
    assert molded.shape == (44, 66, 2)
    y1, x1, y2, x2 = extract_bboxes(molded)[0]
    np.testing.assert_allclose([y1, x1, y2, x2], [14, 20, 34, 40], atol=1)
    assert not molded[:, :, 1].any()


def test_expand_undoes_minimize():
    mask = np.zeros((80, 70, 2), bool)
    mask[10:60, 5:65, 0] = True
    mask[20:30, 20:30, 0] = False
    mask[40:75, 30:45, 1] = True
    boxes = extract_bboxes(mask)
    restored = expand_mask(boxes, minimize_mask(boxes, mask, (56, 56)), mask.shape)
    assert restored.dtype == bool
    for i in range(2):
        assert np.sum(restored[..., i] & mask[..., i]) / np.sum(restored[..., i] | mask[..., i]) > 0.9


def test_a_small_mask_survives_both_ways():
    mask = np.zeros((80, 70, 1), bool)
    mask[40:75, 30:45] = True  # smaller than the mini mask in both directions
    boxes = extract_bboxes(mask)
    np.testing.assert_array_equal(expand_mask(boxes, minimize_mask(boxes, mask, (56, 56)), mask.shape), mask)


def test_minimize_refuses_an_empty_box():
    with pytest.raises(ValueError, match=r"mask 0, got \[3, 4, 3, 9\]"):
        minimize_mask(np.array([[3, 4, 3, 9]]), np.ones((10, 10, 1), bool), (4, 5))


def test_mold_mask_follows_the_configuration():
    class Mini(Config):
        MINI_MASK_SHAPE = (6, 9)

    class Whole(Config):
        USE_MINI_MASK = False

    mask = np.zeros((20, 30, 1), bool)
    mask[4:10, 3:21, 0] = True
    assert mold_mask(mask, Mini()).shape == (6, 9, 1)
    assert mold_mask(mask, Whole()) is mask


@pytest.mark.parametrize("box", [(3, 5, 40, 61), (0, 0, 50, 70), (20, 42, 48, 70), (5, 8, 50, 11)])
def test_unmold_fills_the_box_of_a_full_mask(box):
    y1, x1, y2, x2 = box
    full = unmold_mask(np.ones((28, 28), np.float32), box, (50, 70, 3))
    assert full.shape == (50, 70)
    assert full[y1:y2, x1:x2].all()
    assert full.sum() == (y2 - y1) * (x2 - x1)


def test_unmold_puts_the_halves_in_their_places():
    probs = np.zeros((28, 28), np.float32)
    probs[:, 14:] = 1  # the right half
    probs[:7] = 0  # but not its top quarter
    full = unmold_mask(probs, (10, 20, 66, 132), (80, 140))
    np.testing.assert_array_equal(extract_bboxes(full[..., None])[0], [24, 76, 66, 132])


def test_image_meta_round_trip():
    meta = compose_image_meta(7, (30, 40, 3), (64, 64, 3), (1, 2, 3, 4), 1.5, [0, 1, 1])
    assert meta.tolist() == [7, 30, 40, 3, 64, 64, 3, 1, 2, 3, 4, 1.5, 0, 1, 1]
    parts = parse_image_meta(meta[None])
    assert parts["image_id"].tolist() == [7]
    assert parts["active_class_ids"].tolist() == [[0, 1, 1]]


def test_mold_and_unmold_are_inverse():
    image = np.random.default_rng(4).integers(0, 256, (75, 101, 3), np.uint8)
    molded = mold_image(image, Config())
    np.testing.assert_allclose(molded[3, 5], image[3, 5] - np.array([123.7, 116.8, 103.9]), rtol=1e-6)
    difference = unmold_image(molded + 1e-3, Config()).astype(int) - image
    assert not difference.any()
