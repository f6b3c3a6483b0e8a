import pickle
from dataclasses import replace

import numpy as np
import pytest

from pipeline.records import Instances
from pipeline.settings.presentation_settings import TrackingSettings
from pipeline.tracking.tracker import Tracker
from tests.pipeline.tracking.scenes import box_at, found

SIZE_HW = (361, 643)
SETTINGS = TrackingSettings(max_lost_s=2.0, hold_s=0.4, smoothing=0.5, confirm_score=0.9)


def person(x, y=150.0, score=0.95, **sides):
    return (1, score, *box_at(x, y, **sides))


def feed(tracker, *frames):
    """Frames of (time in seconds, rows): what is shown after each."""
    return [tracker.update(pts_s, found(*rows), SIZE_HW) for pts_s, rows in frames]


def ids(instances):
    return instances.track_ids.tolist()


@pytest.mark.parametrize("count", [0, 1, 100])
def test_any_number_of_objects(count):
    rows = [(1 + i % 3, 0.95, *box_at(30 + 62 * (i % 10), 20 + 35 * (i // 10), 30, 30)) for i in range(count)]
    first, second = feed(Tracker(SETTINGS), (0.0, rows), (0.04, rows))
    assert ids(first) == ids(second) == list(range(1, count + 1))
    assert second.boxes_xyxy == pytest.approx(found(*rows).boxes_xyxy)


def test_a_high_score_has_an_id_at_once_others_when_seen_again():
    first, second = feed(
        Tracker(SETTINGS),
        (0.0, [person(100, score=0.95), person(300, score=0.7), person(500, score=0.65)]),
        (0.04, [person(101, score=0.95), person(301, score=0.7)]),
    )
    assert ids(first) == [1, 0, 0]
    assert ids(second) == [1, 2]


def test_a_false_positive_of_one_frame_costs_no_id():
    tracker = Tracker(SETTINGS)
    shown = feed(tracker, *[(0.3 * i, [person(40 + 230 * (i % 3), score=0.7)]) for i in range(1, 9)])
    assert all(ids(one) == [0] for one in shown)
    assert ids(feed(tracker, (9.0, [person(100)]))[0]) == [1]


def test_ids_stay_while_two_of_a_class_walk_through_one_another():
    tracker = Tracker(SETTINGS)
    for i in range(51):
        t = i / 25
        left, right = person(100 + 150 * t, 150), person(400 - 150 * t, 160, score=0.96)
        hidden = 0.95 < t < 1.08  # the one behind is missed for a moment, and not drawn over the other
        seen = [right] if hidden else [right, left]
        (shown,) = feed(tracker, (t, seen))
        by_id = dict(zip(ids(shown), shown.boxes_xyxy[:, 0] + 20, strict=True))
        assert by_id[1] == pytest.approx(400 - 150 * t, abs=6)
        if not hidden:
            assert by_id[2] == pytest.approx(100 + 150 * t, abs=6)


@pytest.mark.parametrize(("away_s", "same"), [(0.5, True), (1.8, True), (2.2, False)])
def test_a_short_occlusion_is_bridged_a_long_one_is_not(away_s, same):
    tracker = Tracker(SETTINGS)
    feed(tracker, *[(i / 25, [person(100 + 2 * i)]) for i in range(26)])  # 50 pixels a second
    feed(tracker, *[(1 + i / 25, []) for i in range(1, round(away_s * 25))])
    back_s = 1 + away_s
    (shown,) = feed(tracker, (back_s, [person(100 + 50 * back_s)]))
    assert ids(shown) == [1 if same else 2]


def test_time_counts_not_the_number_of_frames():
    tracker = Tracker(SETTINGS)
    times = [0.0, 0.04, 0.08, 0.36, 0.4, 0.72, 0.76, 1.2]
    shown = feed(tracker, *[(t, [person(60 + 300 * t, width=40, height=60)]) for t in times])
    assert [ids(one) for one in shown] == [[1]] * len(times)
    for t, one in list(zip(times, shown, strict=True))[3:]:
        assert one.boxes_xyxy[0, 0] + 20 == pytest.approx(60 + 300 * t, abs=4)


def test_ids_survive_a_low_rate_of_results():
    shown = feed(Tracker(SETTINGS), *[(3.0 * i, [person(100 + 4 * i)]) for i in range(5)])
    assert [ids(one) for one in shown] == [[1]] * 5


def test_a_lost_object_is_held_at_its_predicted_place_and_fades():
    tracker = Tracker(SETTINGS)
    feed(tracker, *[(i / 25, [person(100 + 4 * i, score=0.96)]) for i in range(26)])  # 100 pixels a second, at 200
    held = feed(tracker, *[(1 + lost_s, []) for lost_s in (0.04, 0.2, 0.36, 0.44)])
    assert [ids(one) for one in held] == [[1], [1], [1], []]
    for lost_s, one in zip((0.04, 0.2, 0.36), held, strict=False):
        assert one.boxes_xyxy[0, 0] + 20 == pytest.approx(200 + 100 * lost_s, abs=2)
        assert one.scores[0] == pytest.approx(0.96 * (1 - lost_s / 0.4), rel=1e-4)
        assert one.opacity[0] == pytest.approx(1 - lost_s / 0.4, rel=1e-4)
        assert one.mask_probs[0].min() > 0.9
    assert feed(tracker, (1.48, [person(248)]))[0].opacity is None


def test_an_object_that_has_left_the_frame_is_not_held():
    tracker = Tracker(SETTINGS)
    for i in range(26):
        x = 620 + 4 * i  # the box is cut off at the frame's edge more and more
        x1, y1, x2, y2 = box_at(x, 150)
        feed(tracker, (i / 25, [(1, 0.95, x1, y1, min(x2, 643), y2)] if x1 < 640 else []))
    assert ids(feed(tracker, (26 / 25, []))[0]) == []


def test_nothing_is_held_where_another_of_its_class_is_detected():
    tracker = Tracker(SETTINGS)
    feed(tracker, *[(i / 25, [person(100), person(300)]) for i in range(5)])
    shown = feed(tracker, (0.24, [person(300), (1, 0.6, *box_at(104, 150, 64, 80))]))[0]
    assert sorted(ids(shown)) == [1, 2]  # found, though larger, and not shown twice


def test_holding_can_be_switched_off():
    tracker = Tracker(SETTINGS.model_copy(update={"hold_s": 0.0}))
    assert [ids(one) for one in feed(tracker, (0.0, [person(9)]), (0.04, [person(9)]), (0.08, []))] == [[1], [1], []]


def test_a_wrong_class_for_a_moment_changes_neither_id_nor_label():
    tracker = Tracker(SETTINGS)
    frames = [(i / 25, [person(100)]) for i in range(10)]
    frames[7] = (7 / 25, [(2, 0.99, *box_at(100, 150))])
    shown = feed(tracker, *frames)
    assert [one.class_ids.tolist() for one in shown] == [[1]] * 10
    assert [ids(one) for one in shown] == [[1]] * 10


def test_low_scores_only_continue_tracks():
    tracker = Tracker(SETTINGS, high_score=0.7)
    shown = feed(
        tracker,
        (0.0, [person(100), person(400, score=0.5)]),
        (0.04, [person(101, score=0.5), person(400, score=0.5)]),
        (0.08, [person(102, score=0.45)]),
    )
    assert [ids(one) for one in shown] == [[1], [1], [1]]
    assert shown[2].scores.tolist() == pytest.approx([0.45])
    assert shown[2].opacity is None


def test_a_low_score_confirms_no_track():
    shown = feed(
        Tracker(SETTINGS, high_score=0.7),
        (0.0, [person(100, score=0.75)]),
        (0.04, [person(100, score=0.6)]),
        (0.08, [person(100, score=0.75)]),
    )
    assert [ids(one) for one in shown] == [[0], [], [1]]


def test_jitter_is_smoothed_without_lag_on_motion():
    rng = np.random.default_rng(5)
    raw, shown, truth = [], [], []
    tracker = Tracker(SETTINGS)
    for i in range(150):
        t = i / 25
        x = 120 + (0 if t < 2 else 140 * (t - 2) if t < 4 else 280)
        box = np.array(box_at(x, 150)) + rng.normal(0, 1.0, 4)
        (one,) = feed(tracker, (t, [(1, 0.95, *box)]))
        raw.append(box)
        shown.append(one.boxes_xyxy[0])
        truth.append(box_at(x, 150))
    raw, shown, truth = (np.array(boxes)[8:] for boxes in (raw, shown, truth))
    still = slice(0, 40)
    assert np.diff(shown[still], axis=0).std() < 0.35 * np.diff(raw[still], axis=0).std()
    moving = slice(55, 90)  # settled again after the start
    assert abs((shown - truth)[moving].mean()) < 0.6
    assert np.abs(shown - truth).max() < 9  # at the jerks of start and stop


def test_strength_zero_changes_no_box_and_no_mask():
    rng = np.random.default_rng(6)
    tracker = Tracker(SETTINGS.model_copy(update={"smoothing": 0.0}))
    for i in range(10):
        detected = found((1, 0.95, *(np.array(box_at(100, 150)) + rng.normal(0, 2, 4))), mask=rng.random((28, 28)))
        shown = tracker.update(i / 25, detected, SIZE_HW)
        assert shown.boxes_xyxy == pytest.approx(detected.boxes_xyxy, abs=1e-3)
        assert shown.mask_probs == pytest.approx(detected.mask_probs)


def test_boxes_and_masks_end_at_the_frames_edge():
    tracker = Tracker(SETTINGS)
    feed(tracker, *[(i / 25, [person(560 + 4 * i)]) for i in range(17)])
    (shown,) = feed(tracker, (17 / 25, []))  # held at 628: 5 pixels of 40 stick out
    x1, _, x2, _ = shown.boxes_xyxy[0]
    assert x2 == 643
    assert x2 - x1 == pytest.approx(35, abs=2)
    assert shown.mask_probs[0].min() > 0.9


def test_best_score_first_with_everything_in_the_same_order():
    tracker = Tracker(SETTINGS)
    rows = [(3, 0.91, *box_at(500, 60)), (1, 0.97, *box_at(80, 60)), (2, 0.94, *box_at(300, 60))]
    for i in range(3):
        (shown,) = feed(tracker, (i / 25, rows))
    assert shown.scores.tolist() == pytest.approx([0.97, 0.94, 0.91])
    assert shown.class_ids.tolist() == [1, 2, 3]
    assert shown.boxes_xyxy[:, 0].tolist() == pytest.approx([60, 280, 480], abs=0.1)


@pytest.mark.parametrize("change", ["size", "time"])
def test_another_size_or_time_running_backwards_ends_all_tracks(change):
    tracker = Tracker(SETTINGS)
    feed(tracker, (5.0, [person(100)]), (5.04, [person(100)]))
    pts_s, size_hw = (5.08, (720, 1280)) if change == "size" else (0.0, SIZE_HW)
    assert ids(tracker.update(pts_s, found(person(100)), size_hw)) == [2]


def test_memory_stays_bounded():
    tracker, sizes = Tracker(SETTINGS), []
    rng = np.random.default_rng(7)
    for i in range(400):
        feed(tracker, (i / 5, [person(rng.uniform(50, 600), rng.uniform(50, 300)) for _ in range(3)]))
        sizes.append(len(pickle.dumps(tracker)))
    assert max(sizes[100:]) < 1.5 * max(sizes[:100])


def test_inputs_are_not_changed():
    detected = found(person(100), person(300))
    before = replace(detected, mask_probs=detected.mask_probs.copy())
    tracker = Tracker(SETTINGS)
    for i in range(3):
        tracker.update(i / 25, detected, SIZE_HW)
    assert (detected.mask_probs == before.mask_probs).all()
    assert detected.track_ids is None


def test_an_empty_frame_of_an_unused_tracker():
    shown = Tracker(SETTINGS).update(0.0, Instances.empty(), SIZE_HW)
    assert len(shown) == 0
    assert shown.track_ids.shape == (0,)
