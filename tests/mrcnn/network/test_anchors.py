"""Anchors: sizes, places, order and Matterport's normalized coordinates, worked out by hand."""

import numpy as np
import pytest

from mrcnn.config import Config
from mrcnn.network.anchors import (
    AnchorSettings,
    feature_shapes,
    level_anchors,
    normalize_boxes,
    normalized_anchors,
    pyramid_anchors,
)

SETTINGS = AnchorSettings((32.0, 64.0, 128.0, 256.0, 512.0), (0.5, 1.0, 2.0), (4, 8, 16, 32, 64), 1)


def test_one_place_has_every_ratio_with_the_same_area():
    anchors = level_anchors(32, [0.25, 1, 4], (1, 1), 4, 1)
    # width / height 0.25: 64 high and 16 wide; centered on the cell's corner
    np.testing.assert_allclose(anchors, [[-32, -8, 32, 8], [-16, -16, 16, 16], [-8, -32, 8, 32]])


def test_order_is_rows_columns_ratios():
    anchors = level_anchors(2, [1, 4], (2, 3), 10, 1)
    centers = (anchors[:, :2] + anchors[:, 2:]) / 2
    places = [(y, x) for y in (0, 10) for x in (0, 10, 20) for _ in range(2)]
    np.testing.assert_allclose(centers, places)
    np.testing.assert_allclose(anchors[1] - [0, 0, 0, 0], [-0.5, -2, 0.5, 2])


def test_anchor_stride_leaves_out_places():
    anchors = level_anchors(2, [1], (3, 5), 4, 2)
    np.testing.assert_allclose((anchors[:, :2] + anchors[:, 2:]) / 2, [(y, x) for y in (0, 8) for x in (0, 8, 16)])


def test_levels_follow_each_other_on_a_wide_canvas():
    assert feature_shapes((128, 320, 3), SETTINGS.feature_strides) == [(32, 80), (16, 40), (8, 20), (4, 10), (2, 5)]
    anchors = pyramid_anchors(SETTINGS, 128, 320)
    counts = [3 * 32 * 80, 3 * 16 * 40, 3 * 8 * 20, 3 * 4 * 10, 3 * 2 * 5]
    assert anchors.shape == (sum(counts), 4)
    # the square one of the first place of P3, and of the last place of P6
    np.testing.assert_allclose(anchors[counts[0] + 1], [-32, -32, 32, 32])
    np.testing.assert_allclose(anchors[-2], [64 - 256, 256 - 256, 64 + 256, 256 + 256])


def test_normalized_coordinates_put_the_last_pixel_at_one():
    np.testing.assert_allclose(
        normalize_boxes([[0, 0, 101, 51], [50, 10, 51, 11]], 101, 51), [[0, 0, 1, 1], [0.5, 0.2, 0.5, 0.2]]
    )


def test_computed_once_and_read_only():
    first = normalized_anchors(SETTINGS, 64, 128)
    assert normalized_anchors(SETTINGS, 64, 128) is first
    assert first.dtype == np.float32
    with pytest.raises(ValueError, match="read-only"):
        first[0, 0] = 1


def test_settings_of_a_config():
    class Wide(Config):
        NAME = "wide"
        NUM_CLASSES = 3
        RPN_ANCHOR_SCALES = (16, 32, 64, 128, 256)
        RPN_ANCHOR_RATIOS = [1, 3]  # noqa: RUF012
        RPN_ANCHOR_STRIDE = 2

    assert AnchorSettings.from_config(Wide()) == AnchorSettings((16, 32, 64, 128, 256), (1, 3), (4, 8, 16, 32, 64), 2)
    Wide.RPN_ANCHOR_SCALES = (16, 32)
    with pytest.raises(ValueError, match="one scale for each of the 5 levels"):
        AnchorSettings.from_config(Wide())
