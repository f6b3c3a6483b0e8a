from dataclasses import replace

import numpy as np
import pytest

from pipeline.motion.blend import DisplayState, match, start_transition
from pipeline.motion.flow_targets import Targets
from tests.pipeline.motion.scenes import HEIGHT, WIDTH, box_instances, frame_of, texture, window

ONE = (1.0, 1.0)
FRAME = frame_of(10, window(texture(), 0, 0))
GRAY = FRAME.image_bgr[..., 0].copy()
NOW_S = FRAME.pts_s
STEP_S = 0.04


def shown(*boxes, computed_s=NOW_S, opacity=1.0, **changes):
    instances = replace(box_instances(*boxes), **changes)
    fresh = DisplayState.invisible(instances, Targets.from_instances(instances, ONE, GRAY, NOW_S), computed_s)
    return replace(fresh, opacity=np.full(len(boxes), opacity, np.float32))


def fresh(*boxes, **changes):
    return shown(*boxes, opacity=0.0, **changes)


def box_after(screen, seconds, blend_s=0.2):
    return screen.boxes_and_masks(ONE, NOW_S + seconds, blend_s)[0]


def test_a_box_blends_from_old_to_new():
    screen = start_transition(shown((10, 10, 60, 60)), fresh((20, 10, 70, 60)), ONE, NOW_S, 0.0, 0.2)
    np.testing.assert_allclose(box_after(screen, 0)[0], [10, 10, 60, 60], atol=1e-4)
    np.testing.assert_allclose(box_after(screen, 0.1)[0], [15, 10, 65, 60], atol=1e-4)
    np.testing.assert_allclose(box_after(screen, 0.2)[0], [20, 10, 70, 60], atol=1e-4)
    widths = [box_after(screen, t)[0, 0] for t in np.linspace(0, 0.2, 9)]
    assert widths == sorted(widths)


def test_the_blend_starts_before_the_frame_where_the_result_arrives():
    screen = start_transition(shown((10, 10, 60, 60)), fresh((20, 10, 70, 60)), ONE, NOW_S, STEP_S, 0.2)
    assert 10 < box_after(screen, 0)[0, 0] < 12
    np.testing.assert_allclose(box_after(screen, 0.16)[0], [20, 10, 70, 60], atol=1e-4)


def test_a_mask_blends_too():
    left, right = np.zeros((1, 28, 28), np.float32), np.zeros((1, 28, 28), np.float32)
    left[:, :, :20], right[:, :, 8:] = 1, 1
    before = shown((10, 10, 60, 60), mask_probs=left)
    screen = start_transition(before, fresh((10, 10, 60, 60), mask_probs=right), ONE, NOW_S, 0.0, 0.2)
    half = screen.boxes_and_masks(ONE, NOW_S + 0.1, 0.2)[1][0, 5]
    np.testing.assert_allclose(half[[2, 14, 25]], [0.5, 1, 0.5], atol=1e-5)
    np.testing.assert_array_equal(screen.boxes_and_masks(ONE, NOW_S + 0.2, 0.2)[1], right)


def test_a_result_that_arrives_during_a_blend_starts_from_what_is_displayed():
    first = start_transition(shown((10, 10, 60, 60)), fresh((20, 10, 70, 60)), ONE, NOW_S, 0.0, 0.2)
    seen = box_after(first, 0.1)
    second = start_transition(first, fresh((30, 10, 80, 60)), ONE, NOW_S + 0.1, 0.0, 0.2)
    np.testing.assert_allclose(second.boxes_and_masks(ONE, NOW_S + 0.1, 0.2)[0], seen, atol=1e-4)


def test_without_blending_the_new_result_is_shown_at_once():
    screen = start_transition(shown((10, 10, 60, 60)), fresh((20, 10, 70, 60)), ONE, NOW_S, STEP_S, 0.0)
    assert box_after(screen, 0, blend_s=0.0).tolist() == [[20, 10, 70, 60]]


