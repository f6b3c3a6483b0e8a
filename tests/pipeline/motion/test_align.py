import numpy as np
import pytest

from pipeline.motion.align import (
    Templates,
    align,
    best_candidate,
    inside_frame,
    normalized,
    photometric_residuals,
)
from pipeline.motion.similarity import Similarity
from tests.pipeline.motion.scenes import texture, window

GRAY = window(texture(), 20, 20)[..., 0]
POINTS = (np.linspace(80, 200, 12)[:, None] + 1j * np.linspace(50, 120, 8)[None, :]).reshape(1, -1).astype(np.complex64)
WEIGHTS = np.ones(POINTS.shape, np.float32)


def shifted(x, y):
    return window(texture(), 20 - x, 20 - y)[..., 0]


def registered(templates, candidates, gray, weights=WEIGHTS):
    return best_candidate(templates, templates.intensities, candidates, weights, gray)


def aligned(templates, start, gray, weights=WEIGHTS):
    """The transform after alignment from a start."""
    start = registered(templates, (start,), gray, weights)
    return align(templates, templates.intensities, start, gray).transform


def similarity(linear, translation):
    return Similarity(np.array([linear], np.complex64), np.array([translation], np.complex64))


@pytest.mark.parametrize("error", [1.2 - 0.8j, -1.5j, 0.4])
def test_drift_is_corrected(error):
    templates = Templates.from_points(POINTS, WEIGHTS, GRAY)
    found = aligned(templates, similarity(1, 7 + 3j + error), shifted(7, 3))
    np.testing.assert_allclose(found.apply(POINTS), POINTS + 7 + 3j, atol=0.25)


def test_drift_in_scale_and_rotation_is_corrected():
    templates = Templates.from_points(POINTS, WEIGHTS, GRAY)
    center = templates.center[0, 0]
    linear = 1.015 * np.exp(0.012j)
    found = aligned(templates, similarity(linear, center - linear * center), GRAY)
    np.testing.assert_allclose(found.apply(POINTS), POINTS, atol=0.25)


@pytest.mark.parametrize("change", ["occlusion", "illumination"])
def test_occlusion_of_a_sixth_or_a_change_of_illumination_does_not_matter(change):
    templates = Templates.from_points(POINTS, WEIGHTS, GRAY)
    now = GRAY.copy()
    if change == "occlusion":
        now[:, :95] = 255
    else:
        now = (GRAY * 0.9 + 12).astype(np.uint8)
    found = aligned(templates, similarity(1, 0.8 - 0.5j), now)
    np.testing.assert_allclose(found.apply(POINTS), POINTS, atol=0.45)


def test_where_nothing_fits_the_correction_is_bounded():
    templates = Templates.from_points(POINTS, WEIGHTS, GRAY)
    other = window(texture(50), 0, 0)[..., 0]
    given = similarity(1, 2 + 1j)
    found = aligned(templates, given, other)
    assert np.abs(found.apply(POINTS) - given.apply(POINTS)).max() <= 2.5 + 1e-3


def test_the_better_of_two_candidates_is_chosen_for_each_object():
    both = np.concatenate([POINTS, POINTS + 40])
    weights = np.ones(both.shape, np.float32)
    templates = Templates.from_points(both, weights, GRAY)
    right = np.array([0, 6], np.complex64)
    wrong = np.array([9, 0], np.complex64)
    now = GRAY.copy()
    one = Similarity(np.ones(2, np.complex64), np.array([0, 0], np.complex64))
    two = Similarity(np.ones(2, np.complex64), wrong + right)
    assert registered(templates, (two, one), now, weights).transform.translation.tolist() == [0, 0]
    mixed = Similarity(np.ones(2, np.complex64), np.array([9, 0], np.complex64))
    other = Similarity(np.ones(2, np.complex64), np.array([0, 6], np.complex64))
    assert registered(templates, (mixed, other), now, weights).transform.translation.tolist() == [0, 0]


def test_residuals_exclude_the_change_of_illumination():
    templates = Templates.from_points(POINTS, WEIGHTS, GRAY)
    np.testing.assert_allclose(
        photometric_residuals(templates.intensities, templates.intensities + 20, normalized(WEIGHTS)), 0, atol=1e-3
    )
    observed = templates.intensities.copy()
    observed[0, :5] += 90
    found = photometric_residuals(templates.intensities, observed, normalized(WEIGHTS))
    assert (found[0, :5] > 60).all()
    assert (np.abs(found[0, 5:]) < 10).all()


def test_no_objects_and_no_weight():
    none = np.zeros((0, 5), np.complex64)
    templates = Templates.from_points(none, np.zeros((0, 5), np.float32), GRAY)
    assert aligned(templates, Similarity.identity(0), GRAY, np.zeros((0, 5), np.float32)).linear.shape == (0,)
    templates = Templates.from_points(POINTS, WEIGHTS, GRAY)
    found = aligned(templates, similarity(1, 3), GRAY, 0 * WEIGHTS)
    np.testing.assert_allclose(found.translation, [3], atol=1e-3)


def test_a_registration_holds_the_intensities_and_residuals_of_its_points():
    templates = Templates.from_points(POINTS, WEIGHTS, GRAY)
    now = shifted(7, 3)
    start = registered(templates, (similarity(1, 5 - 2j),), now)
    found = align(templates, templates.intensities, start, now)
    np.testing.assert_allclose(found.points, found.transform.apply(POINTS), atol=1e-3)
    columns, rows = found.points.real.round().astype(int), found.points.imag.round().astype(int)
    assert np.abs(found.intensities - now[rows, columns]).mean() < 8
    expected = photometric_residuals(templates.intensities, found.intensities, normalized(WEIGHTS))
    np.testing.assert_allclose(found.residuals, expected, atol=1e-3)


def test_points_outside_the_frame_have_no_weight():
    templates = Templates.from_points(POINTS, WEIGHTS, GRAY)
    height, width = GRAY.shape
    weights = registered(templates, (similarity(1, width - 140),), GRAY).weights[0]
    np.testing.assert_array_equal(weights, (POINTS[0].real + width - 140 <= width - 1).astype(np.float32))
    corners = np.array([0, width - 1 + 1j * (height - 1), -0.5, width - 0.5, 1j * (height - 0.5)], np.complex64)
    assert inside_frame(corners, GRAY.shape).tolist() == [True, True, False, False, False]


def test_normalized_weights_sum_to_one_or_stay_zero():
    np.testing.assert_allclose(normalized(np.array([[1, 3], [0, 0]], np.float32)), [[0.25, 0.75], [0, 0]])
