"""A network that hangs or fails when it is told to."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.records import Instances
from pipeline.segmentation.segmenter import Segmenter

HANGS_AT_MOST_S = 60.0


class NetworkFaults:
    """The faults of a network, whichever segmenter has them; from any thread.

    Attributes:
        done: faults that happened.
    """

    def __init__(self) -> None:
        self.done = 0
        self._next = ""
        self._answers = threading.Event()
        self._lock = threading.Lock()

    def hang(self) -> None:
        """Let the next inference not answer until the network is opened again."""
        self._next = "hang"

    def fail(self) -> None:
        """Let the next inference raise an error."""
        self._next = "fail"

    def opened(self) -> None:
        """An inference that hangs returns, too late for anybody."""
        with self._lock:
            self._answers.set()
            self._answers = threading.Event()

    def happen(self) -> bool:
        """Do what comes next; return whether there is no result. Raises RuntimeError if it is to fail."""
        with self._lock:
            fault, self._next, answers = self._next, "", self._answers
            self.done += bool(fault)
        if fault == "fail":
            raise RuntimeError("out of memory, on purpose")
        if fault == "hang":
            answers.wait(HANGS_AT_MOST_S)
        return bool(fault)


class FailingNetwork(Segmenter):
    """A segmenter with faults."""

    def __init__(self, segmenter: Segmenter, faults: NetworkFaults) -> None:
        self._segmenter, self._faults = segmenter, faults
        self.detections = segmenter.detections

    @property
    def labels(self) -> Sequence[str]:
        return self._segmenter.labels

    @property
    def description(self) -> str:
        return self._segmenter.description

    @property
    def workers(self) -> int:
        return self._segmenter.workers

    def open(self) -> None:
        self._faults.opened()
        self._segmenter.open()

    def segment_batch(self, images_bgr: Sequence[NDArray[np.uint8]]) -> list[Instances]:
        if self._faults.happen():
            return [Instances.empty() for _ in images_bgr]
        return self._segmenter.segment_batch(images_bgr)

    def interrupt(self) -> None:
        self._segmenter.interrupt()

    def close(self) -> None:
        self._segmenter.close()