def fade(screen, elapsed_s=STEP_S, fade_s=0.2, max_age_s=10.0, at_s=NOW_S):
    return screen.fade(at_s, elapsed_s, fade_s, max_age_s)


def test_new_ones_fade_in_known_ones_stay_vanished_ones_fade_out():
    before = shown((10, 10, 60, 60), (200, 10, 250, 60))
    screen = fade(start_transition(before, fresh((12, 10, 62, 60), (100, 100, 140, 150)), ONE, NOW_S, STEP_S, 0.2))
    drawn = screen.visible_instances(ONE, FRAME, 0.2)
    opacities = {round(float(x)): float(o) for x, o in zip(drawn.boxes_xyxy[:, 0], drawn.opacity, strict=True)}
    assert opacities == pytest.approx({10: 1.0, 100: 0.2, 200: 0.8})
    for _ in range(4):
        screen = fade(screen)
    drawn = screen.visible_instances(ONE, FRAME, 0.2)
    assert len(drawn) == len(screen) == 2
    assert drawn.opacity is None


def test_fading_goes_by_time_not_by_frames():
    new = start_transition(DisplayState.empty(), fresh((10, 10, 60, 60)), ONE, NOW_S, 0.0, 0.2)
    quick, slow = fade(new, elapsed_s=0.1), new
    for _ in range(5):
        slow = fade(slow, elapsed_s=0.02)
    assert [quick.opacity[0], slow.opacity[0]] == pytest.approx([0.5, 0.5])


def test_without_a_fade_opacity_changes_at_once():
    before = shown((10, 10, 60, 60))
    screen = fade(start_transition(before, fresh((200, 10, 250, 60)), ONE, NOW_S, STEP_S, 0.0), fade_s=0.0)
    assert screen.opacity.tolist() == [1.0]
    assert len(screen) == 1


def test_a_vanished_object_that_returns_keeps_its_opacity():
    gone = fade(start_transition(shown((10, 10, 60, 60)), fresh(), ONE, NOW_S, STEP_S, 0.2))
    assert gone.fading_out.tolist() == [True]
    back = start_transition(gone, fresh((10, 10, 60, 60)), ONE, NOW_S, STEP_S, 0.2)
    assert back.fading_out.tolist() == [False]
    assert back.opacity == pytest.approx([0.8])


def test_old_objects_fade():
    old = shown((10, 10, 60, 60), computed_s=NOW_S - 1.9)
    assert fade(old, max_age_s=2.0).opacity == pytest.approx([0.8])  # one step towards half
    assert fade(old, elapsed_s=1.0, max_age_s=2.0).opacity == pytest.approx([0.5])
    assert fade(old, elapsed_s=1.0, max_age_s=2.0, at_s=NOW_S + 0.2).opacity == pytest.approx([0.0])
    assert len(fade(old, elapsed_s=1.0, max_age_s=1.0).visible_instances(ONE, FRAME, 0.2)) == 0


def test_occluded_objects_fade():
    screen = shown((10, 10, 60, 60), (100, 10, 150, 60))
    screen = replace(screen, targets=replace(screen.targets, occluded_s=np.array([0.5, 0.1], np.float32)))
    assert fade(screen).opacity == pytest.approx([0.8, 1.0])


def test_the_opacity_of_a_result_is_kept():
    held = fresh((10, 10, 60, 60))
    held = replace(held, source=replace(held.source, opacity=np.array([0.4], np.float32)))
    screen = fade(start_transition(DisplayState.empty(), held, ONE, NOW_S, 1.0, 0.2), elapsed_s=1.0)
    assert screen.opacity == pytest.approx([0.4])


def test_track_ids_and_classes_travel_and_the_best_score_comes_first():
    before = shown((200, 10, 250, 60), track_ids=np.array([5], np.int32), scores=np.array([0.95], np.float32))
    new = fresh((10, 10, 60, 60), (100, 10, 150, 60), track_ids=np.array([7, 8], np.int32))
    drawn = fade(start_transition(before, new, ONE, NOW_S, STEP_S, 0.2)).visible_instances(ONE, FRAME, 0.2)
    assert drawn.track_ids.tolist() == [5, 7, 8]
    assert drawn.scores.tolist() == sorted(drawn.scores.tolist(), reverse=True)


