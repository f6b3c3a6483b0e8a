import threading
from dataclasses import replace
from functools import partial

import cv2
import pytest

from pipeline.errors import InputError, RunError
from pipeline.ledger import RunLedger
from pipeline.records import SourceInfo, SourceKind
from pipeline.runtime.capture import Opening, capture
from pipeline.runtime.stream import Stream
from pipeline.settings.schema import Settings
from pipeline.sources.base import SourceState
from pipeline.threads.stage import FirstError, Overflow, Slot, SlotClosed
from tests.pipeline.fakes import DEADLINE_S, FakeSegmenter, FakeSource
from tests.pipeline.runs import HEADLESS


def no_loss():
    raise AssertionError("a frame was lost")


def run(source, slots, ledger, on_loss=no_loss, fresh_from_s=None, on_reopened=None):
    outlets = [slot.put for slot in slots]
    capture(source, outlets, ledger, on_loss, on_reopened or (lambda info: None), fresh_from_s)


def test_every_frame_goes_to_every_outlet_and_the_source_is_closed():
    source, ledger = FakeSource(5), RunLedger()
    first, second = Slot(10, Overflow.WAIT), Slot(10, Overflow.WAIT)
    run(source, (first, second), ledger)
    assert [frame.index for frame in first.get_all()] == [0, 1, 2, 3, 4]
    assert [frame.index for frame in second.get_all()] == [0, 1, 2, 3, 4]
    assert source.closed == 1
    assert ledger.overall().captured == 5


def test_the_frame_in_hand_is_reported_when_nobody_wants_it():
    source, ledger, lost = FakeSource(None), RunLedger(), []
    outlet = Slot(1, Overflow.WAIT)
    outlet.close()
    run(source, (outlet,), ledger, lambda: lost.append(1))
    assert lost == [1]
    assert source.closed == 1
    assert ledger.overall().captured == 1


def test_a_failing_source_is_closed_and_its_error_passes():
    source = FakeSource(2, error=RunError("the cable is out"))
    outlet = Slot(10, Overflow.WAIT)
    with pytest.raises(RunError, match="cable"):
        run(source, (outlet,), RunLedger())
    assert source.closed == 1
    assert len(outlet) == 2


def test_frames_that_waited_while_the_run_was_set_up_are_not_handed_on():
    times = iter([1.0, 2.0, 7.0, 8.0])
    source, ledger, stale = FakeSource(4, clock=lambda: next(times)), RunLedger(), []
    outlet = Slot(10, Overflow.WAIT)
    run(source, (outlet,), ledger, lambda: stale.append(1), fresh_from_s=6.5)
    assert stale == [1, 1]
    assert [frame.index for frame in outlet.get_all()] == [2, 3]
    assert ledger.overall().captured == 4


@pytest.mark.parametrize(("fresh_from_s", "threads"), [(0.0, 1), (None, 2)])
def test_only_live_sources_keep_opencv_to_one_thread(fresh_from_s, threads):
    before = cv2.getNumThreads()
    cv2.setNumThreads(2)
    seen = []
    source, outlet = FakeSource(2, clock=lambda: seen.append(cv2.getNumThreads()) or 1.0), Slot(10, Overflow.WAIT)
    try:
        run(source, (outlet,), RunLedger(), fresh_from_s=fresh_from_s)
        assert cv2.getNumThreads() == 2
    finally:
        cv2.setNumThreads(before)
    assert seen == [threads, threads]


def test_a_source_that_comes_back_as_another_is_told_of_before_its_first_frame():
    class Returning(FakeSource):
        back = None

        @property
        def state(self):
            return SourceState(reopened_as=self.back if self.given > 2 else None)

    source, outlet, log = Returning(4), Slot(10, Overflow.WAIT), []
    source.back = SourceInfo("fake", SourceKind.LIVE, 320, 240)

    class Noting(RunLedger):
        def captured(self, now_s):
            log.append("frame")
            super().captured(now_s)

    run(source, (outlet,), Noting(), on_reopened=log.append)
    assert log == ["frame", "frame", source.back, "frame", "frame"]


class HangingSource(FakeSource):
    """Takes until `release` to open; `interrupt` ends that if `interruptible`."""

    def __init__(self, interruptible):
        super().__init__(1)
        self.interruptible = interruptible
        self.entered, self.release, self.closing = threading.Event(), threading.Event(), threading.Event()

    def open(self):
        self.entered.set()
        self.release.wait(DEADLINE_S)
        return super().open()

    def interrupt(self):
        super().interrupt()
        if self.interruptible:
            self.release.set()

    def close(self):
        super().close()
        self.closing.set()


def test_an_opened_source_is_described_and_closed_once():
    source = FakeSource(3)
    opening = Opening(source, FirstError(), lambda: False)
    assert opening.info().frame_count == 3
    opening.close()
    assert source.closed == 1


@pytest.mark.parametrize(
    ("error", "expected"), [(InputError("no such camera"), "no such camera"), (SystemExit("out"), "SystemExit: out")]
)
def test_a_failure_is_reported(error, expected):
    class Failing(FakeSource):
        def open(self):
            raise error

    errors = FirstError()
    with pytest.raises(SlotClosed):
        Opening(Failing(1), errors, lambda: False).info()
    assert expected in str(errors.error)


@pytest.mark.parametrize("interruptible", [True, False])
def test_stop_interrupts_a_source_that_is_being_opened(monkeypatch, interruptible):
    monkeypatch.setattr("pipeline.runtime.capture.INTERRUPT_LIMIT_S", DEADLINE_S if interruptible else 0.05)
    source = HangingSource(interruptible)
    stream = Stream(Settings.model_validate(HEADLESS), source=source, segmenter=FakeSegmenter())

    def stop():
        source.entered.wait(DEADLINE_S)
        stream.stop()

    threading.Thread(target=stop).start()
    with pytest.raises(RunError, match="stopped before the source was open"):
        stream.open()
    assert not stream.opened
    assert source.closed == int(interruptible), "a source is not closed under the thread that opens it"
    source.release.set()
    assert source.closing.wait(DEADLINE_S)
    assert source.closed == 1


def test_stop_before_the_opening_holds():
    source = FakeSource(1)
    stream = Stream(Settings.model_validate(HEADLESS), source=source, segmenter=FakeSegmenter())
    stream.stop()
    with pytest.raises(RunError, match="stopped before the source was open"):
        stream.open()


def test_frames_are_marked():
    slot = Slot(10, Overflow.WAIT)
    mark = partial(replace, camera="hall")
    capture(FakeSource(2), [slot.put], RunLedger(), no_loss, lambda info: None, mark=mark)
    assert [frame.camera for frame in slot.get_all()] == ["hall", "hall"]
