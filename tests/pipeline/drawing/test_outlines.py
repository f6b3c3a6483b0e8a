import cv2
import numpy as np
import pytest

from pipeline.drawing.masks import paste_mask
from pipeline.drawing.outlines import SUBPIXEL_BITS, offset_curves, outline


def ellipse(radius_y=9.0, radius_x=7.0):
    y, x = np.mgrid[0:28, 0:28]
    return (1 / (1 + np.exp(1.5 * (np.hypot((y - 13.5) / radius_y, (x - 12.5) / radius_x) - 1) * radius_x))).astype(
        np.float32
    )


@pytest.mark.parametrize("edges", [(10, 20, 38, 48), (10, 20, 150, 340), (-60, -40, 900, 500), (100, 90, 110, 130)])
def test_the_filled_outline_is_the_pasted_mask(edges):
    """Another method: pixel by pixel. They differ by the smoothing, which is less than a cell at the curve."""
    probs = ellipse()
    mask = np.zeros((600, 1000), np.uint8)
    (curves,) = offset_curves(outline(probs, edges, 0.5), [0.0])
    cv2.fillPoly(mask, curves, 1, cv2.LINE_8, SUBPIXEL_BITS)
    pasted, y, x = paste_mask(probs, np.array(edges, np.float32), 600, 1000, 0.5)
    expected = np.zeros((600, 1000), bool)
    expected[y : y + pasted.shape[0], x : x + pasted.shape[1]] = pasted
    both, either = (expected & (mask > 0)).sum(), (expected | (mask > 0)).sum()
    assert both / either > (0.8 if edges[2] - edges[0] < 20 else 0.94)


def test_an_ellipse_has_its_axes():
    (curve,) = outline(ellipse(), (100, 50, 380, 610), 0.5)
    assert np.ptp(curve[:, 0]) == pytest.approx(2 * 7 * 10, abs=3)
    assert np.ptp(curve[:, 1]) == pytest.approx(2 * 9 * 20, abs=6)
    assert (curve[:, 0].min() + curve[:, 0].max()) / 2 == pytest.approx(100 + 13 * 10, abs=1)
    assert (curve[:, 1].min() + curve[:, 1].max()) / 2 == pytest.approx(50 + 14 * 20, abs=2)


def test_a_full_mask_reaches_its_box():
    (curve,) = outline(np.ones((28, 28), np.float32), (100, 50, 380, 330), 0.5)
    np.testing.assert_allclose([curve.min(axis=0), curve.max(axis=0)], [[100, 50], [380, 330]], atol=0.5)


def test_nothing_has_no_outline():
    assert outline(np.zeros((28, 28), np.float32), (100, 50, 380, 330), 0.5) == []
    assert offset_curves([], [0.0, 1.0]) == [[], []]


def test_large_holes_and_parts_stay_and_small_ones_go():
    mask = np.zeros((28, 28), np.float32)
    mask[2:26, 2:18] = 1.0
    mask[6:14, 6:12] = 0.0  # an eighth: a hole
    mask[20, 8] = 0.0
    mask[4:12, 21:26] = 1.0  # a part of its own
    mask[22, 24] = 1.0
    curves = outline(mask, (0, 0, 280, 280), 0.5)
    areas = [abs(cv2.contourArea(curve)) for curve in curves]
    np.testing.assert_allclose(areas, [24 * 16 * 100, 8 * 6 * 100, 8 * 5 * 100], rtol=0.1)


def test_offsets_go_out_of_the_object_and_into_its_holes():
    y, x = np.mgrid[0:28, 0:28]
    radius = np.hypot(y - 13.5, x - 13.5)
    ring = ((radius < 11) & (radius > 5)).astype(np.float32)
    curves = outline(ring, (0, 0, 280, 280), 0.5)
    for distance, (outer, inner) in zip((0.0, 8.0), offset_curves(curves, (0.0, 8.0)), strict=True):
        for curve, expected in ((outer, 110 + distance), (inner, 50 - distance)):
            points = curve / (1 << SUBPIXEL_BITS) + 0.5 - 140
            assert np.hypot(*points.T).mean() == pytest.approx(expected, abs=2)
