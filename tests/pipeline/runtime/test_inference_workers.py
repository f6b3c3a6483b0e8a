"""The inference stage with a segmenter that takes several frames at the same time."""

import threading
from threading import Event

import cv2
import pytest

from pipeline.ledger import DropCause, DropStage, RunLedger
from pipeline.runtime.plan import Batching
from pipeline.threads.stage import Overflow, Slot, SlotClosed
from tests.pipeline.fakes import DEADLINE_S, FakeSegmenter, make_frame
from tests.pipeline.runs import filled, infer


class Crew(FakeSegmenter):
    """Takes several frames at the same time; `threads` are those that it was called in."""

    workers = 1  # an attribute in place of the property

    def __init__(self, workers, before=None):
        super().__init__(before)
        self.workers = workers
        self.threads = set()

    def segment(self, image_bgr):
        self.threads.add(threading.current_thread())
        return super().segment(image_bgr)


def test_the_order_stays_when_later_frames_are_ready_first():
    """Every even frame waits until the one after it is done."""
    done = [Event() for _ in range(10)]

    def before(index):
        if index % 2 == 0:
            assert done[index + 1].wait(DEADLINE_S)
        done[index].set()

    class Order:
        seen = ()
        threads: frozenset = frozenset()

        def update(self, pts_s, instances, size_hw):
            self.seen = (*self.seen, round(pts_s / 0.04))
            self.threads |= {threading.current_thread()}
            return instances

    segmenter, results, ledger, tracker = Crew(2, before), Slot(10, Overflow.WAIT), RunLedger(), Order()
    with pytest.raises(SlotClosed):
        infer(segmenter, filled(10), results, ledger=ledger, tracker=tracker)
    out = results.get_all()
    assert [item.frame.index for item in out] == list(range(10))
    assert [item.instances.boxes_xyxy[0, 0] for item in out] == list(range(10))
    assert tracker.seen == tuple(range(10))
    assert tracker.threads == {threading.current_thread()}
    assert len(segmenter.threads) == 2
    assert not any(thread.is_alive() for thread in segmenter.threads)
    assert segmenter.closed == 1
    assert ledger.overall().inferred == 10


def test_a_frame_does_not_wait_for_one_after_it():
    frames, results, segmenter = Slot(10, Overflow.WAIT), Slot(10, Overflow.WAIT), Crew(3)

    def work():
        with pytest.raises(SlotClosed):
            infer(segmenter, frames, results)

    thread = threading.Thread(target=work)
    thread.start()
    for index in range(3):
        frames.put(make_frame(index))
        assert results.get(DEADLINE_S).frame.index == index
    frames.close()
    thread.join(DEADLINE_S)
    assert not thread.is_alive()


def test_a_frame_that_comes_later_is_begun_while_the_first_is_under_way():
    """The source has its second frame only when the first is in the network, which waits for the second."""
    frames, results, begun = Slot(10, Overflow.WAIT), Slot(10, Overflow.WAIT), [Event(), Event()]

    def before(index):
        begun[index].set()
        assert begun[1].wait(DEADLINE_S)

    def feed():
        frames.put(make_frame(0))
        assert begun[0].wait(DEADLINE_S)
        frames.put(make_frame(1))
        frames.close()

    thread = threading.Thread(target=feed)
    thread.start()
    with pytest.raises(SlotClosed):
        infer(Crew(2, before), frames, results)
    thread.join(DEADLINE_S)
    assert [item.frame.index for item in results.get_all()] == [0, 1]


@pytest.mark.parametrize(("workers", "size", "in_hand"), [(1, 1, 1), (2, 1, 4), (3, 1, 5), (2, 2, 6), (2, 5, 15)])
def test_the_next_frames_wait_already_when_a_worker_is_free(workers, size, in_hand):
    """The workers go on only when as many frames were taken as shall be in hand."""
    taken = Event()

    class Counting(Slot):
        count = 0

        def get(self, timeout_s=None):
            item = super().get(timeout_s)
            self.count += 1
            if self.count == in_hand:
                taken.set()
            return item

    def before(_):
        assert taken.wait(DEADLINE_S)

    frames, results = Counting(40, Overflow.WAIT), Slot(40, Overflow.WAIT)
    for index in range(30):
        frames.put(make_frame(index))
    frames.close()
    with pytest.raises(SlotClosed):
        infer(Crew(workers, before), frames, results, batching=Batching(size))
    assert [item.frame.index for item in results.get_all()] == list(range(30))


@pytest.mark.parametrize(("workers", "inside"), [(1, 3), (2, 1)])
def test_opencv_computes_in_the_calling_threads_where_there_are_several(workers, inside):
    threads = []
    before = cv2.getNumThreads()
    cv2.setNumThreads(3)
    try:
        with pytest.raises(SlotClosed):
            infer(Crew(workers, lambda _: threads.append(cv2.getNumThreads())), filled(2), Slot(10, Overflow.WAIT))
        assert threads == [inside, inside]
        assert cv2.getNumThreads() == 3
    finally:
        cv2.setNumThreads(before)


def test_batches_go_side_by_side_too():
    class Batches(Crew):
        seen_batches = ()

        def segment_batch(self, images_bgr):
            self.seen_batches += ([int(image[0, 0, 0]) for image in images_bgr],)
            return super().segment_batch(images_bgr)

    segmenter, results = Batches(2), Slot(10, Overflow.WAIT)
    with pytest.raises(SlotClosed):
        infer(segmenter, filled(7), results, batching=Batching(3))
    assert sorted(segmenter.seen_batches) == [[0, 1, 2], [3, 4, 5], [6]]
    assert [item.frame.index for item in results.get_all()] == list(range(7))


def test_a_failure_of_one_worker_loses_no_frame_and_ends_the_others_first():
    alive_at_close = []

    class Watched(Crew):
        def close(self):
            alive_at_close.extend(thread for thread in self.threads if thread.is_alive())
            super().close()

    def fail_at_4(index):
        if index == 4:
            raise ValueError("broken on purpose")

    results, ledger, segmenter, frames = Slot(10, Overflow.WAIT), RunLedger(), Watched(2, fail_at_4), filled(9)
    with pytest.raises(ValueError, match="broken on purpose"):
        infer(segmenter, frames, results, ledger=ledger, on_loss=lambda: ledger.dropped(DropStage.DISPLAY))
    assert [item.frame.index for item in results.get_all()] == [0, 1, 2, 3]
    lost = 5 - len(frames)  # what was still in the slot is for the stage to count
    assert ledger.overall().dropped == {(DropStage.DISPLAY, DropCause.FAILED): lost}
    assert lost >= 1
    assert not alive_at_close
    assert segmenter.closed == 1


@pytest.mark.parametrize("workers", [1, 2])
def test_only_a_failure_is_one(workers):
    ledger, results = RunLedger(), Slot(10, Overflow.WAIT)
    with pytest.raises(SlotClosed):
        infer(Crew(workers), filled(3), results, ledger=ledger)
    results.close()
    with pytest.raises(SlotClosed):
        infer(Crew(workers), filled(3), results, ledger=ledger, on_loss=lambda: ledger.dropped(DropStage.INFERENCE))
    assert [cause for _, cause in ledger.overall().dropped] == [DropCause.BUSY]
