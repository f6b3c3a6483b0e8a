import numpy as np
import pytest

from pipeline.tracking.track import Track, advance_all
from tests.pipeline.tracking.scenes import box_at

MASK = np.ones((28, 28), np.float32)


def a_track(class_id=1, score=0.8):
    return Track(2.0, np.array(box_at(100, 50), np.float32), class_id, score, MASK)


def test_a_new_track_shows_what_was_found():
    track = a_track()
    assert (track.id, track.hits, track.class_id, track.lost_s(2.5)) == (0, 1, 1, 0.5)
    assert track.shown_xyxy.tolist() == list(box_at(100, 50))


def test_the_class_is_a_vote_weighted_by_score():
    track = a_track(1, 0.6)
    for class_id, score in ((2, 0.9), (1, 0.5), (2, 0.4), (2, 0.3)):
        advance_all([track], 0.04)
        track.see(3.0, track.shown_xyxy, class_id, score)
    assert track.class_id == 2  # 1.6 against 1.1
    assert track.hits == 5


def test_old_votes_fade():
    track = a_track(1, 0.9)
    for _ in range(20):
        track.see(2.0, track.shown_xyxy, 1, 0.9)
    advance_all([track], 30.0)
    track.see(32.0, track.shown_xyxy, 2, 0.5)
    assert track.class_id == 2


def test_what_is_shown_moves_on_with_the_motion():
    track = a_track()
    track.motion.velocity = np.array([50.0, -20.0, 0.0, -400.0])
    advance_all([track], 0.1)
    assert track.position == pytest.approx([105, 48, 40, 40])
    advance_all([track], 2.0)
    assert track.position[3] >= 1


def test_many_tracks_advance_as_each_by_itself():
    """Also one that shrinks to nothing, and one that never moved."""
    boxes = np.array([box_at(100, 50), box_at(300, 20, 8, 40), box_at(10, 200)], np.float32)
    later = np.array([box_at(109, 47), box_at(296, 22, 1, 33), box_at(10, 200)], np.float32)
    together, alone = ([Track(1.0, box, 1, 0.9, MASK) for box in boxes] for _ in range(2))
    for elapsed_s in (0.04, 0.0, 0.3):
        advance_all(together, elapsed_s)
        for track in alone:
            advance_all([track], elapsed_s)
        for track, other, box in zip(together, alone, later, strict=True):
            assert track.position.tolist() == other.position.tolist()
            assert track.motion.position.tolist() == other.motion.position.tolist()
            assert track.motion.center_std == other.motion.center_std
            track.see(2.0, box, 2, 0.8)
            other.see(2.0, box, 2, 0.8)
    assert together[0].position is not together[1].position
    advance_all([], 0.04)
