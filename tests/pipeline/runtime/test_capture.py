import cv2
import pytest

from pipeline.errors import RunError
from pipeline.runtime.capture import capture
from pipeline.stats import RunStats
from pipeline.threads.slot import Overflow, Slot
from tests.pipeline.fakes import FakeSource


def test_every_frame_goes_to_every_outlet_and_the_source_is_closed():
    source, stats = FakeSource(5), RunStats()
    first, second = Slot(10, Overflow.WAIT), Slot(10, Overflow.WAIT)
    capture(source, (first, second), stats, pytest.fail)
    assert [frame.index for frame in first.get_all()] == [0, 1, 2, 3, 4]
    assert [frame.index for frame in second.get_all()] == [0, 1, 2, 3, 4]
    assert source.closed == 1
    assert stats.overall().captured == 5


def test_the_frame_in_hand_is_reported_when_nobody_wants_it():
    source, stats, lost = FakeSource(None), RunStats(), []
    outlet = Slot(1, Overflow.WAIT)
    outlet.close()
    capture(source, (outlet,), stats, lambda frame: lost.append(frame.index))
    assert lost == [0]
    assert source.closed == 1
    assert stats.overall().captured == 1


def test_a_failing_source_is_closed_and_its_error_passes():
    source = FakeSource(2, error=RunError("the cable is out"))
    outlet = Slot(10, Overflow.WAIT)
    with pytest.raises(RunError, match="cable"):
        capture(source, (outlet,), RunStats(), pytest.fail)
    assert source.closed == 1
    assert len(outlet) == 2


def test_frames_that_waited_while_the_run_was_set_up_are_not_handed_on():
    times = iter([1.0, 2.0, 7.0, 8.0])
    source, stats, stale = FakeSource(4, clock=lambda: next(times)), RunStats(), []
    outlet = Slot(10, Overflow.WAIT)
    capture(source, (outlet,), stats, lambda frame: stale.append(frame.index), fresh_from_s=6.5)
    assert stale == [0, 1]
    assert [frame.index for frame in outlet.get_all()] == [2, 3]
    assert stats.overall().captured == 4


@pytest.mark.parametrize(("fresh_from_s", "threads"), [(0.0, 1), (None, 2)])
def test_only_live_sources_keep_opencv_to_one_thread(fresh_from_s, threads):
    before = cv2.getNumThreads()
    cv2.setNumThreads(2)
    seen = []
    source, outlet = FakeSource(2, clock=lambda: seen.append(cv2.getNumThreads()) or 1.0), Slot(10, Overflow.WAIT)
    try:
        capture(source, (outlet,), RunStats(), pytest.fail, fresh_from_s)
        assert cv2.getNumThreads() == 2
    finally:
        cv2.setNumThreads(before)
    assert seen == [threads, threads]
