import cv2
import pytest

from pipeline.opencv_threads import one_opencv_thread


@pytest.fixture(autouse=True)
def _three_threads():
    before = cv2.getNumThreads()
    cv2.setNumThreads(3)
    yield
    cv2.setNumThreads(before)


def test_the_last_one_to_leave_brings_the_threads_back():
    with one_opencv_thread():
        assert cv2.getNumThreads() == 1
        with one_opencv_thread():
            assert cv2.getNumThreads() == 1
        assert cv2.getNumThreads() == 1
    assert cv2.getNumThreads() == 3


def test_a_failure_brings_them_back_too():
    with pytest.raises(KeyError), one_opencv_thread():
        raise KeyError
    assert cv2.getNumThreads() == 3
