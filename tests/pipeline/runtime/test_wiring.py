from dataclasses import replace
from functools import partial

import pytest

from pipeline.ledger import DropStage, RunLedger
from pipeline.motion.carry import Carrier
from pipeline.records import SourceInfo, SourceKind, StageTimes, UnredactedFrame
from pipeline.runtime.plan import plan_run
from pipeline.runtime.wiring import (
    Join,
    KeyframeJoin,
    Keyframes,
    SmoothJoin,
    display_capacity,
    put_keyframe,
    wire,
)
from pipeline.settings.presentation_settings import MotionSettings
from pipeline.settings.schema import Settings
from pipeline.threads.stage import Overflow, Slot, SlotClosed
from tests.pipeline.fakes import FakeClock, make_frame, make_instances

INFO = SourceInfo("clip.mp4", SourceKind.RECORDED, 80, 48, fps=25.0)


def wired(live, smooth=None, values=None, batch_size=1):
    """Wiring of a source, and its ledger, which is ready. `smooth`: None for what the settings say."""
    settings = dict(values or {})
    settings["source"] = {"policy": "live" if live else "recorded"}
    settings["model"] = {"batch_size": batch_size}
    if smooth is not None and live:
        settings["presentation"] = "smooth" if smooth else "exact"
    plan, ledger = plan_run(Settings.model_validate(settings)), RunLedger()
    ledger.ready()
    return wire(plan.for_source(INFO), plan.settings.motion, ledger, FakeClock()), ledger


def plan_of(source, batch_size=1):
    return plan_run(Settings.model_validate({"model": {"batch_size": batch_size}})).for_source(source)


def lost(ledger):
    return {stage: count for (stage, _), count in ledger.overall().dropped.items()}


@pytest.mark.parametrize(
    ("live", "smooth", "join"),
    [(True, True, SmoothJoin), (True, False, Join), (False, False, Join), (False, True, KeyframeJoin)],
)
def test_each_kind_of_run_has_its_join(live, smooth, join):
    wiring, _ = wired(live, smooth, {"motion": {"infer_every": 4}} if smooth else None)
    assert type(wiring.join) is join
    assert wiring.to_inference in wiring.frame_slots
    assert len(wiring.frame_slots) == (2 if smooth else 1)
    wiring.close()
    assert wiring.results.closed
    assert all(slot.closed for slot in wiring.frame_slots)


def test_live_exact_frames_that_are_pushed_out_are_lost_before_inference():
    wiring, ledger = wired(live=True, smooth=False)
    for index in range(3):
        wiring.outlets[0](make_frame(index))
    assert lost(ledger) == {DropStage.INFERENCE: 2}
    assert wiring.to_inference.get(0).index == 2


def test_live_smooth_frames_that_are_not_inferred_are_not_lost():
    wiring, ledger = wired(live=True, smooth=True)
    for index in range(2):
        for outlet in wiring.outlets:
            outlet(make_frame(index))
    assert lost(ledger) == {}
    assert wiring.to_inference.get(0).index == 1
    for outlet in wiring.outlets:
        outlet(make_frame(2))
    assert lost(ledger) == {DropStage.DISPLAY: 1}


class EveryOther:
    """A sub-stream that has a picture for every other frame, of the frame before."""

    def to_infer(self, frame):
        return replace(make_frame(frame.index - 1), substitute=make_frame(7)) if frame.index % 2 else None


@pytest.mark.parametrize(("every", "inferred"), [(1, [0, 2, 4, 6, 8]), (2, [0, 4, 8])])
def test_with_a_sub_stream_only_its_pictures_are_inferred_and_every_frame_is_shown(every, inferred):
    plan, ledger = plan_run(Settings.model_validate({"motion": {"infer_every": every}})), RunLedger()
    live = plan.for_source(replace(INFO, kind=SourceKind.LIVE))
    wiring = wire(live, plan.settings.motion, ledger, FakeClock(), EveryOther())
    given, shown = [], []
    for index in range(10):
        for outlet in wiring.outlets:
            outlet(make_frame(index))
        given += wiring.to_inference.get_all()
        shown.append(wiring.join.next(0).frame)
    assert [frame.index for frame in given] == inferred
    assert {frame.substitute.index for frame in given} == {7}
    assert [(frame.index, frame.substitute) for frame in shown] == [(index, None) for index in range(10)]
    assert lost(ledger) == {}


def test_recorded_smooth_only_keyframes_are_inferred():
    wiring, ledger = wired(live=False, smooth=True, values={"motion": {"infer_every": 3}})
    for index in range(5):
        for outlet in wiring.outlets:
            outlet(make_frame(index))
    assert [frame.index for frame in wiring.to_inference.get_all()] == [0, 3]
    assert lost(ledger) == {}


def test_a_recorded_batch_and_its_results_fit_between_the_stages():
    wiring, ledger = wired(live=False, smooth=False, batch_size=8)
    for index in range(8):
        wiring.outlets[0](make_frame(index))  # would wait for ever if there were no room
        wiring.results.put(make_frame(index))
    assert lost(ledger) == {}


