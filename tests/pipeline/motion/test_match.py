from dataclasses import replace

import numpy as np

from pipeline.motion.match import match
from tests.pipeline.motion.scenes import box_instances


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
