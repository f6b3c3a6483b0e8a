"""Supervises a segmenter: one that fails or hangs is abandoned and restarted, within a budget."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import RunError, StageStuckError
from pipeline.records import Clock, Instances
from pipeline.segmentation.segmenter import Segmenter
from pipeline.settings.model_settings import SupervisionSettings
from pipeline.threads.stage import FirstError, Overflow, Slot, SlotClosed, Stage

log = logging.getLogger(__name__)

Images = Sequence[NDArray[np.uint8]]
Reply = list[Instances] | None

POLL_S = 0.05
"""How often a wait checks whether the run has ended."""
CLOSE_DEADLINE_S = 3.0
"""How long the end of a run waits for an inference that has begun."""


class SegmenterLostError(Exception):
    """There is no result for these frames: the segmenter was abandoned, and the next frames restart it."""


class _SegmenterThread:
    """A thread that opens the segmenter and answers one request after the other.

    A thread that hangs cannot be ended: it is abandoned, and ends by itself should the call ever return.
    """

    def __init__(self, segmenter: Segmenter, number: int, close_deadline_s: float) -> None:
        self._segmenter = segmenter
        self._close_deadline_s = close_deadline_s
        self._requests: Slot[Images] = Slot(1, Overflow.WAIT)
        self._replies: Slot[Reply] = Slot(1, Overflow.WAIT)
        self._abandoned = threading.Event()
        self._errors = FirstError()
        self._stage = Stage(
            f"segmenter {number}", self._work, self._errors, inlets=(self._requests,), outlets=(self._replies,)
        )
        self._stage.start()

    @property
    def error(self) -> BaseException | None:
        """Why it ended; None if it did not fail."""
        return self._errors.error

    def request(self, images_bgr: Images) -> None:
        """Hand over a batch. Raises SlotClosed when the thread has ended."""
        self._requests.put(images_bgr)

    def reply(self, timeout_s: float) -> Reply:
        """None once it is open, then the result of each batch. Raises TimeoutError, SlotClosed when it has ended."""
        return self._replies.get(timeout_s)

    def abandon(self) -> None:
        """Leave it; what it may still do has no effect."""
        self._abandoned.set()
        self._requests.close(discard=True)
        self._replies.close(discard=True)

    def close(self) -> None:
        """Let it end; one that does not in time is left behind."""
        self._requests.close(discard=True)
        self._replies.close(discard=True)
        self._stage.join(self._close_deadline_s)

    def _work(self) -> None:
        try:
            self._segmenter.open()
            self._replies.put(None)
            while True:
                self._replies.put(self._segmenter.segment_batch(self._requests.get()))
        finally:
            # The segmenter of an abandoned thread belongs to the next thread.
            if not self._abandoned.is_set():
                self._segmenter.close()


class SupervisedSegmenter(Segmenter):
    """A segmenter whose failures cost single batches: it is reopened in a new thread.

    `segment_batch` raises SegmenterLostError for the batch on which that happened, and RunError when it happens too
    often. What fails at the first `open` is raised as it is.

    Args:
        segmenter: does the work.
        settings: times and budget.
        stopped: whether the run ends; a wait then ends with SlotClosed.
        clock: seconds, monotonic.
        close_deadline_s: how long `close` waits for an inference that has begun.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        settings: SupervisionSettings,
        stopped: Callable[[], bool],
        clock: Clock = time.monotonic,
        close_deadline_s: float = CLOSE_DEADLINE_S,
    ) -> None:
        self._segmenter = segmenter
        self.detections = segmenter.detections
        self._close_deadline_s = close_deadline_s
        self._settings = settings
        self._stopped = stopped
        self._clock = clock
        self._thread: _SegmenterThread | None = None
        self._started = 0
        self._lost_at_s: deque[float] = deque()
        self._warm_shapes: set[tuple[int, ...]] = set()
        self.restarting = False
        self.restarts = 0

    @property
    def labels(self) -> Sequence[str]:
        """See `Segmenter.labels`."""
        return self._segmenter.labels

    @property
    def description(self) -> str:
        """See `Segmenter.description`."""
        return self._segmenter.description

    def open(self) -> None:
        """Start for the first time; raises what the segmenter's `open` raises."""
        self._start()
        reason = self._wait_until_open()
        if reason:
            error = self._thread.error if self._thread is not None else None
            self._drop()
            raise error or RunError(f"the network {reason}")

    def segment_batch(self, images_bgr: Images) -> list[Instances]:
        """See `Segmenter.segment_batch`. Raises SegmenterLostError, RunError, SlotClosed."""
        if self._thread is None:
            self.restarts += 1
            self._start()
            if reason := self._wait_until_open():
                self._lose(reason)
        assert self._thread is not None
        shapes = {image_bgr.shape for image_bgr in images_bgr}
        warm = shapes <= self._warm_shapes
        timeout_s = self._settings.timeout_s if warm else self._settings.start_timeout_s
        try:
            self._thread.request(images_bgr)
        except SlotClosed:
            self._lose(self._reason())
        found, reason = self._wait(timeout_s)
        if reason or found is None:
            self._lose(reason)
        assert found is not None
        self._warm_shapes |= shapes
        self.restarting = False
        return found

    def interrupt(self) -> None:
        """See `Segmenter.interrupt`."""
        self._segmenter.interrupt()

    def close(self) -> None:
        """End the thread; one that hangs, or still loads, is abandoned."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        try:
            thread.close()
        except StageStuckError as error:
            thread.abandon()
            log.info("%s", error)

    def _start(self) -> None:
        self._started += 1
        self._warm_shapes.clear()
        self._thread = _SegmenterThread(self._segmenter, self._started, self._close_deadline_s)

    def _wait_until_open(self) -> str:
        return self._wait(self._settings.start_timeout_s)[1]

    def _wait(self, timeout_s: float) -> tuple[Reply, str]:
        """The thread's next reply, and why there is none ("" if there is one)."""
        assert self._thread is not None
        until_s = self._clock() + timeout_s
        while True:
            try:
                return self._thread.reply(POLL_S), ""
            except SlotClosed:
                return None, self._reason()
            except TimeoutError:
                if self._stopped():
                    raise SlotClosed from None
                if self._clock() >= until_s:
                    return None, f"did not answer within {timeout_s:g} s"

    def _reason(self) -> str:
        assert self._thread is not None
        error = self._thread.error
        return f"failed: {error}" if error is not None else "ended"

    def _lose(self, reason: str) -> None:
        """Abandon the thread. Raises SegmenterLostError, or RunError when that happened once too often."""
        self._drop()
        self.restarting = True
        now_s = self._clock()
        self._lost_at_s.append(now_s)
        while self._lost_at_s[0] < now_s - self._settings.within_s:
            self._lost_at_s.popleft()
        times, most, within = len(self._lost_at_s), self._settings.restarts, self._settings.within_s
        if times > most:
            raise RunError(
                f"the network {reason}; it was lost {times} times within {within:g} s, and {most} are allowed "
                "(supervision.restarts): restart the program"
            )
        log.warning("the network %s; restarting it (%d of %d within %g s)", reason, times, most, within)
        raise SegmenterLostError(reason)

    def _drop(self) -> None:
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.abandon()
