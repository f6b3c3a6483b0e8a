"""Signals raise what has an exit code of its own, inside a block of the main thread, and nowhere else."""

import os
import signal
import threading

import pytest

from pipeline.commands.signals import StopRequest, Terminated, handled, unwind


@pytest.mark.parametrize(("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)])
def test_each_signal_unwinds_with_its_own_error(number, error):
    with handled(unwind, signal.SIGINT, signal.SIGTERM), pytest.raises(KeyboardInterrupt) as caught:
        os.kill(os.getpid(), number)
    assert caught.type is error


def test_blocks_nest_and_give_back_what_was_before():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    received = []

    def fail():
        with handled(lambda number, _: received.append(number), signal.SIGTERM):
            os.kill(os.getpid(), signal.SIGTERM)
            raise ValueError

    with handled(unwind, signal.SIGTERM):
        with pytest.raises(ValueError, match=r"^$"):
            fail()
        assert signal.getsignal(signal.SIGTERM) is unwind
    assert received == [signal.SIGTERM]
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_another_thread_changes_nothing():
    seen = []

    def run():
        with handled(unwind, signal.SIGTERM):
            seen.append(signal.getsignal(signal.SIGTERM))

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=run)
    thread.start()
    thread.join(10)
    assert seen == [before]


@pytest.mark.parametrize(("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)])
def test_without_an_open_run_the_first_signal_unwinds(number, error):
    with pytest.raises(KeyboardInterrupt) as caught:
        StopRequest(lambda: False).handle(number, None)
    assert caught.type is error


def test_the_first_signal_stops_a_run_and_the_second_unwinds():
    stopped = []
    request = StopRequest(lambda: stopped.append(True) is None)
    assert request.signal is None
    request.handle(signal.SIGINT, None)
    assert (stopped, request.signal) == ([True], signal.SIGINT)
    with pytest.raises(Terminated):
        request.handle(signal.SIGTERM, None)
    assert stopped == [True]
