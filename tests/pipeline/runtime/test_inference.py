import threading
from dataclasses import replace
from threading import Event

import numpy as np
import pytest

from pipeline.errors import InputError
from pipeline.runtime.inference import Batching, Filling, infer
from pipeline.segmentation.supervision import EngineLostError
from pipeline.settings.presentation_settings import TrackingSettings
from pipeline.stats import RunStats
from pipeline.threads.slot import Overflow, Slot, SlotClosed
from pipeline.tracking.tracker import Tracker
from tests.pipeline.fakes import DEADLINE_S, HEIGHT, WIDTH, FakeClock, FakeSegmenter, make_frame, make_instances
from tests.pipeline.runs import filled


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
        low_score = 0.4

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
        (Tracker(TrackingSettings(hold_s=0.0, low_score=None), sure_score=0.7), [[1], []]),
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


class BatchSegmenter(FakeSegmenter):
    """Remembers the batches that it was given."""

    def __init__(self, before=None):
        super().__init__(before)
        self.batches = []

    def segment_batch(self, images_bgr):
        self.batches.append([int(image[0, 0, 0]) for image in images_bgr])
        return super().segment_batch(images_bgr)


def test_batches_are_full_but_for_the_last_and_the_order_stays():
    clock, stats, results = FakeClock(100.0), RunStats(), Slot(10, Overflow.WAIT)

    def think(_):
        clock.now_s += 0.25

    segmenter = BatchSegmenter(before=think)
    with pytest.raises(SlotClosed):
        infer(segmenter, filled(7), results, stats, clock, Event(), pytest.fail, batching=Batching(3))
    assert segmenter.batches == [[0, 1, 2], [3, 4, 5], [6]]
    out = results.get_all()
    assert [item.frame.index for item in out] == list(range(7))
    assert [item.instances.boxes_xyxy[0, 0] for item in out] == list(range(7))
    # a frame's time is that of its batch, and its share of it is what it cost
    assert [item.times.inference_started_at_s for item in out] == [100.0] * 3 + [100.75] * 3 + [101.5]
    assert [item.times.inference_ended_at_s for item in out] == [100.75] * 3 + [101.5] * 3 + [101.75]
    assert stats.overall().inferred == 7
    assert stats.overall().inference_p50_s == pytest.approx(0.25, rel=0.02)


def test_a_batch_of_one_frame_goes_the_way_of_single_frames():
    segmenter, results = BatchSegmenter(), Slot(10, Overflow.WAIT)
    with pytest.raises(SlotClosed):
        infer(segmenter, filled(2), results, RunStats(), FakeClock(), Event(), pytest.fail, batching=Batching(1))
    assert segmenter.batches == []
    assert segmenter.seen == [0, 1]


def test_a_batch_is_waited_for_only_where_that_is_asked_for():
    """Two frames wait and no more come until a result is there."""
    frames, results, segmenter = Slot(10, Overflow.WAIT), Slot(10, Overflow.WAIT), BatchSegmenter()
    for index in range(2):
        frames.put(make_frame(index))

    def work():
        with pytest.raises(SlotClosed):
            infer(
                segmenter,
                frames,
                results,
                RunStats(),
                FakeClock(),
                Event(),
                pytest.fail,
                None,
                Batching(4, Filling.WAITING),
            )

    thread = threading.Thread(target=work)
    thread.start()
    assert [results.get(DEADLINE_S).frame.index for _ in range(2)] == [0, 1]
    frames.put(make_frame(2))
    assert results.get(DEADLINE_S).frame.index == 2
    frames.close()
    thread.join(DEADLINE_S)
    assert not thread.is_alive()
    assert segmenter.batches == [[0, 1], [2]]


def test_what_the_tracker_sees_of_a_batch_is_one_frame_after_the_other():
    class Order:
        low_score = 0.4
        seen = ()

        def update(self, pts_s, instances, size_hw):
            self.seen = (*self.seen, round(pts_s, 3))
            return instances

    tracker = Order()
    with pytest.raises(SlotClosed):
        infer(
            FakeSegmenter(),
            filled(5),
            Slot(10, Overflow.WAIT),
            RunStats(),
            FakeClock(),
            Event(),
            pytest.fail,
            tracker,
            Batching(4),
        )
    assert tracker.seen == (0.0, 0.04, 0.08, 0.12, 0.16)


def test_results_closed_in_the_middle_of_a_batch_lose_no_frame():
    results, lost = Slot(10, Overflow.WAIT), []

    class Closing(RunStats):
        def inferred(self, now_s, took_s):
            super().inferred(now_s, took_s)
            if self.overall().inferred == 2:
                results.close()

    infer(
        FakeSegmenter(),
        filled(5),
        results,
        Closing(),
        FakeClock(),
        Event(),
        lambda r: lost.append(r.frame.index),
        batching=Batching(4),
    )
    assert [item.frame.index for item in results.get_all()] == [0]
    assert lost == [1, 2, 3]


def test_a_run_that_has_ended_infers_nothing_more():
    results, lost, segmenter = Slot(10, Overflow.WAIT), [], BatchSegmenter()
    results.close()
    infer(
        segmenter,
        filled(3),
        results,
        RunStats(),
        FakeClock(),
        Event(),
        lambda r: lost.append(r.frame.index),
        batching=Batching(2),
    )
    assert segmenter.batches == []
    assert lost == [0, 1]


def test_a_failure_in_the_middle_of_a_batch_loses_no_frame():
    def fail_at_4(index):
        if index == 4:
            raise ValueError("broken on purpose")

    results, lost, segmenter = Slot(10, Overflow.WAIT), [], FakeSegmenter(before=fail_at_4)
    with pytest.raises(ValueError, match="broken on purpose"):
        infer(
            segmenter,
            filled(9),
            results,
            RunStats(),
            FakeClock(),
            Event(),
            lambda r: lost.append(r.frame.index),
            batching=Batching(3),
        )
    assert [item.frame.index for item in results.get_all()] == [0, 1, 2]
    assert lost == [3, 4, 5]
    assert segmenter.closed == 1


def test_an_engine_that_was_lost_leaves_the_frames_of_its_batch_unknown():
    def lose_1(index):
        if index == 1:
            raise EngineLostError

    stats, results = RunStats(), Slot(10, Overflow.WAIT)
    with pytest.raises(SlotClosed):
        infer(
            FakeSegmenter(before=lose_1),
            filled(3),
            results,
            stats,
            FakeClock(),
            Event(),
            pytest.fail,
            batching=Batching(2),
        )
    out = results.get_all()
    assert [len(item.instances) for item in out] == [0, 0, 1]
    assert [item.finding is None for item in out] == [True, True, False]
    assert stats.overall().inferred == 1


def test_answers_that_are_too_few_are_an_error():
    class Short(FakeSegmenter):
        def segment_batch(self, images_bgr):
            return super().segment_batch(images_bgr[:1])

    lost = []
    with pytest.raises(ValueError, match="shorter"):
        infer(
            Short(),
            filled(2),
            Slot(10, Overflow.WAIT),
            RunStats(),
            FakeClock(),
            Event(),
            lambda r: lost.append(r.frame.index),
            batching=Batching(2),
        )
    assert lost == [1]


def test_a_batch_holds_at_least_one_frame():
    with pytest.raises(ValueError, match="1 frame or more, got 0"):
        Batching(0)
