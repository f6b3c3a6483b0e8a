import numpy as np
import pytest

from pipeline.tracking.kalman import MEASUREMENT_STD, BoxKalmanFilter, center_and_size, corners, predict_all
from tests.pipeline.tracking.scenes import box_at


def textbook(boxes, steps_s, scale):
    """The same filter for the center's x, in matrix form."""
    state, noise = np.array([boxes[0][0], 0.0]), (MEASUREMENT_STD * scale) ** 2
    covariance = np.diag([noise, (1.5 * scale) ** 2])
    for x, step_s in zip([box[0] for box in boxes[1:]], steps_s, strict=True):
        transition = np.array([[1, step_s], [0, 1]])
        process_noise = (1.2 * scale) ** 2 * np.array([[step_s**3 / 3, step_s**2 / 2], [step_s**2 / 2, step_s]])
        state, covariance = transition @ state, transition @ covariance @ transition.T + process_noise
        gain = covariance[:, 0] / (covariance[0, 0] + noise)
        state = state + gain * (x - state[0])
        covariance = covariance - np.outer(gain, covariance[0])
    return state


def test_agrees_with_the_textbook_in_matrices():
    places = [(100.0, 50.0), (104.0, 50.0), (111.0, 50.0), (112.0, 50.0), (130.0, 50.0), (128.0, 50.0)]
    steps_s = [0.04, 0.12, 0.04, 0.2, 0.08]
    motion = BoxKalmanFilter(np.array(box_at(*places[0], 60, 60)))
    for place, step_s in zip(places[1:], steps_s, strict=True):
        predict_all([motion], step_s)
        motion.update(np.array(box_at(*place, 60, 60)))
    state = textbook(places, steps_s, scale=60.0)  # each gain comes from the covariance before
    assert motion.position[0] == pytest.approx(state[0], rel=1e-9)
    assert motion.velocity[0] == pytest.approx(state[1], rel=1e-9)


@pytest.mark.parametrize("steps", [[0.04] * 30, [0.04, 0.2, 0.12] * 4 + [0.04]])
def test_learns_a_velocity_whatever_the_steps(steps):
    t, motion = 0.0, BoxKalmanFilter(np.array(box_at(10, 200)))
    for step_s in steps:
        t += step_s
        predict_all([motion], step_s)
        motion.update(np.array(box_at(10 + 90 * t, 200 - 30 * t)))
    assert motion.velocity[:2] == pytest.approx([90, -30], rel=0.05)
    predict_all([motion], 0.5)  # an occlusion
    assert motion.position[:2] == pytest.approx([10 + 90 * (t + 0.5), 200 - 30 * (t + 0.5)], abs=4)


def test_one_long_step_is_as_uncertain_as_many_short_ones():
    one, many = (BoxKalmanFilter(np.array(box_at(50, 50))) for _ in range(2))
    predict_all([one], 0.6)
    for _ in range(15):
        predict_all([many], 0.04)
    assert many.center_std == pytest.approx(one.center_std, rel=1e-9)
    assert one.center_std > 0.5 * one.scale


def test_a_box_does_not_shrink_to_nothing_while_it_is_lost():
    motion = BoxKalmanFilter(np.array(box_at(100, 100, 40, 40)))
    for side in (35, 30, 25, 20):
        predict_all([motion], 0.04)
        motion.update(np.array(box_at(100, 100, side, side)))
    predict_all([motion], 10.0)
    x1, y1, x2, y2 = corners(motion.position)
    assert 1 <= x2 - x1 < 20
    assert 1 <= y2 - y1 < 20
    assert corners(motion.position).dtype == np.float32


def test_corners_and_centers_are_inverse():
    box = np.array([3.5, -7.0, 45.25, 81.0])
    assert corners(center_and_size(box)).tolist() == box.tolist()
    assert corners(np.stack([center_and_size(box)] * 2)).tolist() == [box.tolist()] * 2
    assert center_and_size(box).tolist() == [24.375, 37.0, 41.75, 88.0]
