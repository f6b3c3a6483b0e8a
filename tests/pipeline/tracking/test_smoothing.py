import numpy as np
import pytest

from pipeline.tracking.kalman import BoxKalmanFilter, center_and_size
from pipeline.tracking.smoothing import ema_weight, smooth_box, smooth_masks, speed_change
from tests.pipeline.tracking.scenes import box_at


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
