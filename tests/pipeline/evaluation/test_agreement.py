import math

import numpy as np
import pytest

from pipeline.evaluation.agreement import Agreement, agreement, mask_agreement
from pipeline.records import Instances


def instances(*boxes, class_ids=None):
    ids = np.array(class_ids if class_ids is not None else [1] * len(boxes), np.int32)
    scores = np.linspace(0.9, 0.5, len(boxes), dtype=np.float32)
    return Instances(np.array(boxes, np.float32).reshape(-1, 4), ids, scores, np.ones((len(boxes), 28, 28), np.float32))


def test_the_same_objects_agree_in_any_order():
    one = instances((0, 0, 10, 30), (50, 5, 70, 15), class_ids=[1, 2])
    other = instances((50, 5, 70, 15), (0, 0, 10, 30), class_ids=[2, 1])
    assert agreement([one], [other]) == Agreement(2, 2, 2)
    assert agreement([one], [other]).recall == 1.0


def test_frames_are_counted_together_and_compared_one_by_one():
    box, elsewhere = (0, 0, 10, 30), (50, 5, 70, 15)
    same = agreement([instances(box), instances(elsewhere)], [instances(elsewhere), instances(elsewhere, box)])
    assert same == Agreement(expected=2, found=3, matched=1)
    assert same.recall == 0.5


def test_another_class_is_another_object():
    assert agreement([instances((0, 0, 10, 30))], [instances((0, 0, 10, 30), class_ids=[2])]).matched == 0


@pytest.mark.parametrize(("shift", "matched"), [(3, 1), (4, 0)])
def test_boxes_must_overlap_by_half_of_their_union(shift, matched):
    # two boxes 10 wide and 30 high, moved by s: (10 - s) / (10 + s) is 7/13 for 3 and 6/14 for 4
    assert agreement([instances((0, 0, 10, 30))], [instances((shift, 0, 10 + shift, 30))]).matched == matched
    assert agreement([instances((0, 0, 10, 30))], [instances((shift, 0, 10 + shift, 30))], 0.42).matched == 1


def test_an_object_is_in_one_pair_at_most_and_the_best_overlap_comes_first():
    expected = instances((0, 0, 10, 30), (2, 0, 12, 30))
    assert agreement([expected], [instances((2, 0, 12, 30))]) == Agreement(2, 1, 1)
    # greedily, the second takes the best; the first is left with 8/12 of the other, still enough
    assert agreement([expected], [instances((2, 0, 12, 30), (-2, 0, 8, 30))]).matched == 2


def test_nothing_expected_and_nothing_found():
    none, some = instances(), instances((0, 0, 10, 30), (50, 5, 70, 15))
    assert agreement([none], [none]).recall == 1.0
    assert agreement([none], [some]) == Agreement(0, 2, 0)
    assert agreement([some], [none]).recall == 0.0
    assert agreement([], []) == Agreement(0, 0, 0)
    with pytest.raises(ValueError, match="shorter"):
        agreement([none], [])


def test_missing_and_extra_objects_both_cost_f1():
    one, two = instances((0, 0, 10, 10)), instances((0, 0, 10, 10), (30, 0, 40, 10))
    # 2 * 1 / (1 + 2)
    assert agreement([one], [two]).f1 == agreement([two], [one]).f1 == pytest.approx(2 / 3)
    assert agreement([one, one], [two, one]).text == "2 matched of 2 and 3"
    assert math.isnan(agreement([instances()], [instances()]).f1)


def test_counts_add_up():
    assert Agreement(1, 2, 1) + Agreement(3, 4, 2) == Agreement(4, 6, 3)


@pytest.mark.parametrize(("threshold", "matched"), [(0.45, 1), (0.55, 0)])
def test_masks_must_overlap_not_boxes(threshold, matched):
    """The same box, of which the other mask covers the left half."""
    whole = instances((0, 0, 40, 30))
    probs = np.ones((1, 28, 28), np.float32)
    probs[:, :, 14:] = 0
    half = Instances(whole.boxes_xyxy, whole.class_ids, whole.scores, probs)
    assert mask_agreement(whole, half, (60, 80), threshold) == Agreement(1, 1, matched)
    assert agreement([whole], [half], 0.99).matched == 1


def test_masks_of_another_class_or_of_nothing_match_nothing():
    one, none = instances((0, 0, 40, 30)), instances()
    assert mask_agreement(one, instances((0, 0, 40, 30), class_ids=[2]), (60, 80), 0.5).matched == 0
    assert mask_agreement(one, none, (60, 80), 0.5) == Agreement(1, 0, 0)
    assert mask_agreement(none, none, (60, 80), 0.5) == Agreement(0, 0, 0)
