from dataclasses import replace

import pytest

from pipeline.runtime.keyframes import KeyframeOutlet, Keyframes
from pipeline.threads.slot import Overflow, Slot, SlotClosed
from tests.pipeline.fakes import make_frame


def keys_of(keys, frames):
    return [frame.index for frame in frames if keys.is_key(frame)]


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
    outlet = KeyframeOutlet(slot, Keyframes(4))
    for index in range(9):
        outlet.put(make_frame(index))
    assert [frame.index for frame in slot.get_all()] == [0, 4, 8]
    slot.close()
    for index in range(9, 12):
        outlet.put(make_frame(index))
    with pytest.raises(SlotClosed):
        outlet.put(make_frame(12))
