"""Memory, threads and handles of a process."""

import os

import cv2
import numpy as np

from benchmarks.process_state import footprint, release_memory, resident_bytes
from pipeline.threads.opencv_process import one_opencv_thread


def test_footprint_sees_a_new_handle_and_memory_that_is_used(tmp_path):
    release_memory()  # what earlier tests have left would be freed meanwhile
    before, used = footprint(), resident_bytes()
    with open(tmp_path / "held", "wb"):
        after = footprint()
        block = np.ones(8 * 2**20)  # 64 MB
        assert resident_bytes() - used > 32e6
    assert len(after.handles) == len(before.handles) + 1
    assert any(name.endswith(f"{os.sep}held") for name in after.handles)
    assert "MainThread" in before.threads
    del block


def test_opencvs_pool_does_not_count():
    with one_opencv_thread():
        alone = footprint().system_threads
    threads = cv2.getNumThreads()
    cv2.setNumThreads(3)
    try:
        cv2.GaussianBlur(np.zeros((2000, 2000, 3), np.uint8), (0, 0), 5)
        assert footprint().system_threads <= alone
    finally:
        cv2.setNumThreads(threads)
