import pytest

from pipeline.motion.carry import FlowCarrier
from pipeline.records import SourceInfo, SourceKind, StageTimes, UnredactedFrame
from pipeline.runtime.join import (
    ExactJoin,
    HoldCarrier,
    KeyframeJoin,
    SmoothJoin,
    frames_between_keys,
    make_carrier,
)
from pipeline.runtime.keyframes import Keyframes
from pipeline.settings.presentation_settings import CarryMode, MotionSettings
from pipeline.threads.slot import Overflow, Slot, SlotClosed
from tests.pipeline.fakes import make_frame, make_instances


def result_of(index):
    return UnredactedFrame(make_frame(index), make_instances(1, x=float(index)), index, StageTimes(0.0, 1.0, 2.0))


def smooth(carrier=None):
    frames, results = Slot(10, Overflow.WAIT), Slot(10, Overflow.WAIT)
    return frames, results, SmoothJoin(frames, results, carrier or HoldCarrier())


class Shift(HoldCarrier):
    """Tells by the box how many frames it carried over."""

    def __init__(self):
        self.seen = []

    def see(self, frame):
        self.seen.append(frame.index)

    def carry(self, result, frame):
        return make_instances(2, x=float(frame.index - result.frame.index))


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
    carrier = Shift()
    frames, results, join = smooth(carrier)
    results.put(result_of(1))
    for index in (1, 2, 4):
        frames.put(make_frame(index))
    offsets = [join.next(0.01).instances.boxes_xyxy[0, 0] for _ in range(3)]
    assert offsets == [0, 1, 3]
    assert carrier.seen == [1, 2, 4]


def keyframe_join(every=3, carrier=None):
    frames, results, lost = Slot(20, Overflow.WAIT), Slot(20, Overflow.WAIT), []
    keys = Keyframes(every)
    join = KeyframeJoin(frames, results, carrier or Shift(), keys, lambda: lost.append(1))
    return frames, results, join, lost


def test_keyframes_have_their_own_result_the_others_a_carried_one():
    carrier = Shift()
    frames, results, join, lost = keyframe_join(3, carrier)
    for index in range(8):
        frames.put(make_frame(index, captured_at_s=float(index)))
    for index in (0, 3, 6):
        results.put(result_of(index))  # all are there: a result from the future must still wait for its frame
    shown = [join.next(0.01) for _ in range(8)]
    assert [item.frame.index for item in shown] == carrier.seen == list(range(8))
    assert [item.instances_index for item in shown] == [0, 0, 0, 3, 3, 3, 6, 6]
    assert [item.instances.boxes_xyxy[0, 0] for item in shown] == [0, 1, 2, 0, 1, 2, 0, 1]
    assert [item.times.captured_at_s for item in shown] == list(range(8))
    frames.close()
    with pytest.raises(SlotClosed):
        join.next(0.01)
    join.close()
    assert lost == []


def test_a_keyframe_waits_for_its_result_and_is_seen_once():
    carrier = Shift()
    frames, results, join, lost = keyframe_join(2, carrier)
    frames.put(make_frame(0))
    for _ in range(3):
        with pytest.raises(TimeoutError):
            join.next(0.001)
    assert carrier.seen == []
    results.put(result_of(0))
    assert join.next(0.01).instances_index == 0
    with pytest.raises(TimeoutError):
        join.next(0.001)
    frames.put(make_frame(1))
    assert join.next(0.01).frame.index == 1
    assert carrier.seen == [0, 1]
    join.close()
    assert lost == []


def test_a_keyframe_whose_result_never_comes_is_reported_once():
    frames, results, join, lost = keyframe_join(2)
    frames.put(make_frame(0))
    frames.put(make_frame(1))
    with pytest.raises(TimeoutError):
        join.next(0.001)
    results.close()
    with pytest.raises(SlotClosed):
        join.next(0.01)
    join.close()
    join.close()
    assert lost == [1]  # frame 1 is still in its slot, which counts it


def test_the_other_joins_hold_nothing():
    ExactJoin(Slot(1, Overflow.WAIT)).close()
    smooth()[2].close()


def test_the_settings_choose_the_carrier():
    assert isinstance(make_carrier(MotionSettings(), live=True), FlowCarrier)
    assert isinstance(make_carrier(MotionSettings(), live=False), FlowCarrier)
    assert isinstance(make_carrier(MotionSettings(carry=CarryMode.HOLD), live=True), HoldCarrier)


@pytest.mark.parametrize(
    ("values", "size", "fps", "expected"),
    [
        ({}, (640, 360), 25.0, 1),
        ({"infer_every": 6}, (640, 360), 25.0, 6),
        ({"infer_fps": 5.0}, (640, 360), 25.0, 5),
        ({"infer_fps": 5.0}, (640, 360), None, 6),
        ({"infer_fps": 5.0, "infer_every": 8}, (640, 360), 25.0, 8),
        ({"infer_every": 1000}, (3840, 2160), 25.0, 10),  # 256 MiB / (3 * 3840 * 2160)
        ({"infer_every": 2}, (16384, 16384), 25.0, 1),
    ],
)
def test_room_between_keyframes_within_memory(values, size, fps, expected):
    source = SourceInfo("fake", SourceKind.RECORDED, *size, fps=fps)
    assert frames_between_keys(MotionSettings(**values), source) == expected
