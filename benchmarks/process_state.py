"""Memory, threads and handles of this process while a soak test runs. Linux only."""

from __future__ import annotations

import ctypes
import gc
import os
import re
import statistics
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import cv2
import numpy as np

from benchmarks.soak_verdict import Footprint
from pipeline.errors import InputError
from pipeline.threads.opencv_process import one_opencv_thread

WARM_FROM, WARM_TO, END_FROM = 0.2, 0.3, 0.9
"""Bounds of the warm and the final part, as shares of the run."""
SAMPLES = 10
"""Memory samples in each part."""
SETTLE_DEADLINE_S = 5.0
"""Deadline for threads and handles to end after the run: a server's sockets close asynchronously."""


class Sampler:
    """A thread that samples the memory and ends the run; a context manager, started by `begin`."""

    def __init__(self, duration_s: float, end: Callable[[], None]) -> None:
        self._duration_s = duration_s
        self._end = end
        self._leave = threading.Event()
        self._thread = threading.Thread(target=self._run, name="soak sampler")
        self.warm: list[tuple[int, int]] = []
        self.last: list[tuple[int, int]] = []
        """Resident bytes before and after `release_memory`."""

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
        began_s = time.monotonic()
        spans = ((WARM_FROM, WARM_TO, self.warm), (END_FROM, 1.0, self.last))
        for first, last, samples in spans:
            for share in np.linspace(first, last, SAMPLES, endpoint=False):
                if self._leave.wait(max(0.0, began_s + share * self._duration_s - time.monotonic())):
                    return
                raw = resident_bytes()
                release_memory()
                samples.append((raw, resident_bytes()))
        if not self._leave.wait(max(0.0, began_s + self._duration_s - time.monotonic())):
            self._end()


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


def median(values: Iterable[int]) -> float:
    found = list(values)
    return float(statistics.median(found)) if found else float("nan")


def check_system() -> None:
    """Raises InputError where memory cannot be measured."""
    if not Path("/proc/self/statm").exists():
        raise InputError("memory, threads and handles are read from /proc, which this system does not have: use Linux")
