"""The tutorial's drawing, against the drawing function of examples/maskrcnn_predict.py."""

import numpy as np
import pytest

from examples import maskrcnn_predict
from mrcnn.utils import unmold_mask
from pipeline.drawing.overlay import Overlay
from pipeline.records import Instances
from pipeline.settings.output_settings import OverlaySettings

LABELS = ("BG", *(f"class {i}" for i in range(1, 81)))
BOXES = ((30, 12, 220, 300), (150, 60, 390, 340), (300, 200, 511, 383), (5, 25, 60, 80))


@pytest.mark.parametrize("count", [0, 1, 4])
def test_the_same_pixels_as_the_example(count):
    rng = np.random.default_rng(count)
    image_bgr = rng.integers(0, 256, (384, 512, 3), np.uint8)
    found = Instances(
        np.array(BOXES[:count], np.float32).reshape(count, 4),
        np.array([1, 17, 57, 80][:count], np.int32),
        np.array([0.998, 0.9, 0.85, 0.701][:count], np.float32),
        rng.random((count, 28, 28), np.float32),
    )
    rois = found.boxes_xyxy[:, [1, 0, 3, 2]].astype(int)
    masks = [unmold_mask(probs, roi, image_bgr.shape) for probs, roi in zip(found.mask_probs, rois, strict=True)]
    result = {
        "class_ids": found.class_ids,
        "scores": found.scores,
        "rois": rois,
        "masks": np.stack(masks, axis=2) if masks else np.zeros((384, 512, 0), bool),
    }
    colors = maskrcnn_predict.class_colors(len(LABELS))
    expected = maskrcnn_predict.draw(image_bgr[:, :, ::-1].copy(), result, LABELS, colors)
    drawn = Overlay(OverlaySettings(look="tutorial"), LABELS).draw(image_bgr, found)
    np.testing.assert_array_equal(drawn, expected)
    assert count == 0 or (drawn != image_bgr).any()
