from math import pi

import numpy as np
import pytest

from pipeline.motion.similarity import Similarity, fit_similarity, weighted_median

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
