import threading

import pytest

from pipeline.threads.slot import Overflow, Slot, SlotClosed
from tests.pipeline.fakes import DEADLINE_S


def in_thread(work):
    """Run `work` in a thread; returns (thread, list that receives its result or exception)."""
    box = []

    def main():
        try:
            box.append(work())
        except (SlotClosed, TimeoutError) as error:
            box.append(error)

    thread = threading.Thread(target=main)
    thread.start()
    return thread, box


def test_first_in_first_out():
    slot = Slot(3, Overflow.WAIT)
    for item in (1, 2, 3):
        slot.put(item)
    assert [slot.get(), slot.get(), slot.get()] == [1, 2, 3]


def test_drop_oldest_keeps_the_newest_and_reports_the_lost():
    lost = []
    slot = Slot(2, Overflow.DROP_OLDEST, lambda: lost.append(1))
    for item in range(5):
        slot.put(item)
    assert lost == [1, 1, 1]
    assert slot.get_all() == [3, 4]
    assert slot.get_all() == []


def test_a_full_slot_makes_the_producer_wait_until_there_is_room():
    slot = Slot(1, Overflow.WAIT)
    slot.put("a")
    thread, _ = in_thread(lambda: slot.put("b"))
    thread.join(0.05)
    assert thread.is_alive()
    assert slot.get(DEADLINE_S) == "a"
    thread.join(DEADLINE_S)
    assert not thread.is_alive()
    assert slot.get(DEADLINE_S) == "b"


def test_get_times_out():
    with pytest.raises(TimeoutError):
        Slot(1, Overflow.WAIT).get(0.01)


def test_close_lets_the_consumer_drain_then_ends_it():
    slot = Slot(2, Overflow.WAIT)
    slot.put(1)
    slot.close()
    assert slot.closed
    assert slot.get() == 1
    with pytest.raises(SlotClosed):
        slot.get()
    with pytest.raises(SlotClosed):
        slot.get_all()
    with pytest.raises(SlotClosed):
        slot.put(2)


def test_close_wakes_a_waiting_consumer_and_a_waiting_producer():
    empty, full = Slot(1, Overflow.WAIT), Slot(1, Overflow.WAIT)
    full.put(1)
    consumer, got = in_thread(empty.get)
    producer, put = in_thread(lambda: full.put(2))
    empty.close()
    full.close()
    consumer.join(DEADLINE_S)
    producer.join(DEADLINE_S)
    assert isinstance(got[0], SlotClosed)
    assert isinstance(put[0], SlotClosed)


def test_discarding_reports_what_was_inside():
    lost = []
    slot = Slot(3, Overflow.WAIT, lambda: lost.append(1))
    slot.put(1)
    slot.put(2)
    slot.close(discard=True)
    slot.close(discard=True)
    assert lost == [1, 1]
    with pytest.raises(SlotClosed):
        slot.get()


def test_a_slot_needs_room():
    with pytest.raises(ValueError, match="at least 1"):
        Slot(0, Overflow.WAIT)
