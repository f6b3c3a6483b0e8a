import numpy as np
import pytest

from pipeline.motion.flow import FlowHistory
from pipeline.motion.flow_targets import POINTS, Targets
from tests.pipeline.motion.scenes import WIDTH, box_instances, frame_of, patch_frame, texture, window

FULL = (1.0, 1.0)


def follow(frames, instances):
    """The targets on each frame, at full resolution."""
    history = FlowHistory(WIDTH, 60.0)
    history.add(frames[0])
    targets = [Targets.from_instances(instances, FULL, history.last.gray, frames[0].pts_s)]
    for frame in frames[1:]:
        assert history.add(frame)
        targets.append(targets[-1].advance(history.last))
    return targets


def moved_point(targets, x, y):
    """Where the frame's point (x, y) went, in pixels, for each object."""
    start = complex(x - 0.5, y - 0.5)
    moved = targets.transform.linear * start + targets.transform.translation
    return np.stack([moved.real + 0.5, moved.imag + 0.5], axis=1)


def test_points_lie_inside_the_mask_and_count_more_in_its_middle():
    instances = box_instances((100, 40, 180, 140))
    mask = np.zeros((1, 28, 28), np.float32)
    mask[0, 14:, :] = 1  # only the lower half
    instances = box_instances((100, 40, 180, 140)).__class__(
        instances.boxes_xyxy, instances.class_ids, instances.scores, mask
    )
    targets = Targets.from_instances(instances, (0.5, 0.5), np.zeros((90, 160), np.uint8), 0.0)
    x, y = (targets.points.real + 0.5) / 0.5, (targets.points.imag + 0.5) / 0.5
    assert targets.points.shape == (1, POINTS)
    assert (x > 100).all() and (x < 180).all() and (y > 90).all() and (y < 140).all()  # noqa: PT018
    middle = np.abs(y - 115) < 8
    assert targets.weights[middle].mean() > targets.weights[~middle].mean()


@pytest.mark.parametrize("at_once", [1, 2, 4])
def test_an_object_follows_its_own_motion_not_that_of_the_background(at_once):
    frames = [patch_frame(i, 60 + 5.5 * i, 50 + 2.25 * i) for i in range(9)]
    still, moving = (200, 20, 300, 90), (60, 50, 130, 110)
    history = FlowHistory(WIDTH, 60.0)
    for frame in frames:
        history.add(frame)
    gray, steps = history.steps_since(frames[0])
    last = Targets.from_instances(box_instances(moving, still), FULL, gray, frames[0].pts_s)
    for i in range(0, len(steps), at_once):
        last = last.advance(*steps[i : i + at_once])
    np.testing.assert_allclose(moved_point(last, 95, 80)[0], [95 + 44, 80 + 18], atol=0.5)
    np.testing.assert_allclose(moved_point(last, 250, 55)[1], [250, 55], atol=0.3)
    assert last.time_s == frames[-1].pts_s
    np.testing.assert_allclose(last.velocity, [5.5 + 2.25j, 0], atol=0.4)  # a step, however many were taken at once


def test_scale_is_tracked():
    picture, frames = texture(), []
    import cv2

    for i in range(8):
        growth = 1.02**i
        matrix = np.array([[growth, 0, 161 * (1 - growth)], [0, growth, 90 * (1 - growth)]])
        frames.append(frame_of(i, cv2.warpAffine(window(picture, 20, 20), matrix, (WIDTH, 180))))
    last = follow(frames, box_instances((60, 40, 200, 150)))[-1]
    assert abs(last.transform.linear[0]) == pytest.approx(1.02**7, abs=0.01)
    np.testing.assert_allclose(moved_point(last, 60, 40)[0], [161 - 101 * 1.02**7, 90 - 50 * 1.02**7], atol=0.8)


def test_occlusion_is_measured_in_seconds_not_frames():
    picture = window(texture(), 20, 20)
    covered = picture.copy()
    covered[30:140, 50:200] = 255
    frames = [frame_of(0, picture), *(frame_of(i, covered) for i in range(1, 6))]
    targets = follow(frames, box_instances((80, 50, 160, 120), (230, 50, 300, 120)))
    assert targets[0].occluded_s.tolist() == [0, 0]
    np.testing.assert_allclose(targets[-1].occluded_s, [5 * 0.04, 0], atol=1e-6)


def test_a_change_of_illumination_is_no_occlusion():
    picture = window(texture(), 20, 20)
    frames = [frame_of(i, (picture * (1 - 0.05 * i)).astype(np.uint8)) for i in range(6)]
    last = follow(frames, box_instances((80, 50, 160, 120)))[-1]
    assert last.occluded_s.tolist() == [0]
    np.testing.assert_allclose(moved_point(last, 120, 80)[0], [120, 80], atol=0.3)


