from __future__ import annotations

import threading

import pytest

from pipeline.errors import InputError, RunError, StageStuckError
from pipeline.threads.stage import FirstError, Overflow, Slot, SlotClosed, Stage, any_stuck
from tests.pipeline.fakes import DEADLINE_S


def test_the_first_error_wins_and_foreign_ones_are_wrapped():
    called = []
    errors = FirstError(lambda: called.append(True))
    errors.report("capture", ZeroDivisionError("by zero"))
    errors.report("inference", RunError("second"))
    assert called == [True]
    with pytest.raises(RunError, match="capture failed: ZeroDivisionError: by zero") as caught:
        errors.raise_if_any()
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_an_error_of_many_lines_becomes_one_line():
    errors = FirstError()
    errors.report("inference", RuntimeError("Exception from core.cpp:107:\n  Check failed\n\nno kernel\n"))
    assert str(errors.error) == "inference failed: RuntimeError: Exception from core.cpp:107: Check failed no kernel"


def test_our_own_errors_keep_their_kind():
    errors = FirstError()
    errors.raise_if_any()
    errors.report("inference", InputError("bad weights"))
    assert isinstance(errors.error, InputError)


def test_guard_reports_errors_and_lets_a_closed_slot_pass():
    errors = FirstError()
    with errors.guard("a"):
        raise SlotClosed
    assert errors.error is None
    with errors.guard("b"):
        raise KeyError("x")
    assert "b failed: KeyError" in str(errors.error)


def test_an_ending_stage_closes_its_slots_and_the_next_can_drain():
    inlet, outlet = Slot(2, Overflow.WAIT), Slot(2, Overflow.WAIT)
    inlet.put("left over")
    stage = Stage("s", lambda: outlet.put("made"), FirstError(), inlets=(inlet,), outlets=(outlet,))
    stage.start()
    stage.join(DEADLINE_S)
    assert stage.wait(0)
    assert outlet.get() == "made"
    with pytest.raises(SlotClosed):
        outlet.get()
    with pytest.raises(SlotClosed):
        inlet.get()


def test_a_failing_stage_wakes_its_neighbors():
    def fail():
        raise OSError("device gone")

    inlet, errors = Slot(1, Overflow.WAIT), FirstError()
    inlet.put(1)
    neighbor = Stage("producer", lambda: inlet.put(2), errors, outlets=(inlet,))
    neighbor.start()
    stage = Stage("consumer", fail, errors, inlets=(inlet,))
    stage.start()
    neighbor.join(DEADLINE_S)
    stage.join(DEADLINE_S)
    assert "consumer failed: OSError: device gone" in str(errors.error)


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit, MemoryError])
def test_whatever_ends_a_stage_is_reported_and_closes_its_slots(kind):
    def fail():
        raise kind("out")

    outlet, errors = Slot(1, Overflow.WAIT), FirstError()
    stage = Stage("capture", fail, errors, outlets=(outlet,))
    stage.start()
    with pytest.raises(SlotClosed):
        outlet.get(DEADLINE_S)
    stage.join(DEADLINE_S)
    with pytest.raises(RunError, match=f"capture failed: {kind.__name__}: out"):
        errors.raise_if_any()


def test_in_the_callers_thread_an_interrupt_propagates():
    errors = FirstError()
    with pytest.raises(KeyboardInterrupt), errors.guard("window"):
        raise KeyboardInterrupt
    assert errors.error is None


def test_a_thread_that_does_not_end_is_noticed():
    release = threading.Event()
    stage = Stage("stuck", lambda: release.wait(DEADLINE_S), FirstError())
    assert not any_stuck()
    stage.start()
    assert any_stuck()
    release.set()
    stage.join(DEADLINE_S)
    assert not any_stuck()


def test_a_stuck_stage_is_named():
    release = threading.Event()
    stage = Stage("inference", release.wait, FirstError())
    stage.start()
    with pytest.raises(StageStuckError, match="inference did not end within"):
        stage.join(0.01)
    release.set()
    stage.join(DEADLINE_S)


def test_joining_a_stage_that_never_started_is_nothing():
    Stage("idle", lambda: None, FirstError()).join(0.0)


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


def test_a_slot_tells_when_something_came_and_when_it_was_closed():
    told, slot = [], Slot(1, Overflow.DROP_OLDEST)
    slot.on_change = lambda: told.append((len(slot), slot.closed))
    slot.put(1)
    slot.put(2)
    slot.get()
    slot.close(discard=True)
    assert told == [(1, False), (1, False), (0, True)]


def test_a_stage_says_whether_it_runs_also_in_its_own_thread():
    gate, inside = threading.Event(), []

    def work():
        inside.append(stage.running)
        assert gate.wait(DEADLINE_S)

    stage = Stage("work", work, FirstError())
    assert not stage.running
    stage.start()
    assert stage.running
    gate.set()
    stage.join(DEADLINE_S)
    assert (stage.running, inside) == (False, [True])
