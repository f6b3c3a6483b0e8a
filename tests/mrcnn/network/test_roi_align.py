"""The level of a region by its size, and the shape of what is cut out."""

import numpy as np
from keras import ops

from mrcnn.architecture import MATTERPORT
from mrcnn.network.roi_align import roi_align, roi_levels


def test_level_follows_the_side_in_pixels_on_a_wide_canvas():
    # 640 x 1280: the geometric mean side of the canvas is 905 pixels
    sides = np.array([20, 79, 80, 111, 159, 224, 316, 317, 634, 900])
    boxes = np.stack([np.zeros(10), np.zeros(10), sides / 640, sides / 1280], -1).astype(np.float32)
    # 224 pixels is P4; a level up or down at 224 times a half-integer power of two: 79.2, 158.4, 316.8
    assert ops.convert_to_numpy(roi_levels(boxes, (640, 1280), MATTERPORT)).tolist() == [0, 0, 1, 1, 2, 2, 2, 3, 3, 3]


def test_empty_regions_are_read_from_the_finest_level():
    boxes = np.array([[0, 0, 0, 0], [0.3, 0.1, 0.3, 0.9]], np.float32)
    assert ops.convert_to_numpy(roi_levels(boxes, (64, 128), MATTERPORT)).tolist() == [0, 0]


def test_constant_levels_give_their_constant():
    maps = [ops.full((2, 64 // 2**i, 128 // 2**i, 3), float(i + 1)) for i in range(4)]
    boxes = np.array([[[0.1, 0.1, 0.2, 0.2], [0, 0, 1, 1]], [[0.2, 0.2, 0.9, 0.9], [0, 0, 0, 0]]], np.float32)
    pooled = ops.convert_to_numpy(roi_align(maps, ops.convert_to_tensor(boxes), 4, (256, 512), MATTERPORT))
    assert pooled.shape == (2, 2, 4, 4, 3)
    # sides of 36, 362, 253 and 0 pixels
    assert pooled[:, :, 1, 2, 0].tolist() == [[1.0, 4.0], [3.0, 1.0]]
