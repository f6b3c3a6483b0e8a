"""OpenCV's loudness and threads before, inside and after."""

from __future__ import annotations

import threading

import cv2
import pytest

from pipeline.threads.opencv_process import one_opencv_thread, quiet_opencv

SILENT = cv2.utils.logging.LOG_LEVEL_SILENT
level = cv2.utils.logging.getLogLevel


def test_silent_inside_and_as_before_afterwards_also_after_an_error() -> None:
    before = level()
    assert before != SILENT
    with quiet_opencv():
        assert level() == SILENT
    assert level() == before
    with pytest.raises(KeyError), quiet_opencv():
        raise KeyError
    assert level() == before


def test_the_last_thread_out_turns_it_up_again() -> None:
    before = level()
    entered, leave = threading.Event(), threading.Event()

    def stay() -> None:
        with quiet_opencv():
            entered.set()
            leave.wait(5)

    thread = threading.Thread(target=stay)
    with quiet_opencv():
        thread.start()
        assert entered.wait(5)
    assert level() == SILENT
    leave.set()
    thread.join(5)
    assert level() == before


@pytest.fixture
def three_threads():
    before = cv2.getNumThreads()
    cv2.setNumThreads(3)
    yield
    cv2.setNumThreads(before)


def test_the_last_one_to_leave_brings_the_threads_back(three_threads):
    with one_opencv_thread():
        assert cv2.getNumThreads() == 1
        with one_opencv_thread():
            assert cv2.getNumThreads() == 1
        assert cv2.getNumThreads() == 1
    assert cv2.getNumThreads() == 3


def test_a_failure_brings_the_threads_back_too(three_threads):
    with pytest.raises(KeyError), one_opencv_thread():
        raise KeyError
    assert cv2.getNumThreads() == 3