def test_keyframes_of_a_batch_wait_for_the_display_but_are_not_waited_for():
    wiring, _ = wired(live=False, smooth=True, values={"motion": {"infer_every": 3}}, batch_size=4)
    for index in range(12):
        for outlet in wiring.outlets:
            outlet(make_frame(index))
    assert [frame.index for frame in wiring.to_inference.get_all()] == [0, 3, 6, 9]


def test_frames_that_wait_for_a_batch_of_keyframes_stay_within_memory():
    huge = SourceInfo("clip.mp4", SourceKind.RECORDED, 7680, 4320, fps=25.0)  # 95 MiB a frame
    assert display_capacity(plan_of(huge, 8), MotionSettings(infer_every=30)) == 3 + 2
    assert display_capacity(plan_of(INFO, 8), MotionSettings(infer_every=30)) == 3 + 240


def keys_of(keys, frames):
    return [frame.index for frame in frames if keys.is_key(frame)]


def test_frames_that_wait_for_inference_can_be_discarded_unless_the_join_waits_for_their_results():
    for values, discarded in (({}, 2), ({"motion": {"infer_every": 2}}, 0)):
        wiring, _ = wired(live=False, values=values)
        for index in range(3):
            for put in wiring.outlets:
                put(make_frame(index))
        wiring.to_inference.get()
        assert wiring.discard_waiting() == discarded
        assert wiring.discard_waiting() == 0
        wiring.close()
        assert wiring.discard_waiting() == 0


def test_every_frame_by_default():
    assert keys_of(Keyframes(), map(make_frame, range(4))) == [0, 1, 2, 3]


def test_every_third_from_the_first_frame_on():
    assert keys_of(Keyframes(3), map(make_frame, range(8))) == [0, 3, 6]
    assert keys_of(Keyframes(3), map(make_frame, range(5, 12))) == [5, 8, 11]


def test_a_rate_goes_by_the_source_s_time():
    # 25 frames a second: 10 a second are every 2.5th; 0, 100, 200 … ms lie at or before frames 0, 3, 5, 8, 10
    assert keys_of(Keyframes(fps=10), map(make_frame, range(12))) == [0, 3, 5, 8, 10]
    assert keys_of(Keyframes(fps=12.5), map(make_frame, range(7))) == [0, 2, 4, 6]
    assert keys_of(Keyframes(fps=1000), map(make_frame, range(3))) == [0, 1, 2]


def test_times_in_whole_milliseconds_are_not_early():
    """30 frames a second in Matroska: 0, 33, 67, 100 … ms."""
    frames = [replace(make_frame(index), pts=round(1000 * index / 30)) for index in range(60)]
    assert keys_of(Keyframes(fps=30), frames) == list(range(60))
    assert keys_of(Keyframes(fps=15), frames) == list(range(0, 60, 2))


def test_a_rate_after_a_gap_in_time_does_not_catch_up():
    frames = [make_frame(0), make_frame(1), replace(make_frame(2), pts=5000), replace(make_frame(3), pts=5040)]
    assert keys_of(Keyframes(fps=10), frames) == [0, 2]


def test_both_together():
    # every second frame, at most one in 100 ms
    assert keys_of(Keyframes(2, 10), map(make_frame, range(12))) == [0, 4, 6, 8, 10]


def test_two_of_them_agree():
    frames = [make_frame(index) for index in range(40)]
    assert keys_of(Keyframes(3, 4.3), frames) == keys_of(Keyframes(3, 4.3), frames)


def test_the_outlet_lets_keyframes_through():
    slot = Slot(10, Overflow.WAIT)
    outlet = partial(put_keyframe, Keyframes(4), slot)
    for index in range(9):
        outlet(make_frame(index))
    assert [frame.index for frame in slot.get_all()] == [0, 4, 8]
    slot.close()
    for index in range(9, 12):
        outlet(make_frame(index))
    with pytest.raises(SlotClosed):
        outlet(make_frame(12))


def result_of(index):
    return UnredactedFrame(make_frame(index), make_instances(1, x=float(index)), index, StageTimes(0.0, 1.0, 2.0))


def smooth(carrier=None):
    frames, results = Slot(10, Overflow.WAIT), Slot(10, Overflow.WAIT)
    return frames, results, SmoothJoin(frames, results, carrier or Carrier())


class Shift(Carrier):
    """Tells by the box how many frames it carried over."""

    def __init__(self):
        self.seen = []

    def see(self, frame):
        self.seen.append(frame.index)

    def carry(self, result, frame):
        return make_instances(2, x=float(frame.index - result.frame.index))


def test_exact_passes_results_through():
    results = Slot(2, Overflow.WAIT)
    join = Join(results)
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
    Join(Slot(1, Overflow.WAIT)).close()
    smooth()[2].close()


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
    assert display_capacity(plan_of(source), MotionSettings(**values)) == 3 + expected
