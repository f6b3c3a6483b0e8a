"""Anchors: sizes, places, order and normalized coordinates, worked out by hand.

`TORCHVISION` was computed with torchvision 0.29.1:

    from torchvision.models.detection.anchor_utils import AnchorGenerator
    generator = AnchorGenerator(tuple((32 * 2**level,) for level in range(5)), ((0.5, 1.0, 2.0),) * 5)
    maps = [torch.zeros(1, 1, -(-800 // s), -(-1120 // s)) for s in (4, 8, 16, 32, 64)]
    anchors = generator(ImageList(torch.zeros(1, 3, 800, 1120), [(800, 1120)]), maps)[0]
    anchors[[0, 5, 839, 840, 168422, 210423, 223120, 223826]][:, [1, 0, 3, 2]]
"""

import dataclasses

import numpy as np
import pytest

from mrcnn.config import Config
from mrcnn.network.anchors import (
    AnchorSettings,
    boxes_in_pixels,
    centered_anchors,
    feature_shapes,
    level_anchors,
    level_ends,
    normalize_boxes,
    normalized_anchors,
    pyramid_anchors,
)

SETTINGS = AnchorSettings((32.0, 64.0, 128.0, 256.0, 512.0), (0.5, 1.0, 2.0), (4, 8, 16, 32, 64), 1)


def test_one_place_has_every_ratio_with_the_same_area():
    anchors = level_anchors(centered_anchors(32, [0.25, 1, 4]), (1, 1), (4, 4), 1)
    # width / height 0.25: 64 high and 16 wide; centered on the cell's corner
    np.testing.assert_allclose(anchors, [[-32, -8, 32, 8], [-16, -16, 16, 16], [-8, -32, 8, 32]])


def test_order_is_rows_columns_ratios():
    anchors = level_anchors(centered_anchors(2, [1, 4]), (2, 3), (10, 7), 1)
    centers = (anchors[:, :2] + anchors[:, 2:]) / 2
    places = [(y, x) for y in (0, 10) for x in (0, 7, 14) for _ in range(2)]
    np.testing.assert_allclose(centers, places)
    np.testing.assert_allclose(anchors[1] - [0, 0, 0, 0], [-0.5, -2, 0.5, 2])


def test_anchor_stride_leaves_out_places():
    anchors = level_anchors(centered_anchors(2, [1]), (3, 5), (4, 4), 2)
    np.testing.assert_allclose((anchors[:, :2] + anchors[:, 2:]) / 2, [(y, x) for y in (0, 8) for x in (0, 8, 16)])


def test_levels_follow_each_other_on_a_wide_canvas():
    assert feature_shapes((128, 320, 3), SETTINGS.feature_strides) == [(32, 80), (16, 40), (8, 20), (4, 10), (2, 5)]
    anchors = pyramid_anchors(SETTINGS, 128, 320)
    counts = [3 * 32 * 80, 3 * 16 * 40, 3 * 8 * 20, 3 * 4 * 10, 3 * 2 * 5]
    assert anchors.shape == (sum(counts), 4)
    # the square one of the first place of P3, and of the last place of P6
    np.testing.assert_allclose(anchors[counts[0] + 1], [-32, -32, 32, 32])
    np.testing.assert_allclose(anchors[-2], [64 - 256, 256 - 256, 64 + 256, 256 + 256])


@pytest.mark.parametrize("stride", [1, 2])
def test_ends_of_levels(stride):
    settings = dataclasses.replace(SETTINGS, anchor_stride=stride)
    ends = level_ends(settings, 96, 160)
    # P2 has 24 x 40 cells, P6 has 2 x 3; of an odd count, a stride of 2 keeps the last
    cells = (
        ([24, 40], [12, 20], [6, 10], [3, 5], [2, 3]) if stride == 1 else ([12, 20], [6, 10], [3, 5], [2, 3], [1, 2])
    )
    assert ends == tuple(np.cumsum([3 * rows * columns for rows, columns in cells]))
    assert ends[-1] == len(pyramid_anchors(settings, 96, 160))


TORCHVISION = {
    0: [-11.0, -23.0, 11.0, 23.0],
    5: [-23.0, -7.0, 23.0, 15.0],
    839: [-23.0, 1105.0, 23.0, 1127.0],
    840: [-7.0, -23.0, 15.0, 23.0],
    168422: [-37.0, -23.0, 53.0, 23.0],
    210423: [-13.0, -75.0, 77.0, 107.0],
    223120: [640.0, 928.0, 896.0, 1184.0],
    223826: [370.0, 873.0, 1094.0, 1235.0],
}


class Torchvision(Config):
    NAME = ARCHITECTURE = "torchvision"
    RPN_ANCHOR_RATIOS = (2.0, 1.0, 0.5)


def test_anchors_are_torchvisions():
    settings = AnchorSettings.from_config(Torchvision())
    anchors = pyramid_anchors(settings, 800, 1120)
    assert len(anchors) == 223827
    np.testing.assert_array_equal(anchors[list(TORCHVISION)], list(TORCHVISION.values()))
    np.testing.assert_allclose(
        normalized_anchors(settings, 800, 1120)[5], anchors[5] / [800, 1120, 800, 1120], rtol=1e-6
    )


def test_detectron2s_anchors_are_not_rounded_and_have_nominal_strides():
    class Detectron2(Torchvision):
        NAME = ARCHITECTURE = "detectron2"

    anchors = pyramid_anchors(AnchorSettings.from_config(Detectron2()), 800, 1120)
    wide = 0.5 * 32 * np.sqrt(2)
    np.testing.assert_allclose(anchors[3 * 280 + 3], [4 - wide / 2, 4 - wide, 4 + wide / 2, 4 + wide])
    np.testing.assert_allclose(anchors[-2], [12 * 64 - 256, 17 * 64 - 256, 12 * 64 + 256, 17 * 64 + 256])


def test_pixels_divided_by_the_canvas_size_and_back():
    pixels = np.float32([[0, 0, 100, 40], [50, 10, 75, 11]])
    normalized = normalize_boxes(pixels, 100, 40, last_pixel_is_one=False)
    np.testing.assert_allclose(normalized, [[0, 0, 1, 1], [0.5, 0.25, 0.75, 0.275]], rtol=1e-6)
    for last_pixel_is_one in (False, True):
        normalized = normalize_boxes(pixels, 100, 40, last_pixel_is_one)
        np.testing.assert_allclose(boxes_in_pixels(normalized, 100, 40, last_pixel_is_one), pixels, atol=1e-5)


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
