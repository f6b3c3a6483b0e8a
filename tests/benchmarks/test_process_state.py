"""Memory, threads and handles of a process."""

import os
import threading

import cv2
import numpy as np
import pytest

from benchmarks.process_state import Sampler, footprint, memory_sample, release_memory, resident_bytes
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


def test_memory_that_is_held_is_told_from_what_the_allocator_keeps():
    before = memory_sample(0.25)
    assert before.share == 0.25
    held = np.ones(4 * 2**20)  # 32 MB
    while_held = memory_sample(0.5)
    assert while_held.heap_bytes - before.heap_bytes == pytest.approx(held.nbytes, rel=0.05)
    assert while_held.tidy_bytes - before.tidy_bytes > 0.5 * held.nbytes
    objects = [str(number) for number in range(100_000)]
    # a few other objects may have gone meanwhile, and strings of one character are not new
    assert memory_sample(0.75).blocks - while_held.blocks == pytest.approx(len(objects), rel=0.01)
    del held
    assert memory_sample(1.0).heap_bytes - before.heap_bytes < 8e6


def test_a_run_is_sampled_and_ended():
    ended = threading.Event()
    with Sampler(1.2, ended.set) as sampler:
        sampler.begin()
        assert ended.wait(30.0)
    assert [0.0 <= sample.share < 1.0 for sample in sampler.memory] == [True] * 2
    assert sampler.memory[1].share >= 1.0 / 1.2


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
