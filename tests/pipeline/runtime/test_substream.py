"""Which frame of the main stream goes to the network with which picture of the sub-stream."""

import logging
import threading
import time
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from pipeline.errors import InputError, RunError
from pipeline.records import Frame, SourceInfo, SourceKind
from pipeline.runtime.substream import Substream, make_substream
from pipeline.settings.source_settings import SourceSettings
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

    def give(self, at_s, image=None):
        """Returns the number of the picture."""
        image = np.zeros((30, 40, 3), np.uint8) if image is None else image
        picture = Frame("sub", self._given, self._given, Fraction(1), at_s, image)
        self._given += 1
        self.until(lambda: self.source.asked == self._given)  # the ones before were taken over
        self.source.frames.put(picture)
        self.until(lambda: self.source.asked > self._given)
        return picture.index

    def until(self, condition):
        deadline_s = time.monotonic() + DEADLINE_S
        while not condition() and time.monotonic() < deadline_s:
            threading.Event().wait(0.001)
        assert condition()

    def main(self, index, at_s, image=None):
        """What is inferred at this frame: the frame's index and the number of the picture, if it is one."""
        frame = make_frame(index, captured_at_s=at_s)
        chosen = self.substream.to_infer(frame if image is None else replace(frame, image_bgr=image))
        if chosen is None:
            return None
        return chosen.index, None if chosen.substitute is None else chosen.substitute.index


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
    steered.give(10.05)
    assert steered.main(1, 10.08) is None  # frame 0 is nearer


def test_of_several_pictures_the_newest_counts(steered):
    steered.give(10.01)
    newest = steered.give(10.03)
    assert steered.main(0, 10.04) == (0, newest)
    assert steered.main(1, 10.08) is None


def moving(step):
    """A white bar on gray, which moves two columns a step and back."""
    image = np.full((36, 64, 3), 90, np.uint8)
    x = 2 * abs(step % 50 - 25)
    image[:, x : x + 8] = 255
    return image


@pytest.mark.parametrize("later", [3, -3], ids=["main later", "sub later"])
def test_once_something_moves_a_picture_goes_with_the_frame_that_shows_the_same(later, steered):
    """25 frames a second in both streams, one of them three frames later."""
    pairs = []
    for index in range(60):
        at_s = 10 + index / 25
        steered.give(at_s - 0.001, moving(index + max(later, 0)))
        pairs.append(steered.main(index, at_s, moving(index + max(-later, 0))))
    assert {frame - picture for frame, picture in pairs[40:]} == {later}


def test_of_large_frames_two_wait_for_a_sub_stream_that_is_later(steered, monkeypatch):
    monkeypatch.setattr("pipeline.runtime.substream.MOST_HELD_BYTES", 36 * 64 * 3)
    pairs = []
    for index in range(60):
        at_s = 10 + index / 25
        steered.give(at_s - 0.001, moving(index))
        pairs.append(steered.main(index, at_s, moving(index + 3)))
    assert {frame - picture for frame, picture in pairs[40:]} == {-1}


def test_without_a_picture_for_a_second_the_network_gets_the_main_stream(steered, caplog):
    caplog.set_level(logging.INFO, "pipeline.runtime.substream")
    assert steered.main(0, 10.0) is None  # it may still appear
    assert steered.main(1, 11.0) is None
    assert caplog.messages == []
    assert steered.main(2, 11.01) == (2, None)
    assert steered.main(3, 11.05) == (3, None)
    assert caplog.messages == ["fake: the network gets the main stream until the sub-stream is there"]
    steered.give(11.06)
    assert steered.main(4, 11.09) is None  # frame 3 is nearer, and was inferred
    picture = steered.give(11.12)
    assert steered.main(5, 11.13) == (5, picture)
    assert caplog.messages[1:] == ["fake: the network gets the sub-stream"]
    assert steered.main(6, 12.05) is None
    assert steered.main(7, 12.13) == (7, None)
    assert caplog.messages[2:] == ["fake: no picture of the sub-stream for 1 s; the network gets the main stream"]


def test_a_sub_stream_that_comes_and_goes_logs_each_line_once_and_then_their_number(steered, caplog):
    caplog.set_level(logging.INFO, "pipeline.runtime.substream")
    for number in range(4):
        steered.give(10.0 + 3 * number)
        steered.main(2 * number, 10.01 + 3 * number)
        steered.main(2 * number + 1, 12.0 + 3 * number)
    lost = "fake: no picture of the sub-stream for 1 s; the network gets the main stream"
    back = "fake: the network gets the sub-stream"
    assert caplog.messages == [lost, back]
    steered.substream.close()
    numbers = [f"{text} ({count} more times in the last minute)" for text, count in ((back, 2), (lost, 3))]
    assert caplog.messages[2:] == numbers


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


def test_without_the_setting_there_is_none():
    assert make_substream(SourceSettings(), FirstError(), time.monotonic) is None
    with pytest.raises(InputError, match="is not supported"):
        make_substream(SourceSettings(detect_uri="foo://x"), FirstError(), time.monotonic)


def test_it_may_be_closed_without_a_start():
    source = SteeredSource()
    Substream(source, FirstError()).close()
    assert source.opened == 0
