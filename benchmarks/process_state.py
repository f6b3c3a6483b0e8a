"""Memory, threads and handles of this process while a soak test runs. Linux only."""

from __future__ import annotations

import ctypes
import gc
import os
import re
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from benchmarks.soak_verdict import Footprint, MemorySample
from pipeline.errors import InputError
from pipeline.threads.opencv_process import one_opencv_thread

SAMPLES, SHORTEST_PERIOD_S = 400, 1.0
"""Memory samples in a run, and the least time between two."""
SETTLE_DEADLINE_S = 5.0
"""Deadline for threads and handles to end after the run: a server's sockets close asynchronously."""


class Sampler:
    """A thread that samples the memory and ends the run; a context manager, started by `begin`."""

    def __init__(self, duration_s: float, end: Callable[[], None]) -> None:
        self._duration_s = duration_s
        self._end = end
        self._leave = threading.Event()
        self._thread = threading.Thread(target=self._run, name="soak sampler")
        self.memory: list[MemorySample] = []

    def __enter__(self) -> Sampler:
        return self

    def __exit__(self, *_error: object) -> None:
        self._leave.set()
        if self._thread.ident is not None:
            self._thread.join(30.0)

    def begin(self) -> None:
        """Start the clock of the run."""
        self._thread.start()

    def _run(self) -> None:
        began_s, period_s = time.monotonic(), max(SHORTEST_PERIOD_S, self._duration_s / SAMPLES)
        while (passed_s := time.monotonic() - began_s) < self._duration_s:
            self.memory.append(memory_sample(passed_s / self._duration_s))
            next_s = min(passed_s + period_s, self._duration_s)
            if self._leave.wait(max(0.0, began_s + next_s - time.monotonic())):
                return
        self._end()


class _HeapInUse(ctypes.Structure):
    """The C library's `struct mallinfo2`: bytes and counts."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()
    ]


def memory_sample(share: float) -> MemorySample:
    """The memory of this process; collects garbage, and returns the allocator's free pages.

    Args:
        share: how much of the run is over.
    """
    resident = resident_bytes()
    release_memory()
    ask = ctypes.CDLL(None).mallinfo2
    ask.restype = _HeapInUse
    heap = ask()
    return MemorySample(share, resident, resident_bytes(), heap.uordblks + heap.hblkhd, sys.getallocatedblocks())


def resident_bytes() -> int:
    """Resident memory of this process."""
    return int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def release_memory() -> None:
    """Collect garbage, and hand the allocator's free pages back to the system where the C library can."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def footprint() -> Footprint:
    """The threads and handles of this process, without OpenCV's pool, which comes and goes with its calls."""
    with one_opencv_thread():
        cv2.GaussianBlur(np.zeros((512, 512), np.uint8), (0, 0), 3)  # in this thread, which ends the pool
    handles = []
    for handle in os.listdir("/proc/self/fd"):
        try:
            handles.append(re.sub(r"\d{2,}", "N", os.readlink(f"/proc/self/fd/{handle}")))
        except FileNotFoundError:
            continue  # the handle of the listing itself
    threads = sorted(thread.name for thread in threading.enumerate())
    return Footprint(tuple(threads), tuple(sorted(handles)), len(os.listdir("/proc/self/task")))


def settled(wanted: Footprint) -> Footprint:
    """The footprint, once it is no larger than wanted or the deadline has passed."""
    until_s = time.monotonic() + SETTLE_DEADLINE_S
    while True:
        now = footprint()
        fits = len(now.threads) <= len(wanted.threads) and len(now.handles) <= len(wanted.handles)
        if (fits and now.system_threads <= wanted.system_threads) or time.monotonic() > until_s:
            return now
        time.sleep(0.1)


def check_system() -> None:
    """Raises InputError where memory cannot be measured."""
    if not Path("/proc/self/statm").exists():
        raise InputError("memory, threads and handles are read from /proc, which this system does not have: use Linux")
    if not hasattr(ctypes.CDLL(None), "mallinfo2"):
        raise InputError("memory is read with mallinfo2, which this C library does not have: use glibc 2.33 or newer")
