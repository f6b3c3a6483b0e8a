"""Tracking quality on the synthetic sequence. The comments explain the bounds."""

import numpy as np
import pytest

from benchmarks.tracking_scores import evaluate, overlaps
from benchmarks.tracking_sequence import ACTORS, HEIGHT, SIZE_HW, WIDTH, Noise, detect, keep_frames, render
from benchmarks.tracking_sequence import true_frames as make_truth
from pipeline.settings.presentation_settings import TrackingSettings
from pipeline.tracking.track import BoxKalmanFilter
from pipeline.tracking.tracker import Tracker

SEEDS = (1, 2)
SURE_SCORE = 0.6
# Measured: with these seeds HOTA 0.82, IDF1 0.93, 1 switch of ids (the cat, who leaves and comes back); with the motion
# model switched off at most HOTA 0.74, IDF1 0.80, at least 15 switches. Over seeds 1 to 6: HOTA 0.81 (0.77 at least),
# IDF1 0.91 (0.84 at least), 1 to 3 switches.
LEAST_HOTA, LEAST_IDF1, MOST_SWITCHES = 0.78, 0.87, 4


@pytest.fixture(scope="module")
def truth():
    return list(make_truth())


def track(truth, seed, settings, noise=None):
    """The frames that reached the detector, and what the tracker showed on them."""
    noise = noise or Noise()
    rng = np.random.default_rng(seed)
    frames = keep_frames(truth, noise, rng)
    tracker = Tracker(settings, SURE_SCORE)
    return frames, [tracker.update(frame.pts_s, detect(frame, noise, rng), SIZE_HW) for frame in frames]


def test_the_sequence_is_what_it_claims(truth):
    assert {item.id for frame in truth for item in frame.objects} == set(range(1, len(ACTORS) + 1))
    present = {number: [any(item.id == number for item in frame.objects) for frame in truth] for number in range(1, 10)}
    cat_at_4_to_8_s = "".join("x" if present[6][25 * second] else "-" for second in (4, 5, 6, 7, 8))
    assert cat_at_4_to_8_s == "xx--x"  # it leaves and comes back
    assert not all(present[3])  # the one who stands is hidden now and then
    middle = truth[len(truth) // 2]
    picture = render(middle)
    assert picture.shape == (HEIGHT, WIDTH, 3)
    for item in middle.objects:
        x1, y1, x2, y2 = item.box_xyxy.astype(int)
        assert item.mask.shape == (y2 - y1, x2 - x1)
        assert item.mask.any(axis=0).all() or item.share < 1
        assert 0 <= x1 < x2 <= WIDTH


def test_ids_stay_on_their_objects(truth):
    for seed in SEEDS:
        scores = evaluate(*track(truth, seed, TrackingSettings()))
        assert scores.hota >= LEAST_HOTA
        assert scores.idf1 >= LEAST_IDF1
        assert scores.id_switches <= MOST_SWITCHES
        assert scores.ids <= 15  # nine actors, one of whom comes back, and false positives every seventh frame
        assert scores.mota >= 0.93


def test_without_its_motion_model_it_fails(truth, monkeypatch):
    update = BoxKalmanFilter.update

    def stand_still(self, box_xyxy):
        update(self, box_xyxy)
        self.velocity = self.velocity * 0

    monkeypatch.setattr(BoxKalmanFilter, "update", stand_still)
    for seed in SEEDS:
        scores = evaluate(*track(truth, seed, TrackingSettings()))
        assert scores.hota < LEAST_HOTA - 0.02
        assert scores.idf1 < LEAST_IDF1 - 0.04
        assert scores.id_switches > 2 * MOST_SWITCHES


def test_smoothing_does_not_move_masks_off_their_objects(truth):
    raw = evaluate(*track(truth, 3, TrackingSettings(smoothing=0.0, hold_s=0.0)))
    smoothed = evaluate(*track(truth, 3, TrackingSettings(hold_s=0.0)))
    assert smoothed.overlap >= raw.overlap - 0.003
    assert smoothed.id_switches == raw.id_switches


def test_smoothing_reduces_the_flicker_of_a_still_object(truth):
    noise = Noise(jitter=0.015, missed=0.0, false_positives=0.0, wrong_class=0.0, dropped=0.0)
    before_the_crowd = [frame for frame in truth if frame.pts_s < 2.0]

    def flicker(smoothing):
        settings = TrackingSettings(smoothing=smoothing)
        _, shown = track(before_the_crowd, 4, settings, noise)
        best = []
        for frame, instances in zip(before_the_crowd, shown, strict=True):
            column = overlaps([item for item in frame.objects if item.id == 3], instances).argmax()
            best.append(instances.boxes_xyxy[column])
        return float(np.abs(np.diff(np.array(best), axis=0)).mean())

    assert flicker(1.0) < flicker(0.5) < 0.6 * flicker(0.0)