def test_results_with_and_without_ids_or_with_other_mask_sizes_meet():
    before = shown((200, 10, 250, 60), track_ids=np.array([5], np.int32))
    small = box_instances((10, 10, 60, 60), (201, 10, 251, 60), side=14)
    new = DisplayState.invisible(small, Targets.from_instances(small, ONE, GRAY, NOW_S), NOW_S)
    drawn = fade(start_transition(before, new, ONE, NOW_S, STEP_S, 0.2)).visible_instances(ONE, FRAME, 0.2)
    assert drawn.mask_probs.shape == (2, 14, 14)
    other = fresh((100, 100, 140, 150))
    both = fade(start_transition(before, other, ONE, NOW_S, STEP_S, 0.2)).visible_instances(ONE, FRAME, 0.2)
    assert sorted(both.track_ids.tolist()) == [0, 5]


def test_objects_outside_the_frame_are_not_drawn():
    screen = shown((-60, 10, -5, 60), (WIDTH - 20, 10, WIDTH + 30, HEIGHT + 20))
    drawn = screen.visible_instances(ONE, FRAME, 0.0)
    assert drawn.boxes_xyxy.tolist() == [[WIDTH - 20, 10, WIDTH, HEIGHT]]


def test_an_empty_screen():
    nothing = DisplayState.empty()
    assert len(fade(nothing).visible_instances(ONE, FRAME, 0.2)) == 0
    assert len(start_transition(nothing, DisplayState.empty(), ONE, 0.0, 0.0, 0.2)) == 0


def with_ids(instances, *ids):
    return replace(instances, track_ids=np.array(ids, np.int32))


def test_masks_count_not_boxes():
    one, other = box_instances((0, 0, 40, 40)), box_instances((0, 0, 40, 40))
    left = np.zeros((1, 28, 28), np.float32)
    left[:, :, :14] = 1
    assert match(one, other) == [(0, 0)]
    assert match(replace(one, mask_probs=left), other) == [(0, 0)]
    assert match(replace(one, mask_probs=left), replace(other, mask_probs=1 - left)) == []


def test_the_assignment_with_the_best_sum_wins():
    shown = box_instances((0, 0, 100, 50), (60, 0, 160, 50))
    found = box_instances((50, 0, 150, 50), (110, 0, 210, 50))
    # the first new one overlaps the second old one most, but then the second new one fits that one too:
    # 0-0 is 50/150, 1-0 is 90/110, 1-1 is 50/150; the best sum is 1-0 alone against 0-0 and 1-1
    assert sorted(match(shown, found)) in ([(1, 0)], [(0, 0), (1, 1)])
    far = box_instances((50, 0, 150, 50), (400, 0, 500, 50))
    assert match(shown, far) == [(1, 0)]


def test_classes_do_not_mix():
    assert match(box_instances((0, 0, 10, 10)), box_instances((0, 0, 10, 10), class_id=2)) == []


def test_track_ids_win_over_place():
    shown = with_ids(box_instances((0, 0, 20, 20), (100, 0, 120, 20)), 7, 8)
    found = with_ids(box_instances((100, 0, 120, 20), (0, 0, 20, 20)), 7, 8)
    assert sorted(match(shown, found)) == [(0, 0), (1, 1)]


def test_two_ids_never_match_but_an_object_without_id_may():
    shown = with_ids(box_instances((0, 0, 20, 20)), 7)
    assert match(shown, with_ids(box_instances((0, 0, 20, 20)), 9)) == []
    assert match(shown, with_ids(box_instances((0, 0, 20, 20)), 0)) == [(0, 0)]
    assert match(shown, box_instances((0, 0, 20, 20))) == [(0, 0)]


def test_nothing_to_match():
    none, one = box_instances(), box_instances((0, 0, 9, 9))
    assert match(none, one) == match(one, none) == match(none, none) == []
