import numpy as np
import pytest

from pipeline.tracking.track import Track
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
        track.advance(0.04)
        track.see(3.0, track.shown_xyxy, class_id, score)
    assert track.class_id == 2  # 1.6 against 1.1
    assert track.hits == 5


def test_old_votes_fade():
    track = a_track(1, 0.9)
    for _ in range(20):
        track.see(2.0, track.shown_xyxy, 1, 0.9)
    track.advance(30.0)
    track.see(32.0, track.shown_xyxy, 2, 0.5)
    assert track.class_id == 2


def test_what_is_shown_moves_on_with_the_motion():
    track = a_track()
    track.motion.velocity = np.array([50.0, -20.0, 0.0, -400.0])
    track.advance(0.1)
    assert track.position == pytest.approx([105, 48, 40, 40])
    track.advance(2.0)
    assert track.position[3] >= 1
