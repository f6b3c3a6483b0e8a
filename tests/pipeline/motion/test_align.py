import numpy as np
import pytest

from pipeline.motion.align import Looks, align, differences, inside, nearest_look, shares
from pipeline.motion.similarity import Similarity
from tests.pipeline.motion.scenes import texture, window

GRAY = window(texture(), 20, 20)[..., 0]
POINTS = (np.linspace(80, 200, 12)[:, None] + 1j * np.linspace(50, 120, 8)[None, :]).reshape(1, -1).astype(np.complex64)
WEIGHTS = np.ones(POINTS.shape, np.float32)


def shifted(x, y):
    return window(texture(), 20 - x, 20 - y)[..., 0]


def aligned(looks, path, gray, weights=WEIGHTS):
    """The path after alignment, from the sight that it leads to."""
    return align(looks, looks.levels, nearest_look(looks, looks.levels, (path,), weights, gray), gray).path


def path_of(turn, shift):
    return Similarity(np.array([turn], np.complex64), np.array([shift], np.complex64))


@pytest.mark.parametrize("error", [1.2 - 0.8j, -1.5j, 0.4])
def test_drift_is_taken_out(error):
    looks = Looks.of(POINTS, WEIGHTS, GRAY)
    found = aligned(looks, path_of(1, 7 + 3j + error), shifted(7, 3))
    np.testing.assert_allclose(found.apply(POINTS), POINTS + 7 + 3j, atol=0.25)


def test_drift_in_scale_and_rotation_is_taken_out():
    looks = Looks.of(POINTS, WEIGHTS, GRAY)
    center = looks.center[0, 0]
    turn = 1.015 * np.exp(0.012j)
    found = aligned(looks, path_of(turn, center - turn * center), GRAY)
    np.testing.assert_allclose(found.apply(POINTS), POINTS, atol=0.25)


@pytest.mark.parametrize("change", ["covered", "another light"])
def test_a_sixth_covered_or_another_light_do_not_matter(change):
    looks = Looks.of(POINTS, WEIGHTS, GRAY)
    now = GRAY.copy()
    if change == "covered":
        now[:, :95] = 255
    else:
        now = (GRAY * 0.9 + 12).astype(np.uint8)
    found = aligned(looks, path_of(1, 0.8 - 0.5j), now)
    np.testing.assert_allclose(found.apply(POINTS), POINTS, atol=0.45)


def test_where_nothing_fits_the_path_stays():
    looks = Looks.of(POINTS, WEIGHTS, GRAY)
    other = window(texture(50), 0, 0)[..., 0]
    given = path_of(1, 2 + 1j)
    found = aligned(looks, given, other)
    assert np.abs(found.apply(POINTS) - given.apply(POINTS)).max() <= 2.5 + 1e-3


def test_the_better_of_two_paths_is_found_for_each_object():
    both = np.concatenate([POINTS, POINTS + 40])
    weights = np.ones(both.shape, np.float32)
    looks = Looks.of(both, weights, GRAY)
    right = np.array([0, 6], np.complex64)
    wrong = np.array([9, 0], np.complex64)
    now = GRAY.copy()
    one = Similarity(np.ones(2, np.complex64), np.array([0, 0], np.complex64))
    two = Similarity(np.ones(2, np.complex64), wrong + right)
    assert nearest_look(looks, looks.levels, (two, one), weights, now).path.shift.tolist() == [0, 0]
    mixed = Similarity(np.ones(2, np.complex64), np.array([9, 0], np.complex64))
    other = Similarity(np.ones(2, np.complex64), np.array([0, 6], np.complex64))
    assert nearest_look(looks, looks.levels, (mixed, other), weights, now).path.shift.tolist() == [0, 0]


def test_differences_leave_the_light_out():
    looks = Looks.of(POINTS, WEIGHTS, GRAY)
    np.testing.assert_allclose(differences(looks.levels, looks.levels + 20, shares(WEIGHTS)), 0, atol=1e-3)
    shown = looks.levels.copy()
    shown[0, :5] += 90
    found = differences(looks.levels, shown, shares(WEIGHTS))
    assert (found[0, :5] > 60).all()
    assert (np.abs(found[0, 5:]) < 10).all()


def test_no_objects_and_no_weight():
    none = np.zeros((0, 5), np.complex64)
    looks = Looks.of(none, np.zeros((0, 5), np.float32), GRAY)
    assert aligned(looks, Similarity.identity(0), GRAY, np.zeros((0, 5), np.float32)).turn.shape == (0,)
    looks = Looks.of(POINTS, WEIGHTS, GRAY)
    found = aligned(looks, path_of(1, 3), GRAY, 0 * WEIGHTS)
    np.testing.assert_allclose(found.shift, [3], atol=1e-3)


def test_a_sight_tells_what_its_points_show():
    looks = Looks.of(POINTS, WEIGHTS, GRAY)
    way = path_of(1, 5 - 2j)
    found = align(looks, looks.levels, nearest_look(looks, looks.levels, (way,), WEIGHTS, shifted(7, 3)), shifted(7, 3))
    np.testing.assert_allclose(found.points, found.path.apply(POINTS), atol=1e-3)
    columns, rows = found.points.real.round().astype(int), found.points.imag.round().astype(int)
    assert np.abs(found.shown - shifted(7, 3)[rows, columns]).mean() < 8
    np.testing.assert_allclose(found.error, differences(looks.levels, found.shown, shares(WEIGHTS)), atol=1e-3)


def test_what_is_outside_the_frame_has_no_weight():
    looks = Looks.of(POINTS, WEIGHTS, GRAY)
    height, width = GRAY.shape
    sight = nearest_look(looks, looks.levels, (path_of(1, width - 140),), WEIGHTS, GRAY)
    np.testing.assert_array_equal(sight.weights[0], (POINTS[0].real + width - 140 <= width - 1).astype(np.float32))
    corners = np.array([0, width - 1 + 1j * (height - 1), -0.5, width - 0.5, 1j * (height - 0.5)], np.complex64)
    assert inside(corners, GRAY.shape).tolist() == [True, True, False, False, False]


def test_shares_add_up_to_one_or_stay_nothing():
    np.testing.assert_allclose(shares(np.array([[1, 3], [0, 0]], np.float32)), [[0.25, 0.75], [0, 0]])
