import threading
from dataclasses import replace

import numpy as np
import pytest

from pipeline.errors import InputError
from pipeline.ledger import DropCause, DropStage, RunLedger
from pipeline.runtime.plan import Batching, Filling
from pipeline.segmentation.detection_filter import DetectionFilter
from pipeline.segmentation.supervision import SegmenterLostError
from pipeline.settings.presentation_settings import TrackingSettings
from pipeline.threads.stage import Overflow, Slot, SlotClosed
from pipeline.tracking.tracker import Tracker
from tests.pipeline.fakes import DEADLINE_S, HEIGHT, WIDTH, FakeClock, FakeSegmenter, make_frame, make_instances
from tests.pipeline.runs import filled, infer


def test_each_frame_comes_out_with_its_instances_and_times():
    clock, ledger = FakeClock(100.0), RunLedger()

    def think(index):
        clock.now_s += 0.25

    segmenter, results = FakeSegmenter(before=think), Slot(10, Overflow.WAIT)
    with pytest.raises(SlotClosed):
        infer(segmenter, filled(3), results, ledger=ledger, clock=clock)
    out = results.get_all()
    assert [item.frame.index for item in out] == [0, 1, 2]
    assert [item.instances.boxes_xyxy[0, 0] for item in out] == [0, 1, 2]
    assert out[1].times.inference_started_at_s == 100.25
    assert out[1].times.inference_ended_at_s == 100.5
    assert not ledger.loading
    assert segmenter.closed == 1
    assert ledger.overall().inferred == 3
    assert [entry.text for entry in ledger.entries] == ["fake segmenter"]


def test_a_tracker_gets_every_result_with_its_time_and_size():
    class FakeTracker:
        def __init__(self):
            self.seen = []

        def update(self, pts_s, instances, size_hw):
            self.seen.append((pts_s, size_hw))
            return replace(instances, track_ids=np.array([7], np.int32))

    results, tracker = Slot(10, Overflow.WAIT), FakeTracker()
    with pytest.raises(SlotClosed):
        infer(FakeSegmenter(), filled(2), results, tracker=tracker)
    assert tracker.seen == [(0.0, (HEIGHT, WIDTH)), (0.04, (HEIGHT, WIDTH))]
    assert [item.instances.track_ids.tolist() for item in results.get_all()] == [[7], [7]]


class Finder(FakeSegmenter):
    """Finds three objects; from the second frame on the first one's score is below the high threshold, 0.7."""

    def segment(self, image_bgr):
        scores = (0.6, 0.5, 0.3) if image_bgr[0, 0, 0] else (0.95, 0.6, 0.3)
        return replace(make_instances(3), scores=np.array(scores, np.float32))


@pytest.mark.parametrize(
    ("tracked", "low_score", "shown"), [(False, 0.4, [[1], []]), (True, 0.4, [[1], [1]]), (True, 0.7, [[1], []])]
)
def test_below_the_high_threshold_only_what_is_tracked_is_kept(tracked, low_score, shown):
    tracker = Tracker(TrackingSettings(hold_s=0.0), high_score=0.7) if tracked else None
    results, detections = Slot(10, Overflow.WAIT), DetectionFilter(0.7, low_score)
    with pytest.raises(SlotClosed):
        infer(Finder(), filled(2), results, tracker=tracker, detections=detections)
    assert [item.instances.class_ids.tolist() for item in results.get_all()] == shown


def test_a_result_that_nobody_takes_is_reported():
    results, lost = Slot(1, Overflow.WAIT), []
    results.close()
    with pytest.raises(SlotClosed):
        infer(FakeSegmenter(), filled(2), results, on_loss=lambda: lost.append(1))
    assert lost == [1]


def test_a_segmenter_that_cannot_open_never_gets_ready():
    def refuse():
        raise InputError("no weights")

    segmenter, ledger = FakeSegmenter(opening=refuse), RunLedger()
    with pytest.raises(InputError):
        infer(segmenter, filled(1), Slot(1, Overflow.WAIT), ledger=ledger, on_loss=pytest.fail)
    ledger.dropped(DropStage.INFERENCE)
    assert ledger.overall().dropped == {(DropStage.INFERENCE, DropCause.FAILED): 1}
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
    clock, ledger, results = FakeClock(100.0), RunLedger(), Slot(10, Overflow.WAIT)

    def think(_):
        clock.now_s += 0.25

    segmenter = BatchSegmenter(before=think)
    with pytest.raises(SlotClosed):
        infer(segmenter, filled(7), results, ledger=ledger, clock=clock, batching=Batching(3))
    assert segmenter.batches == [[0, 1, 2], [3, 4, 5], [6]]
    out = results.get_all()
    assert [item.frame.index for item in out] == list(range(7))
    assert [item.instances.boxes_xyxy[0, 0] for item in out] == list(range(7))
    # a frame's time is that of its batch, and its share of it is what it cost
    assert [item.times.inference_started_at_s for item in out] == [100.0] * 3 + [100.75] * 3 + [101.5]
    assert [item.times.inference_ended_at_s for item in out] == [100.75] * 3 + [101.5] * 3 + [101.75]
    assert ledger.overall().inferred == 7
    assert ledger.overall().inference_p50_s == pytest.approx(0.25, rel=0.02)


