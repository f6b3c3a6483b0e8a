import numpy as np
import pytest

from pipeline.tracking.kalman import corners
from pipeline.tracking.track import Track, predict_tracks
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
