"""A segmenter that fails or hangs is started again, within its budget."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from pipeline.errors import InputError, RunError
from pipeline.records import SourceKind
from pipeline.runtime.stream import Stream
from pipeline.segmentation.supervision import POLL_S, SegmenterLostError, SupervisedSegmenter
from pipeline.settings.model_settings import SupervisionSettings
from pipeline.settings.schema import Settings
from pipeline.threads.stage import SlotClosed
from tests.pipeline.fakes import DEADLINE_S, FakeClock, FakeSegmenter, FakeSource, hang_until
from tests.pipeline.runtime.test_privacy_run import (
    SILHOUETTE,
    Finder,
    Pace,
    Street,
    all_covered,
    assert_nobody_seen,
    run_live,
    watchers,
)


def picture(index=7, size=(48, 80)):
    return np.full((*size, 3), index, np.uint8)


def supervised(segmenter, stopped=None, clock=None, **settings):
    """Its clock stands still unless the test moves it: a slow machine does not look like a network that hangs."""
    values = SupervisionSettings(**{"timeout_s": 0.2, "start_timeout_s": DEADLINE_S, **settings})
    return SupervisedSegmenter(segmenter, values, stopped or (lambda: False), clock or FakeClock())


def fail_on(*indices):
    def fail(index):
        if index in indices:
            raise ValueError(f"broken at {index}")

    return fail


def test_while_all_is_well_it_gives_what_the_segmenter_gives():
    fake = FakeSegmenter()
    segmenter = supervised(fake)
    segmenter.open()
    assert segmenter.segment_batch([picture(7)])[0].boxes_xyxy[0, 0] == 7
    assert segmenter.segment_batch([picture(8)])[0].boxes_xyxy[0, 0] == 8
    assert (segmenter.labels, segmenter.description) == (fake.labels, fake.description)
    assert (segmenter.restarts, segmenter.restarting) == (0, False)
    segmenter.close()
    segmenter.close()
    assert fake.closed == 1


def test_a_failure_costs_one_frame(caplog):
    fake = FakeSegmenter(before=fail_on(8))
    segmenter = supervised(fake)
    segmenter.open()
    segmenter.segment_batch([picture(7)])[0]
    with pytest.raises(SegmenterLostError, match="broken at 8"):
        segmenter.segment_batch([picture(8)])[0]
    assert (segmenter.restarts, segmenter.restarting) == (0, True)
    assert segmenter.segment_batch([picture(9)])[0].boxes_xyxy[0, 0] == 9
    assert (segmenter.restarts, segmenter.restarting) == (1, False)
    assert "failed: segmenter 1 failed: ValueError: broken at 8; restarting it (1 of 3 within 600 s)" in caplog.text
    segmenter.close()


def test_a_hanging_inference_is_left_behind_and_cannot_disturb_the_next_engine():
    hang, back, clock = threading.Event(), threading.Event(), FakeClock()

    class Hanging(FakeSegmenter):
        def segment(self, image_bgr):
            if image_bgr[0, 0, 0] == 8:
                hang_until(hang, clock, lambda: segmenter.restarting)
                back.set()
            return super().segment(image_bgr)

    fake = Hanging()
    segmenter = supervised(fake, clock=clock)
    segmenter.open()
    segmenter.segment_batch([picture(7)])[0]
    with pytest.raises(SegmenterLostError, match=r"did not answer within 0\.2 s"):
        segmenter.segment_batch([picture(8)])[0]
    assert segmenter.segment_batch([picture(9)])[0].boxes_xyxy[0, 0] == 9
    hang.set()
    assert back.wait(DEADLINE_S)
    assert segmenter.segment_batch([picture(10)])[0].boxes_xyxy[0, 0] == 10
    assert fake.closed == 0
    segmenter.close()
    assert fake.closed == 1


def test_the_first_inference_of_a_size_may_take_long():
    clock, seen_heights = FakeClock(), set()

    class Compiling(FakeSegmenter):
        def segment(self, image_bgr):
            if image_bgr.shape[0] not in seen_heights:
                seen_heights.add(image_bgr.shape[0])
                for _ in range(3):
                    clock.now_s += 1.0
                    threading.Event().wait(2 * POLL_S)  # long enough to be found waiting
            return super().segment(image_bgr)

    segmenter = supervised(Compiling(), clock=clock)
    segmenter.open()
    for size in ((48, 80), (50, 80), (48, 80)):
        segmenter.segment_batch([picture(7, size)])[0]
    assert segmenter.restarts == 0
    segmenter.close()


def test_too_many_failures_end_the_run_and_old_ones_do_not_count():
    now_s = [100.0]
    segmenter = supervised(FakeSegmenter(before=fail_on(8)), clock=lambda: now_s[0], restarts=2, within_s=50.0)
    segmenter.open()
    for _ in range(3):
        with pytest.raises(SegmenterLostError):
            segmenter.segment_batch([picture(8)])[0]
        now_s[0] += 30.0
    with pytest.raises(SegmenterLostError):
        segmenter.segment_batch([picture(8)])[0]
    now_s[0] += 1.0
    with pytest.raises(RunError, match=r"broken at 8; it was lost 3 times within 50 s, and 2 are allowed"):
        segmenter.segment_batch([picture(8)])[0]
    segmenter.close()


def test_what_fails_at_the_first_opening_is_raised_as_it_is():
    def missing():
        raise InputError("no such weights")

    segmenter = supervised(FakeSegmenter(opening=missing))
    with pytest.raises(InputError, match="no such weights"):
        segmenter.open()
    segmenter.close()


def test_an_opening_that_fails_later_counts_too():
    opened = []

    def opening():
        opened.append(1)
        if len(opened) > 1:
            raise OSError("out of memory")

    segmenter = supervised(FakeSegmenter(before=fail_on(8), opening=opening), restarts=2)
    segmenter.open()
    for _ in range(2):
        with pytest.raises(SegmenterLostError):
            segmenter.segment_batch([picture(8)])[0]
    with pytest.raises(RunError, match="out of memory"):
        segmenter.segment_batch([picture(8)])[0]
    segmenter.close()


def test_the_end_of_the_run_ends_a_wait():
    hang, stopped = threading.Event(), threading.Event()
    segmenter = supervised(FakeSegmenter(before=lambda _: hang.wait(DEADLINE_S)), stopped.is_set)
    segmenter.open()
    stopped.set()
    with pytest.raises(SlotClosed):
        segmenter.segment_batch([picture(7)])[0]
    hang.set()
    segmenter.close()


def test_closing_an_engine_that_still_loads_leaves_it_behind():
    load, stopped = threading.Event(), threading.Event()
    fake = FakeSegmenter(opening=lambda: load.wait(DEADLINE_S))
    segmenter = SupervisedSegmenter(fake, SupervisionSettings(), stopped.is_set, close_deadline_s=0.1)
    stopped.set()
    with pytest.raises(SlotClosed):
        segmenter.open()
    segmenter.close()
    assert fake.closed == 0
    load.set()


# -- several workers ---------------------------------------------------------------------------------------------------


class Crew(FakeSegmenter):
    """Two workers: frame 8 waits until frame 9 is inside, then does as told; frame 9 returns once `let` is set."""

    workers = 2  # an attribute in place of the property

    def __init__(self, at_8, opening=None):
        super().__init__(self._work, opening)
        self.at_8, self.inside, self.let, self.events = at_8, threading.Event(), threading.Event(), []

    def open(self):
        self.events.append("open")
        super().open()

    def close(self):
        self.events.append("close")
        super().close()

    def _work(self, index):
        if index == 8:
            assert self.inside.wait(DEADLINE_S)
            self.at_8()
        if index == 9:
            self.inside.set()
            assert self.let.wait(DEADLINE_S)


def both(segmenter, *indices):
    """What the segmenter gives for frames at the same time: a number, or the type of the error."""

    def one(index):
        try:
            return segmenter.segment_batch([picture(index)])[0].boxes_xyxy[0, 0]
        except (SegmenterLostError, RunError) as error:
            return type(error)

    with ThreadPoolExecutor(len(indices)) as callers:
        return list(callers.map(one, indices))


def test_when_one_worker_fails_the_other_finishes_and_the_network_is_closed_before_it_is_opened_again():
    def fail():
        crew.let.set()
        raise ValueError("broken at 8")

    crew = Crew(fail)
    segmenter = supervised(crew)
    segmenter.open()
    assert segmenter.workers == 2
    assert both(segmenter, 8, 9) == [SegmenterLostError, 9]
    assert crew.events == ["open", "close"]
    assert both(segmenter, 10, 11) == [10, 11]
    assert (segmenter.restarts, segmenter.restarting) == (1, False)
    segmenter.close()
    assert crew.events == ["open", "close", "open", "close"]


def test_when_one_worker_hangs_the_network_is_restarted_once_for_both(caplog):
    hang, clock = threading.Event(), FakeClock()
    crew = Crew(lambda: hang_until(hang, clock, lambda: segmenter.restarting))
    segmenter = supervised(crew, clock=clock)
    segmenter.open()
    assert both(segmenter, 7, 10) == [7, 10]  # from here on, the size is warm
    assert both(segmenter, 8, 9) == [SegmenterLostError] * 2
    assert both(segmenter, 11, 12, 13, 14) == [11, 12, 13, 14]
    assert segmenter.restarts == 1
    assert crew.events == ["open", "open"]
    assert "(1 of 3 within 600 s)" in caplog.text
    assert "(2 of 3 within 600 s)" not in caplog.text
    hang.set()
    crew.let.set()
    segmenter.close()
    assert crew.events == ["open", "open", "close"]


def test_the_last_loss_that_is_allowed_ends_both_workers():
    clock = FakeClock()
    crew = Crew(lambda: hang_until(crew.let, clock, lambda: segmenter.restarting))
    segmenter = supervised(crew, clock=clock, restarts=0)
    segmenter.open()
    both(segmenter, 7, 10)
    assert set(both(segmenter, 8, 9)) == {RunError, SegmenterLostError}
    assert both(segmenter, 10, 11) == [RunError] * 2
    assert crew.events == ["open"]
    crew.let.set()
    segmenter.close()


def test_while_a_worker_prepares_for_a_size_frames_may_take_as_long_as_at_the_start():
    begun, asked = threading.Event(), []

    class Compiling(FakeSegmenter):
        @property
        def preparing(self):
            asked.append(1)
            if len(asked) == 3:
                begun.set()
            return True

    def slow(index):
        if index == 8:
            assert begun.wait(DEADLINE_S)

    now_s = [0.0]
    fake = Compiling(before=slow)
    segmenter = supervised(fake, clock=lambda: now_s[0], timeout_s=0.2, start_timeout_s=50.0)
    segmenter.open()
    segmenter.segment_batch([picture(7)])
    with ThreadPoolExecutor(1) as caller:
        answer = caller.submit(segmenter.segment_batch, [picture(8)])
        now_s[0] = 40.0
        assert answer.result(DEADLINE_S)[0].boxes_xyxy[0, 0] == 8
    assert segmenter.restarts == 0
    segmenter.close()


ENGINE = {"restart": True, "timeout_s": 0.3, "start_timeout_s": 0.3}


def run_street(finder, frames=40, **values):
    pace, sinks = Pace(), watchers()
    base = {"window": {"mode": "off"}, "overlay": {"status": False}, "supervision": ENGINE}
    settings = Settings.model_validate({**base, **values})
    stream = Stream(settings, source=Street(frames, SourceKind.LIVE, gate=pace), segmenter=finder)
    for sink in sinks:
        stream.add_sink(sink)
    with stream:
        run_live(stream, pace)
    return stream, pace, sinks


@pytest.mark.parametrize("presentation", ["smooth", "exact"])
def test_a_live_run_goes_on_and_is_covered_while_the_engine_is_lost(presentation):
    finder = Finder(before=lambda index: fail_on(10, 11, 12, 20, 21)(index))
    values = {"privacy": SILHOUETTE, "presentation": presentation, "supervision": {**ENGINE, "restarts": 9}}
    stream, pace, sinks = run_street(finder, **values)
    summary = stream.summary()
    assert summary.restarts >= 1
    assert_nobody_seen(sinks, pace.shown)
    shown = {item.frame.index: item for item in pace.shown}
    assert len(shown) >= 39
    if presentation == "exact":
        lost = [index for index in (10, 11, 12, 20, 21) if index in shown]
        assert lost
        assert all(all_covered(shown[index].frame.image_bgr) and not len(shown[index].instances) for index in lost)
        assert not all_covered(shown[13].frame.image_bgr)
    stats = summary.stats
    assert stats.captured == stats.presented + stats.dropped_total


def test_a_live_run_whose_budget_is_used_up_ends_with_a_clear_error():
    with pytest.raises(RunError, match="it was lost 2 times within 600 s, and 1 are allowed"):
        run_street(Finder(before=fail_on(*range(5, 40))), supervision={**ENGINE, "restarts": 1})


def test_recorded_runs_and_runs_without_the_setting_end_with_the_first_error():
    for kind, values in ((SourceKind.RECORDED, {"supervision": ENGINE}), (SourceKind.LIVE, {})):
        settings = Settings.model_validate({"window": {"mode": "off"}, **values})
        stream = Stream(settings, source=FakeSource(None, kind), segmenter=FakeSegmenter(before=fail_on(3, 4, 5, 6)))
        with pytest.raises(RunError, match="inference failed: ValueError: broken at"), stream:
            list(stream)