def test_frames_that_came_before_the_first_answer_do_not_count_in_the_time_of_a_frame():
    """Engines are compiled and compared with it."""
    clock, ledger = FakeClock(100.0), RunLedger()

    def think(index):
        clock.now_s += 30.0 if index < 3 else 0.25

    with pytest.raises(SlotClosed):
        infer(
            BatchSegmenter(think), filled(4), Slot(10, Overflow.WAIT), ledger=ledger, clock=clock, batching=Batching(3)
        )
    assert ledger.overall().inferred == 4
    assert ledger.overall().inference_p50_s == pytest.approx(0.25, rel=0.02)


def test_single_frames_are_batches_of_one():
    segmenter, results = BatchSegmenter(), Slot(10, Overflow.WAIT)
    with pytest.raises(SlotClosed):
        infer(segmenter, filled(2), results)
    assert segmenter.batches == [[0], [1]]


def test_a_batch_is_waited_for_only_where_that_is_asked_for():
    """Two frames wait and no more come until a result is there."""
    frames, results, segmenter = Slot(10, Overflow.WAIT), Slot(10, Overflow.WAIT), BatchSegmenter()
    for index in range(2):
        frames.put(make_frame(index))

    def work():
        with pytest.raises(SlotClosed):
            infer(segmenter, frames, results, batching=Batching(4, Filling.AVAILABLE))

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
        seen = ()

        def update(self, pts_s, instances, size_hw):
            self.seen = (*self.seen, round(pts_s, 3))
            return instances

    tracker = Order()
    with pytest.raises(SlotClosed):
        infer(FakeSegmenter(), filled(5), Slot(10, Overflow.WAIT), tracker=tracker, batching=Batching(4))
    assert tracker.seen == (0.0, 0.04, 0.08, 0.12, 0.16)


def test_results_closed_in_the_middle_of_a_batch_lose_no_frame():
    results, lost = Slot(10, Overflow.WAIT), []

    class Closing(RunLedger):
        def inferred(self, now_s, took_s):
            super().inferred(now_s, took_s)
            if self.overall().inferred == 2:
                results.close()

    with pytest.raises(SlotClosed):
        infer(
            FakeSegmenter(), filled(5), results, ledger=Closing(), on_loss=lambda: lost.append(1), batching=Batching(4)
        )
    assert [item.frame.index for item in results.get_all()] == [0]
    assert len(lost) == 3


def test_a_run_that_has_ended_infers_nothing_more():
    results, lost, segmenter = Slot(10, Overflow.WAIT), [], BatchSegmenter()
    results.close()
    with pytest.raises(SlotClosed):
        infer(segmenter, filled(3), results, on_loss=lambda: lost.append(1), batching=Batching(2))
    assert segmenter.batches == []
    assert len(lost) == 2


def test_a_failure_in_the_middle_of_a_batch_loses_no_frame():
    def fail_at_4(index):
        if index == 4:
            raise ValueError("broken on purpose")

    results, lost, segmenter = Slot(10, Overflow.WAIT), [], FakeSegmenter(before=fail_at_4)
    with pytest.raises(ValueError, match="broken on purpose"):
        infer(segmenter, filled(9), results, on_loss=lambda: lost.append(1), batching=Batching(3))
    assert [item.frame.index for item in results.get_all()] == [0, 1, 2]
    assert len(lost) == 3
    assert segmenter.closed == 1


def test_a_segmenter_that_was_lost_leaves_the_frames_of_its_batch_unknown():
    def lose_1(index):
        if index == 1:
            raise SegmenterLostError

    ledger, results = RunLedger(), Slot(10, Overflow.WAIT)
    with pytest.raises(SlotClosed):
        infer(FakeSegmenter(before=lose_1), filled(3), results, ledger=ledger, batching=Batching(2))
    out = results.get_all()
    assert [len(item.instances) for item in out] == [0, 0, 1]
    assert [item.detections is None for item in out] == [True, True, False]
    assert [item.instances_index for item in out] == [None, None, 2]
    assert ledger.overall().inferred == 1


@pytest.mark.parametrize(("most", "truncated"), [(None, False), (2, False), (1, True)])
def test_a_network_that_reported_very_many_can_have_missed_more(most, truncated):
    results = Slot(10, Overflow.WAIT)
    with pytest.raises(SlotClosed):
        infer(FakeSegmenter(), filled(1), results, detections=DetectionFilter(complete_below=most))
    assert results.get().detections.truncated == truncated


def test_answers_that_are_too_few_are_an_error():
    class Short(FakeSegmenter):
        def segment_batch(self, images_bgr):
            return super().segment_batch(images_bgr[:1])

    lost = []
    with pytest.raises(ValueError, match="shorter"):
        infer(Short(), filled(2), Slot(10, Overflow.WAIT), on_loss=lambda: lost.append(1), batching=Batching(2))
    assert lost == [1, 1]
