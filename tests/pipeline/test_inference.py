from dataclasses import replace
from threading import Event

import numpy as np
import pytest

from pipeline.errors import InputError
from pipeline.inference import infer
from pipeline.settings import TrackingSettings
from pipeline.slot import Overflow, Slot, SlotClosed
from pipeline.stats import RunStats
from pipeline.tracking.tracker import Tracker
from tests.pipeline.fakes import HEIGHT, WIDTH, FakeClock, FakeSegmenter, make_frame, make_instances


def filled(count):
    frames = Slot(10, Overflow.WAIT)
    for index in range(count):
        frames.put(make_frame(index, captured_at_s=90.0))
    frames.close()
    return frames


def test_each_frame_comes_out_with_its_instances_and_times():
    clock, stats, ready = FakeClock(100.0), RunStats(), Event()

    def think(index):
        clock.now_s += 0.25

    segmenter, results = FakeSegmenter(before=think), Slot(10, Overflow.WAIT)
    with pytest.raises(SlotClosed):
        infer(segmenter, filled(3), results, stats, clock, ready, pytest.fail)
    out = results.get_all()
    assert [item.frame.index for item in out] == [0, 1, 2]
    assert [item.instances.boxes_xyxy[0, 0] for item in out] == [0, 1, 2]
    assert out[1].times.inference_started_at_s == 100.25
    assert out[1].times.inference_s == 0.25
    assert ready.is_set()
    assert segmenter.closed == 1
    assert stats.overall().inferred == 3


def test_a_tracker_gets_every_result_with_its_time_and_size():
    class FakeTracker:
        unsure_score = 0.4

        def __init__(self):
            self.seen = []

        def update(self, pts_s, instances, size_hw):
            self.seen.append((pts_s, size_hw))
            return replace(instances, track_ids=np.array([7], np.int32))

    results, tracker = Slot(10, Overflow.WAIT), FakeTracker()
    with pytest.raises(SlotClosed):
        infer(FakeSegmenter(), filled(2), results, RunStats(), FakeClock(), Event(), pytest.fail, tracker)
    assert tracker.seen == [(0.0, (HEIGHT, WIDTH)), (0.04, (HEIGHT, WIDTH))]
    assert [item.instances.track_ids.tolist() for item in results.get_all()] == [[7], [7]]


class Finder(FakeSegmenter):
    """Finds three objects; from the second frame on the first one's score is below what was asked for, 0.7."""

    sure_score = 0.7

    def segment(self, image_bgr):
        scores = (0.6, 0.5, 0.3) if image_bgr[0, 0, 0] else (0.95, 0.6, 0.3)
        return replace(make_instances(3), scores=np.array(scores, np.float32))

    def chosen(self, instances):
        return self.candidates(instances, self.sure_score)

    def candidates(self, instances, least_score):
        return instances.select(instances.scores >= min(least_score, self.sure_score))


@pytest.mark.parametrize(
    ("tracker", "shown"),
    [
        (None, [[1], []]),
        (Tracker(TrackingSettings(hold_s=0.0), sure_score=0.7), [[1], [1]]),
        (Tracker(TrackingSettings(hold_s=0.0, unsure_score=None), sure_score=0.7), [[1], []]),
    ],
)
def test_below_the_score_that_was_asked_for_only_what_is_tracked_is_kept(tracker, shown):
    results = Slot(10, Overflow.WAIT)
    with pytest.raises(SlotClosed):
        infer(Finder(), filled(2), results, RunStats(), FakeClock(), Event(), pytest.fail, tracker)
    assert [item.instances.class_ids.tolist() for item in results.get_all()] == shown


def test_a_result_that_nobody_takes_is_reported():
    results, lost = Slot(1, Overflow.WAIT), []
    results.close()
    infer(FakeSegmenter(), filled(2), results, RunStats(), FakeClock(), Event(), lambda r: lost.append(r.frame.index))
    assert lost == [0]


def test_a_segmenter_that_cannot_open_never_gets_ready():
    def refuse():
        raise InputError("no weights")

    segmenter, ready = FakeSegmenter(opening=refuse), Event()
    with pytest.raises(InputError):
        infer(segmenter, filled(1), Slot(1, Overflow.WAIT), RunStats(), FakeClock(), ready, pytest.fail)
    assert not ready.is_set()
    assert segmenter.closed == 1
