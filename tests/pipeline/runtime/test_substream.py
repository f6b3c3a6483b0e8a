"""Which frame of the main stream goes to the network with which picture of the sub-stream."""

import logging
import threading
import time
from fractions import Fraction

import numpy as np
import pytest

from pipeline.errors import RunError
from pipeline.records import Frame, SourceInfo, SourceKind
from pipeline.runtime.substream import Substream
from pipeline.sources.base import Source
from pipeline.threads.stage import FirstError, Overflow, Slot
from tests.pipeline.fakes import DEADLINE_S, make_frame


class SteeredSource(Source):
    """Gives the frames that a test puts into `frames`; None ends it, an exception is raised."""

    def __init__(self):
        self.frames = Slot(100, Overflow.WAIT)
        self.opened = self.closed = self.asked = 0
        self.interrupted = threading.Event()

    def open(self):
        self.opened += 1
        return SourceInfo("sub", SourceKind.LIVE, 40, 30)

    def read(self):
        self.asked += 1
        while not self.interrupted.is_set():
            try:
                item = self.frames.get(0.01)
            except TimeoutError:
                continue
            if isinstance(item, Exception):
                raise item
            return item
        return None

    def close(self):
        self.closed += 1

    def interrupt(self):
        self.interrupted.set()


class Steered:
    """A running sub-stream; `give` returns when its picture is there."""

    def __init__(self):
        self.source, self.errors = SteeredSource(), FirstError()
        self.substream = Substream(self.source, self.errors)
        self._given = 0

    def __enter__(self):
        self.substream.start()
        return self

    def __exit__(self, *_):
        self.substream.close()
        assert self.source.closed

    def give(self, at_s):
        picture = Frame("sub", self._given, self._given, Fraction(1), at_s, np.zeros((30, 40, 3), np.uint8))
        self._given += 1
        self.until(lambda: self.source.asked == self._given)  # the ones before were taken over
        self.source.frames.put(picture)
        self.until(lambda: self.source.asked > self._given)
        return picture

    def until(self, condition):
        deadline_s = time.monotonic() + DEADLINE_S
        while not condition() and time.monotonic() < deadline_s:
            threading.Event().wait(0.001)
        assert condition()

    def main(self, index, at_s):
        """What is inferred at this frame: the frame's index and its substitute."""
        chosen = self.substream.to_infer(make_frame(index, captured_at_s=at_s))
        return None if chosen is None else (chosen.index, chosen.substitute)


@pytest.fixture
def steered():
    with Steered() as running:
        yield running


def test_a_picture_goes_with_the_nearest_frame_and_is_inferred_once(steered):
    assert steered.main(0, 10.00) is None
    first = steered.give(10.03)
    assert steered.main(1, 10.04) == (1, first)
    assert steered.main(2, 10.08) is None
    second = steered.give(10.09)
    assert steered.main(3, 10.12) == (2, second)  # 10 ms beside the frame before, 30 ms beside this one


def test_a_frame_is_inferred_once(steered):
    first = steered.give(10.04)
    assert steered.main(0, 10.04) == (0, first)
    second = steered.give(10.05)
    assert steered.main(1, 10.08) == (1, second)  # frame 0 is nearer


def test_of_several_pictures_the_newest_counts(steered):
    steered.give(10.01)
    newest = steered.give(10.03)
    assert steered.main(0, 10.04) == (0, newest)
    assert steered.main(1, 10.08) is None


def test_a_picture_far_from_every_frame_is_not_inferred(steered):
    steered.give(9.9)
    assert steered.main(0, 10.01) is None
    picture = steered.give(10.2)
    assert steered.main(1, 10.29) == (1, picture)


def test_skew(steered):
    steered.give(10.25)
    steered.substream.to_infer(make_frame(0, captured_at_s=10.0))
    steered.give(10.25)
    assert steered.substream.to_infer(make_frame(1, captured_at_s=10.3125)).skew_s == 0.0625
    assert make_frame(1).skew_s == 0.0


def test_without_a_picture_for_a_second_the_network_gets_the_main_stream(steered, caplog):
    caplog.set_level(logging.WARNING, "pipeline.runtime.substream")
    assert steered.main(0, 10.0) is None  # it may still appear
    assert steered.main(1, 11.0) is None
    assert caplog.messages == []
    assert steered.main(2, 11.01) == (2, None)
    assert steered.main(3, 11.05) == (3, None)
    assert caplog.messages == ["fake: no picture of the sub-stream for 1 s; the network gets the main stream"]
    picture = steered.give(11.06)
    assert steered.main(4, 11.09) == (4, picture)  # frame 3 is nearer, but was inferred
    assert steered.main(5, 11.13) is None
    assert caplog.messages[1:] == ["fake: the sub-stream is back"]
    assert steered.main(6, 12.05) is None
    assert steered.main(7, 12.07) == (7, None)
    assert len(caplog.messages) == 3


def test_a_picture_from_before_the_main_stream_was_lost_is_not_used(steered):
    steered.give(10.0)
    assert steered.main(0, 15.0) == (0, None)


def test_a_sub_stream_that_ends_leaves_the_main_stream(steered):
    steered.give(10.0)
    assert steered.main(0, 10.0) is not None
    steered.source.frames.put(None)
    steered.until(lambda: steered.source.closed)
    assert steered.main(1, 10.5) is None
    assert steered.main(2, 11.5) == (2, None)
    assert steered.errors.error is None


def test_what_fails_in_its_thread_is_reported(steered):
    steered.source.frames.put(RunError("boom"))
    steered.until(lambda: steered.errors.error is not None)
    assert str(steered.errors.error) == "boom"
    assert steered.source.closed


def test_it_may_be_closed_without_a_start():
    source = SteeredSource()
    Substream(source, FirstError()).close()
    assert source.opened == 0