def test_targets_without_texture_or_outside_the_frame_do_not_move():
    gray = frame_of(0, np.full((180, WIDTH, 3), 90, np.uint8))
    frames = [gray, frame_of(1, gray.image_bgr), frame_of(2, gray.image_bgr)]
    last = follow(frames, box_instances((80, 50, 160, 120), (-90, -50, -20, -10), (10, 10, 10.5, 10.5)))[-1]
    np.testing.assert_allclose(last.transform.linear, 1, atol=1e-3)
    np.testing.assert_allclose(last.transform.translation, 0, atol=0.1)


@pytest.mark.parametrize("count", [0, 1, 2, 5, 6])
def test_advance_through_ends_at_the_last_step(count):
    frames = [patch_frame(i, 60 + 4 * i, 50) for i in range(count + 1)]
    history = FlowHistory(WIDTH, 60.0)
    for frame in frames:
        history.add(frame)
    gray, steps = history.steps_since(frames[0])
    last = Targets.from_instances(box_instances((60, 50, 130, 110)), FULL, gray, frames[0].pts_s).advance_through(steps)
    np.testing.assert_allclose(moved_point(last, 95, 80), [[95 + 4 * count, 80]], atol=0.6)
    assert last.time_s == frames[-1].pts_s


def test_advance_through_select_concatenate_and_no_targets():
    frames = [patch_frame(i, 60 + 4 * i, 50) for i in range(5)]
    history = FlowHistory(WIDTH, 60.0)
    for frame in frames:
        history.add(frame)
    gray, steps = history.steps_since(frames[0])
    boxes = box_instances((60, 50, 130, 110), (200, 20, 300, 90))
    both = Targets.from_instances(boxes, FULL, gray, 0.0).advance_through(steps)
    np.testing.assert_allclose(moved_point(both, 95, 80), [[95 + 16, 80], [95, 80]], atol=0.6)
    swapped = both.select(np.array([1])).concatenate(both.select(np.array([0])))
    np.testing.assert_allclose(moved_point(swapped, 95, 80), moved_point(both, 95, 80)[::-1])
    none = Targets.from_instances(box_instances(), FULL, gray, 0.0).advance_through(steps)
    assert len(none) == 0
    assert none.time_s == frames[-1].pts_s


def steps_of(frames):
    history = FlowHistory(WIDTH, 60.0)
    for frame in frames:
        history.add(frame)
    return history.steps_since(frames[0])


def test_transforms_to_earlier_frames_are_kept_and_those_between_interpolated():
    frames = [patch_frame(i, 60 + 4 * i, 50) for i in range(7)]
    gray, steps = steps_of(frames)
    start = Targets.from_instances(box_instances((60, 50, 130, 110)), FULL, gray, frames[0].pts_s)
    targets = start.advance(steps[0]).advance(*steps[1:5]).advance(steps[5])
    # Frame 3 lies between the kept frames 1 and 5: at constant velocity, interpolation finds where it was.
    for index in (0, 1, 3, 5, 6):
        at = targets.transform_at(frames[index].pts_s).apply(np.array([95 + 80j], np.complex64))
        np.testing.assert_allclose(at, [95 + 4 * index + 80j], atol=0.6)
    before_all = targets.transform_at(frames[0].pts_s - 1.0)
    np.testing.assert_array_equal(before_all.translation, 0)


def test_an_object_with_a_reference_advances_by_all_steps_at_once():
    frames = [patch_frame(i, 60 + 6 * i, 50) for i in range(8)]
    gray, steps = steps_of(frames)
    known = Targets.from_instances(box_instances((60, 50, 130, 110)), FULL, gray, frames[0].pts_s)
    for step in steps:
        known = known.advance(step)
    late = Targets.from_instances(box_instances((72, 50, 142, 110)), FULL, steps[1].gray, frames[2].pts_s)
    late = late.advance_like(known, steps[2:])
    np.testing.assert_allclose(moved_point(late, 107, 80), [[107 + 6 * 5, 80]], atol=0.6)
    assert late.time_s == frames[7].pts_s
    assert [time_s for time_s, _ in late.history] == [frames[2].pts_s, frames[7].pts_s]


def test_advancing_jointly_is_advancing_each():
    frames = [patch_frame(i, 60 + 4 * i, 50) for i in range(4)]
    gray, steps = steps_of(frames)
    moving = Targets.from_instances(box_instances((60, 50, 130, 110)), FULL, gray, frames[0].pts_s).advance(steps[0])
    moving = moving.advance(steps[1])
    still = Targets.from_instances(box_instances((200, 20, 300, 90)), FULL, steps[1].gray, frames[2].pts_s)
    together = moving.advance_jointly(still, steps[2])
    for one, each in zip(together, (moving.advance(steps[2]), still.advance(steps[2])), strict=True):
        np.testing.assert_allclose(one.transform.translation, each.transform.translation, atol=1e-3)
        assert [time_s for time_s, _ in one.history] == [time_s for time_s, _ in each.history]
    none = Targets.from_instances(box_instances(), FULL, gray, frames[2].pts_s)
    assert [len(targets) for targets in none.advance_jointly(still, steps[2])] == [0, 1]
