"""The record that every engine answers with."""

import numpy as np
import pytest

from mrcnn.engines.base import Engine, RawDetections
from mrcnn.network.anchors import normalize_boxes


def detections(boxes) -> RawDetections:
    count = len(boxes)
    masks = np.zeros((count, 28, 28), np.float32)
    return RawDetections(np.float32(boxes).reshape(-1, 4), np.ones(count, np.int32), np.ones(count, np.float32), masks)


def test_boxes_in_pixels_by_hand():
    found = detections([[0, 0, 1, 1], [0.5, 0.25, 0.5, 0.25]])
    # the first edge of pixel 0 to the last edge of pixel 100, of 101 rows and 41 columns
    np.testing.assert_allclose(found.boxes_in_pixels(101, 41), [[0, 0, 101, 41], [50, 10, 51, 11]])
    assert len(found) == 2


def test_boxes_in_pixels_undoes_normalizing():
    pixels = np.array([[3, 5, 60, 95], [0, 0, 64, 96]], np.float32)
    np.testing.assert_allclose(detections(normalize_boxes(pixels, 64, 96)).boxes_in_pixels(64, 96), pixels, atol=1e-4)


def test_nothing_found():
    assert len(detections([])) == 0
    assert detections([]).boxes_in_pixels(64, 96).shape == (0, 4)


def test_an_engine_must_say_how_it_warms_up_and_detects():
    with pytest.raises(TypeError, match="detect_molded"):
        Engine()
