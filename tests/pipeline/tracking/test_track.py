import numpy as np
import pytest

from pipeline.tracking.track import (
    MEASUREMENT_STD,
    BoxKalmanFilter,
    Track,
    center_and_size,
    corners,
    ema_weight,
    predict_all,
    predict_tracks,
    smooth_box,
    smooth_masks,
    speed_change,
)
from tests.pipeline.tracking.scenes import box_at

MASK = np.ones((28, 28), np.float32)


def a_track(class_id=1, score=0.8):
    return Track(2.0, np.array(box_at(100, 50), np.float32), class_id, score, MASK)


def test_a_new_track_has_the_detected_box():
    track = a_track()
    assert (track.id, track.hits, track.class_id, track.lost_s(2.5)) == (0, 1, 1, 0.5)
    assert corners(track.smoothed_box).tolist() == list(box_at(100, 50))


def test_the_class_is_a_vote_weighted_by_score():
    track = a_track(1, 0.6)
    for class_id, score in ((2, 0.9), (1, 0.5), (2, 0.4), (2, 0.3)):
        predict_tracks([track], 0.04)
        track.update(3.0, corners(track.smoothed_box), class_id, score)
    assert track.class_id == 2  # 1.6 against 1.1
    assert track.hits == 5


def test_old_votes_decay():
    track = a_track(1, 0.9)
    for _ in range(20):
        track.update(2.0, corners(track.smoothed_box), 1, 0.9)
    predict_tracks([track], 30.0)
    track.update(32.0, corners(track.smoothed_box), 2, 0.5)
    assert track.class_id == 2


def test_the_smoothed_box_moves_with_the_velocity():
    track = a_track()
    track.motion.velocity = np.array([50.0, -20.0, 0.0, -400.0])
    predict_tracks([track], 0.1)
    assert track.smoothed_box == pytest.approx([105, 48, 40, 40])
    predict_tracks([track], 2.0)
    assert track.smoothed_box[3] >= 1


def test_many_tracks_are_predicted_as_each_by_itself():
    """Also one that shrinks to nothing, and one that never moved."""
    boxes = np.array([box_at(100, 50), box_at(300, 20, 8, 40), box_at(10, 200)], np.float32)
    later = np.array([box_at(109, 47), box_at(296, 22, 1, 33), box_at(10, 200)], np.float32)
    together, alone = ([Track(1.0, box, 1, 0.9, MASK) for box in boxes] for _ in range(2))
    for elapsed_s in (0.04, 0.0, 0.3):
        predict_tracks(together, elapsed_s)
        for track in alone:
            predict_tracks([track], elapsed_s)
        for track, other, box in zip(together, alone, later, strict=True):
            assert track.smoothed_box.tolist() == other.smoothed_box.tolist()
            assert track.motion.position.tolist() == other.motion.position.tolist()
            assert track.motion.center_std == other.motion.center_std
            track.update(2.0, box, 2, 0.8)
            other.update(2.0, box, 2, 0.8)
    assert together[0].smoothed_box is not together[1].smoothed_box
    predict_tracks([], 0.04)


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


def test_the_weight_depends_on_time_not_on_the_number_of_results():
    once = ema_weight(0.5, 0.2)
    five_times = 1 - (1 - ema_weight(0.5, 0.04)) ** 5
    assert once == pytest.approx(five_times)
    assert ema_weight(0.0, 0.04) == 1.0
    assert ema_weight(1.0, 0.04) < ema_weight(0.5, 0.04) < 0.2
    assert ema_weight(1.0, 100.0) == pytest.approx(1.0)


def test_jitter_is_smoothed_and_change_is_followed():
    predicted = center_and_size(np.array(box_at(100, 100, 100, 100)))
    jitter, change = smooth_box(predicted, 100.0, np.array(box_at(102, 99, 100, 100)), 0.1)
    assert change == 0
    assert jitter == pytest.approx([100.2, 99.9, 100, 100])
    moved, change = smooth_box(predicted, 100.0, np.array(box_at(120, 100, 90, 100)), 0.1)
    assert change == 1
    assert moved == pytest.approx([120, 100, 90, 100])
    between, change = smooth_box(predicted, 100.0, np.array(box_at(109, 100, 100, 100)), 0.1)
    assert 0 < change < 1
    assert 100.9 < between[0] < 109


def test_speed_is_relative_to_size():
    motion = BoxKalmanFilter(np.array(box_at(0, 0, 50, 50)))
    assert speed_change(motion, 0.04) == 0
    motion.velocity = np.array([0.0, 100.0, 0, 0])
    assert speed_change(motion, 0.04) == pytest.approx((4 / 50) / 0.25)
    assert speed_change(motion, 1.0) == 1


def wobbling(count, seed=0):
    """A disc whose outline wobbles, `count` times."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:28, 0:28] - 13.5
    edges = 10 + rng.normal(0, 0.7, count)
    return np.clip(edges[:, None, None] - np.hypot(x, y) + 0.5, 0, 1).astype(np.float32)


def run(masks, boxes, weight):
    shown, box = masks[0], boxes[0]
    result = [shown]
    for mask, next_box in zip(masks[1:], boxes[1:], strict=True):
        shown = smooth_masks(
            shown[None], box[None], mask[None], next_box[None], next_box[None], np.array([weight], np.float32)
        )[0]
        box = next_box
        result.append(shown)
    return np.array(result)


def test_a_still_outline_stops_wobbling():
    masks = wobbling(60)
    boxes = np.tile(np.array([10, 20, 66, 104], np.float32), (60, 1))
    smoothed = run(masks, boxes, 0.15)
    flicker = np.abs(np.diff(masks >= 0.5, axis=0).astype(float)).mean()
    assert np.abs(np.diff(smoothed >= 0.5, axis=0).astype(float)).mean() < 0.4 * flicker
    assert np.abs(smoothed[20:].mean(axis=0) - masks.mean(axis=0)).mean() < 0.03


def test_a_changed_outline_is_followed_at_once():
    before, after = np.zeros((28, 28), np.float32), np.zeros((28, 28), np.float32)
    before[:, :14], after[:, 10:] = 1, 1
    boxes = np.tile(np.array([10, 20, 66, 104], np.float32), (2, 1))
    assert run(np.stack([before, after]), boxes, 0.15)[1] == pytest.approx(after)


def test_box_jitter_does_not_stretch_the_mask():
    # The same disc in the picture, seen in boxes of different sizes.
    def seen_in(box):
        x = box[0] + (np.arange(28) + 0.5) / 28 * (box[2] - box[0])
        y = box[1] + (np.arange(28) + 0.5) / 28 * (box[3] - box[1])
        return np.clip(30.5 - np.hypot(x[None] - 60, y[:, None] - 50), 0, 1).astype(np.float32)

    boxes = np.array([[25, 15, 95, 85], [20, 12, 99, 90], [28, 18, 92, 83]] * 5, np.float32)
    masks = np.array([seen_in(box) for box in boxes])
    smoothed = run(masks, boxes, 0.1)
    assert np.abs(smoothed[-1] - masks[-1]).max() < 0.65
    assert np.count_nonzero((smoothed[-1] >= 0.5) != (masks[-1] >= 0.5)) < 0.03 * 28 * 28


def test_no_objects():
    nothing, boxes = np.zeros((0, 28, 28), np.float32), np.zeros((0, 4), np.float32)
    assert smooth_masks(nothing, boxes, nothing, boxes, boxes, np.zeros(0, np.float32)).shape == (0, 28, 28)
