import pytest

from pipeline.join import ExactJoin, HoldCarrier, SmoothJoin
from pipeline.records import SegmentedFrame, StageTimes
from pipeline.slot import Overflow, Slot, SlotClosed
from tests.pipeline.fakes import make_frame, make_instances


def result_of(index):
    return SegmentedFrame(make_frame(index), make_instances(1, x=float(index)), index, StageTimes(0.0, 1.0, 2.0))


def smooth(carrier=None):
    frames, results = Slot(10, Overflow.WAIT), Slot(10, Overflow.WAIT)
    return frames, results, SmoothJoin(frames, results, carrier or HoldCarrier())


def test_exact_passes_results_through():
    results = Slot(2, Overflow.WAIT)
    join = ExactJoin(results)
    with pytest.raises(TimeoutError):
        join.next(0.01)
    result = result_of(3)
    results.put(result)
    assert join.next(0.01) is result
    results.close()
    with pytest.raises(SlotClosed):
        join.next(0.01)


def test_smooth_shows_frames_before_the_first_result():
    frames, _, join = smooth()
    frames.put(make_frame(0))
    shown = join.next(0.01)
    assert shown.frame.index == 0
    assert len(shown.instances) == 0
    assert shown.instances_index is None


def test_smooth_keeps_the_last_result_until_the_next():
    frames, results, join = smooth()
    for index in range(4):
        frames.put(make_frame(index))
    results.put(result_of(0))
    first, second = join.next(0.01), join.next(0.01)
    results.put(result_of(2))
    third, fourth = join.next(0.01), join.next(0.01)
    shown = [first, second, third, fourth]
    assert [item.frame.index for item in shown] == [0, 1, 2, 3]
    assert [item.instances_index for item in shown] == [0, 0, 2, 2]
    assert [item.instances.boxes_xyxy[0, 0] for item in shown] == [0, 0, 2, 2]
    assert fourth.times.inference_ended_at_s == 2.0


def test_smooth_never_uses_a_result_from_the_future():
    frames, results, join = smooth()
    results.put(result_of(0))
    results.put(result_of(5))
    for index in (1, 5):
        frames.put(make_frame(index))
    assert join.next(0.01).instances_index == 0
    assert join.next(0.01).instances_index == 5


def test_smooth_ends_with_the_frames_not_with_the_results():
    frames, results, join = smooth()
    results.put(result_of(0))
    results.close()
    frames.put(make_frame(0))
    frames.put(make_frame(1))
    frames.close()
    assert [join.next(0.01).instances_index, join.next(0.01).instances_index] == [0, 0]
    with pytest.raises(SlotClosed):
        join.next(0.01)


def test_the_carrier_sees_every_frame_and_decides():
    class Shift(HoldCarrier):
        def __init__(self):
            self.seen = []

        def see(self, frame):
            self.seen.append(frame.index)

        def carry(self, result, frame):
            return make_instances(2, x=float(frame.index - result.frame.index))

    carrier = Shift()
    frames, results, join = smooth(carrier)
    results.put(result_of(1))
    for index in (1, 2, 4):
        frames.put(make_frame(index))
    offsets = [join.next(0.01).instances.boxes_xyxy[0, 0] for _ in range(3)]
    assert offsets == [0, 1, 3]
    assert carrier.seen == [1, 2, 4]
