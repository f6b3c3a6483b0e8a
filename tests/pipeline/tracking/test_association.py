from dataclasses import replace

import numpy as np
import pytest

from pipeline.tracking.association import Predictions, associate, similarity_matrix
from tests.pipeline.tracking.scenes import box_at, found


def predictions(*rows, std=2.0, lost=None, confirmed=True):
    tracks = found(*[(class_id, 0.9, *box) for class_id, box in rows])
    count = len(rows)
    return Predictions(
        tracks.boxes_xyxy,
        tracks.mask_probs,
        tracks.class_ids,
        np.full(count, std, np.float32),
        np.zeros(count, np.float32) if lost is None else np.array(lost, np.float32),
        np.full(count, confirmed),
    )


def pairs(tracks, detected, high=None):
    high = np.ones(len(detected), bool) if high is None else np.array(high)
    return sorted(associate(tracks, detected, high))


@pytest.mark.parametrize(("tracks", "objects"), [(0, 0), (3, 0), (0, 2)])
def test_no_tracks_or_no_detections(tracks, objects):
    boxes = [box_at(50 * i, 60) for i in range(3)]
    detected = found(*[(1, 0.9, *box) for box in boxes[:objects]])
    assert pairs(predictions(*[(1, box) for box in boxes[:tracks]]), detected) == []


def test_the_best_sum_wins_over_the_best_single_pair():
    # Object 0 overlaps both tracks, track 0 more; object 1 overlaps only track 0.
    tracks = predictions((1, box_at(100, 100)), (1, box_at(120, 100)))
    detected = found((1, 0.9, *box_at(106, 100)), (1, 0.9, *box_at(86, 100)))
    assert pairs(tracks, detected) == [(0, 1), (1, 0)]


def test_a_low_score_matches_only_tracks_that_are_left_and_only_closely():
    tracks = predictions((1, box_at(100, 100)), (1, box_at(300, 100)))
    exact, near, poor = box_at(100, 100), box_at(108, 100), box_at(325, 100)
    detected = found((1, 0.9, *near), (1, 0.4, *exact), (1, 0.4, *poor))
    assert pairs(tracks, detected, [True, False, False]) == [(0, 0)]
    assert pairs(tracks, detected, [True, False, True]) == [(0, 0), (1, 2)]
    without_ids = predictions((1, exact), confirmed=False)
    assert pairs(without_ids, detected, [False, False, False]) == []
    assert pairs(without_ids, detected, [False, True, False]) == [(0, 1)]


def test_another_class_is_the_last_choice_but_possible():
    tracks = predictions((1, box_at(100, 100)))
    assert pairs(tracks, found((2, 0.9, *box_at(102, 100)))) == [(0, 0)]
    assert pairs(tracks, found((2, 0.9, *box_at(102, 100)), (1, 0.9, *box_at(110, 100)))) == [(0, 1)]


def test_masks_tell_objects_apart_whose_boxes_are_the_same():
    lower = np.tril(np.ones((28, 28)))
    tracks = predictions((1, box_at(100, 100)), (1, box_at(100, 100)))
    masks = np.stack([lower, lower.T]).astype(np.float32)
    tracks = replace(tracks, mask_probs=masks)
    both = found((1, 0.9, *box_at(100, 100)), (1, 0.8, *box_at(100, 100)), mask=lower)
    swapped = replace(both, mask_probs=masks[::-1].copy())
    assert pairs(tracks, swapped) == [(0, 1), (1, 0)]
    assert similarity_matrix(tracks, swapped)[0, 1] == pytest.approx(1)


def test_a_track_just_detected_goes_before_one_that_is_lost_for_long():
    tracks = predictions((1, box_at(100, 100)), (1, box_at(100, 100)), lost=[0.8, 0.0])
    assert pairs(tracks, found((1, 0.9, *box_at(100, 100)))) == [(1, 0)]


def test_without_overlap_only_the_same_class_and_size_within_the_gate():
    # 80 pixels to the side: no overlap of boxes 40 wide; size 57, gate 0.5 sizes + 3 deviations.
    certain, uncertain = predictions((1, box_at(100, 100))), predictions((1, box_at(100, 100)), std=25.0)
    beside = (1, 0.9, *box_at(180, 100))
    assert pairs(certain, found(beside)) == []
    assert pairs(uncertain, found(beside)) == [(0, 0)]
    assert pairs(uncertain, found(beside), [False]) == []
    assert pairs(uncertain, found((2, *beside[1:]))) == []
    assert pairs(uncertain, found((1, 0.9, *box_at(180, 100, 20, 40)))) == []
    # The same where the other track is matched by a detection with a low score.
    two = predictions((1, box_at(100, 100)), (1, box_at(400, 100)), std=25.0)
    assert pairs(two, found(beside, (1, 0.4, *box_at(400, 100))), [True, False]) == [(0, 0), (1, 1)]
    far = predictions((1, box_at(100, 100)), std=500.0)
    assert pairs(far, found((1, 0.9, *box_at(100 + 2.1 * 57, 100)))) == []
