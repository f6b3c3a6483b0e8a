"""Carriers as a whole: on synthetic patches, and on the moving cut-outs of the benchmark."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.carry import compare, live, mean_iou, recorded, scene_examples
from benchmarks.moving_scene import MovingScene
from pipeline.motion.carry import make_carrier
from pipeline.records import Instances
from pipeline.settings.presentation_settings import CarryMode, MotionSettings
from tests.pipeline.motion.scenes import (
    HEIGHT,
    WIDTH,
    box_instances,
    frame_of,
    patch_frame,
    result_on,
    texture,
    window,
)

SETTINGS = MotionSettings()


def moving_box(index, speed=4.0):
    return (60 + speed * index, 50.0, 130 + speed * index, 110.0)


def moving_frame(index, speed=4.0):
    return patch_frame(index, 60 + speed * index, 50)


@pytest.fixture(scope="module")
def scene():
    return scene_examples(MovingScene(), 48)


def test_a_late_result_is_advanced_through_every_frame():
    carrier = make_carrier(SETTINGS, live=False)
    frames = [moving_frame(index) for index in range(9)]
    for frame in frames:
        carrier.see(frame)
    shown = carrier.carry(result_on(frames[2], box_instances(moving_box(2))), frames[8])
    np.testing.assert_allclose(shown.boxes_xyxy[0], moving_box(8), atol=1.0)
    assert shown.opacity is None


def test_a_very_late_result_takes_a_few_frames_to_catch_up(monkeypatch):
    monkeypatch.setattr("pipeline.motion.carry.MAX_STEPS_PER_FRAME", 4)
    carrier = make_carrier(SETTINGS, live=False)
    frames = [moving_frame(index, 2.0) for index in range(18)]
    for frame in frames[:13]:
        carrier.see(frame)
    late = result_on(frames[2], box_instances(moving_box(2, 2.0)))
    counts = [len(carrier.carry(late, frames[12]))]
    for frame in frames[13:]:
        carrier.see(frame)
        shown = carrier.carry(late, frame)
        counts.append(len(shown))
    # 10 steps to go, 4 a frame, one more a frame: after 4, 8, 12 of 10, 11, 12
    assert counts == [0, 0, 1, 1, 1, 1]
    np.testing.assert_allclose(shown.boxes_xyxy[0], moving_box(17, 2.0), atol=1.0)


def test_a_cut_drops_a_pending_result(monkeypatch):
    monkeypatch.setattr("pipeline.motion.carry.MAX_STEPS_PER_FRAME", 2)
    carrier = make_carrier(SETTINGS, live=False)
    frames = [moving_frame(index, 2.0) for index in range(8)]
    for frame in frames:
        carrier.see(frame)
    late = result_on(frames[0], box_instances(moving_box(0)))
    assert len(carrier.carry(late, frames[7])) == 0
    for index in range(8, 16):
        frame = frame_of(index, window(texture(77), 3, 2))
        carrier.see(frame)
        assert len(carrier.carry(late, frame)) == 0


def test_on_its_own_frame_a_recorded_result_is_shown_bit_for_bit():
    carrier = make_carrier(SETTINGS, live=False)
    instances = box_instances((10.3, 20.7, 99.9, 77.1), (150.5, 3.3, 200.1, 55.5))
    for index in (0, 1):
        frame = moving_frame(index)
        carrier.see(frame)
        shown = carrier.carry(result_on(frame, instances), frame)
        assert shown.boxes_xyxy.tolist() == instances.boxes_xyxy.tolist()
        np.testing.assert_array_equal(shown.mask_probs, instances.mask_probs)
        assert shown.scores.tolist() == instances.scores.tolist()


def test_live_results_do_not_make_a_box_jump():
    carrier = make_carrier(SETTINGS, live=True)
    lefts = []
    for index in range(24):
        frame = moving_frame(index, 2.0)
        carrier.see(frame)
        # the network is off by 8 pixels, to the left and to the right in turn
        key = index // 6 * 6
        wrong = np.array(moving_box(key, 2.0)) + (8 if key % 12 else -8) * np.array([1, 0, 1, 0])
        shown = carrier.carry(result_on(moving_frame(key, 2.0), box_instances(wrong)), frame)
        lefts.append(shown.boxes_xyxy[0, 0] - (60 + 2.0 * index))
    assert max(lefts) > 6
    assert min(lefts) < -6
    assert np.abs(np.diff(lefts)).max() < 9  # a jump would be 16


def test_a_cut_drops_everything_at_once_and_late_results_of_the_old_scene():
    carrier = make_carrier(SETTINGS, live=True)
    old = [moving_frame(index) for index in range(4)]
    for frame in old:
        carrier.see(frame)
        assert len(carrier.carry(result_on(old[0], box_instances(moving_box(0))), frame)) == 1
    new = [frame_of(index, window(texture(77), 3 + index, 2)) for index in range(4, 7)]
    for frame in new[:2]:
        carrier.see(frame)
        assert len(carrier.carry(result_on(old[0], box_instances(moving_box(0))), frame)) == 0
        assert len(carrier.carry(result_on(old[3], box_instances(moving_box(3))), frame)) == 0
    carrier.see(new[2])
    shown = carrier.carry(result_on(new[0], box_instances((40, 40, 90, 90))), new[2])
    np.testing.assert_allclose(shown.boxes_xyxy, [[38, 40, 88, 90]], atol=1.0)


def test_objects_that_the_tracker_holds_from_before_a_cut_are_not_shown():
    carrier = make_carrier(SETTINGS, live=False)

    def shown_ids(frame, ids, opacity):
        boxes = box_instances(*[(40 + 60 * i, 40, 90 + 60 * i, 90) for i in range(len(ids))])
        tracked = replace(boxes, track_ids=np.array(ids, np.int32), opacity=np.array(opacity, np.float32))
        carrier.see(frame)
        return carrier.carry(result_on(frame, tracked), frame).track_ids.tolist()

    old = [moving_frame(index) for index in range(2)]
    new = [frame_of(index, window(texture(77), 3 + index, 2)) for index in range(2, 6)]
    assert shown_ids(old[0], [1, 2], [1, 1]) == [1, 2]
    assert shown_ids(old[1], [1, 2], [1, 0.8]) == [1, 2]  # without a cut, a missed object is held
    assert shown_ids(new[0], [1, 2], [0.9, 0.7]) == []
    assert shown_ids(new[1], [1, 2, 3], [0.8, 0.6, 1]) == [3]
    assert shown_ids(new[2], [2, 3], [1, 0.9]) == [2, 3]  # found in the new scene as well


def test_a_result_that_is_too_old_is_not_shown():
    carrier = make_carrier(MotionSettings(max_age_s=0.2), live=False)
    frames = [moving_frame(index, 1.0) for index in range(10)]
    for frame in frames:
        carrier.see(frame)
    assert len(carrier.carry(result_on(frames[0], box_instances(moving_box(0))), frames[9])) == 0
    assert len(carrier.carry(result_on(frames[7], box_instances(moving_box(7, 1.0))), frames[9])) == 1


def test_an_object_that_leaves_the_frame_shrinks_and_goes():
    carrier = make_carrier(SETTINGS, live=False)
    result = result_on(moving_frame(0, 9.0), box_instances(moving_box(0)))
    widths = []
    for index in range(36):
        frame = moving_frame(index, 9.0)
        carrier.see(frame)
        shown = carrier.carry(result, frame)
        boxes = shown.boxes_xyxy
        assert (boxes >= 0).all()
        assert (boxes[:, [0, 2]] <= WIDTH).all()
        assert (boxes[:, [1, 3]] <= HEIGHT).all()
        widths.append(float(boxes[0, 2] - boxes[0, 0]) if len(shown) else 0.0)
    assert widths[5] == pytest.approx(70, abs=3)
    # its right edge meets the frame's after (322 - 130) / 9 = 21 frames, its left edge after 29
    assert widths[25] == pytest.approx(322 - 60 - 225, abs=8)
    assert widths[-1] == 0


def test_empty_results_broken_boxes_and_a_change_of_size():
    carrier = make_carrier(SETTINGS, live=False)
    first = moving_frame(0)
    carrier.see(first)
    assert len(carrier.carry(result_on(first, Instances.empty()), first)) == 0
    second = moving_frame(1)
    carrier.see(second)
    broken = box_instances((10, 10, 10, 50), (np.nan, 0, 5, 5), (20, 20, 60, 60))
    assert carrier.carry(result_on(second, broken), second).boxes_xyxy.tolist() == [[20, 20, 60, 60]]
    larger = frame_of(2, texture())
    carrier.see(larger)
    assert len(carrier.carry(result_on(second, broken), larger)) == 0
    result = result_on(larger, box_instances((20, 20, 60, 60)))
    assert len(carrier.carry(result, larger)) == 1


def test_carrying_the_same_twice_gives_the_same():
    def run():
        carrier = make_carrier(SETTINGS, live=True)
        for index in range(8):
            carrier.see(moving_frame(index))
        key = moving_frame(3)
        return carrier.carry(result_on(key, box_instances(moving_box(3))), moving_frame(7)).boxes_xyxy.tolist()

    assert run() == run()


def test_carried_masks_beat_held_ones_by_far(scene):
    rows = compare(scene, every=6)
    for row in rows:
        assert row.carried >= row.held + 0.10, row
    recorded_row, live_row = rows
    assert recorded_row.carried > 0.85
    assert live_row.carried > 0.75
    assert recorded_row.every_frame > 0.95


def test_with_track_ids_it_is_no_worse(scene):
    tracked = [
        replace(example, found=replace(example.found, track_ids=np.array([3, 2, 1], np.int32)))
        for example in scene
        if len(example.found) == 3
    ]
    assert len(tracked) == len(scene)
    shown = live(tracked, 6, 6, make_carrier(SETTINGS, live=True))
    assert mean_iou(tracked, shown, 14) > 0.75
    assert set(shown[-1].instances.track_ids.tolist()) == {1, 2, 3}


def test_every_frame_inferred_is_shown_as_it_is(scene):
    shown = recorded(scene[:5], 1, make_carrier(SETTINGS, live=False))
    for example, segmented in zip(scene[:5], shown, strict=True):
        np.testing.assert_array_equal(segmented.instances.boxes_xyxy, example.found.boxes_xyxy)
        np.testing.assert_array_equal(segmented.instances.mask_probs, example.found.mask_probs)


def test_masks_can_be_held_instead():
    frame = moving_frame(0)
    carrier = make_carrier(MotionSettings(carry=CarryMode.HOLD), live=True)
    carrier.see(frame)
    result = result_on(frame, box_instances(moving_box(0)))
    assert carrier.carry(result, moving_frame(5)) is result.instances
    larger = frame_of(6, texture())
    carrier.see(larger)
    assert len(carrier.carry(result, larger)) == 0


def test_objects_with_the_ids_of_those_on_screen_reuse_their_motion():
    carrier = make_carrier(SETTINGS, live=False)
    frames = [moving_frame(index) for index in range(14)]

    def tracked(index, boxes, ids):
        return result_on(frames[index], replace(box_instances(*boxes), track_ids=np.array(ids, np.int32)))

    early = tracked(0, [moving_box(0)], [7])
    late = tracked(6, [(200, 20, 300, 90), moving_box(6)], [8, 7])
    for index, frame in enumerate(frames):
        carrier.see(frame)
        shown = carrier.carry(early if index < 12 else late, frame)
    np.testing.assert_array_equal(shown.track_ids, [8, 7])
    np.testing.assert_allclose(shown.boxes_xyxy, [(200, 20, 300, 90), moving_box(13)], atol=1.0)
