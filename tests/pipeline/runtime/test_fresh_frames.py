import threading

import pytest

from pipeline.runtime.fresh_frames import INTERVALS, FreshFrames
from pipeline.threads.stage import SlotClosed
from tests.pipeline.fakes import DEADLINE_S, FakeClock, make_frame

INTERVAL_S = 2 * DEADLINE_S
"""Of the frames: so long that a wait which nobody ends would be noticed."""


def asked_again(takes_s, age_s):
    """A slot whose consumer returns after `takes_s`, when the newest frame, number 100, has the age `age_s`."""
    clock = FakeClock()
    slot = FreshFrames(clock)
    for index in range(INTERVALS + 1):
        slot.put(make_frame(index, captured_at_s=clock.now_s + (index - INTERVALS) * INTERVAL_S))
    assert slot.get().index == INTERVALS  # the first is taken as it is
    began_s, clock.now_s = clock.now_s, clock.now_s + takes_s
    assert clock.now_s - age_s > began_s
    slot.put(make_frame(100, captured_at_s=clock.now_s - age_s))
    return slot


def soon(slot, action):
    """Do something with a slot from another thread once it is empty."""

    def run():
        while len(slot):
            pass
        action()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_a_frame_that_has_waited_gives_way_to_one_that_is_due_soon():
    slot = asked_again(takes_s=4.0 * INTERVAL_S, age_s=0.5 * INTERVAL_S)
    thread = soon(slot, lambda: slot.put(make_frame(101, captured_at_s=0.0)))
    assert slot.get().index == 101
    thread.join()


@pytest.mark.parametrize(
    ("takes", "age"),
    [(4.0, 0.2), (1.6, 0.5), (8.0, 3.0)],
    ids=["a fresh frame", "a wait that is long for a fast network", "a camera that has stopped"],
)
def test_a_frame_is_taken_as_it_is(takes, age):
    assert asked_again(takes * INTERVAL_S, age * INTERVAL_S).get().index == 100


def test_who_does_not_wait_gets_what_is_there():
    assert asked_again(takes_s=4.0 * INTERVAL_S, age_s=0.5 * INTERVAL_S).get(0.0).index == 100


def test_the_end_gives_the_frame_that_was_held_back():
    slot = asked_again(takes_s=4.0 * INTERVAL_S, age_s=0.5 * INTERVAL_S)
    thread = soon(slot, slot.close)
    assert slot.get().index == 100
    thread.join()
    with pytest.raises(SlotClosed):
        slot.get()
