"""Supervises a segmenter: one that fails or hangs is abandoned and restarted, within a budget."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NoReturn, TypeVar

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import RunError, StageStuckError
from pipeline.records import Clock, Instances
from pipeline.segmentation.segmenter import Segmenter
from pipeline.settings.model_settings import SupervisionSettings
from pipeline.threads.stage import FirstError, Overflow, Slot, SlotClosed, Stage

log = logging.getLogger(__name__)

T = TypeVar("T")
Images = Sequence[NDArray[np.uint8]]
Reply = Slot[list[Instances]]

POLL_S = 0.05
"""How often a wait checks whether the run has ended, or the network was lost."""
CLOSE_DEADLINE_S = 3.0
"""How long the end of a run waits for inferences that have begun."""


class SegmenterLostError(Exception):
    """There is no result for these frames: the segmenter was abandoned, and the next frames restart it."""


class _Generation:
    """One opening of the segmenter, with a thread for each of its workers.

    When one thread fails, the others finish what they have begun, and the segmenter is closed. Threads that hang cannot
    be ended: the generation is abandoned, and they end by themselves should the calls ever return.

    Attributes:
        warm_shapes: of the images that it has answered for.
    """

    def __init__(self, segmenter: Segmenter, number: int, close_deadline_s: float) -> None:
        self.warm_shapes: set[tuple[int, ...]] = set()
        self._segmenter = segmenter
        self._name = f"segmenter {number}"
        self._close_deadline_s = close_deadline_s
        self._requests: Slot[tuple[Images, Reply]] = Slot(1, Overflow.WAIT)
        self._replies: set[Reply] = set()  # that somebody waits for
        self._opened = threading.Event()
        self._abandoned = threading.Event()
        self._errors = FirstError()
        self._over: Slot[None] = Slot(1, Overflow.WAIT)
        self._over.on_change = self._wake
        self._stage = Stage(self._name, self._open_and_work, self._errors, outlets=(self._over,))
        self._stage.start()

    @property
    def ended(self) -> bool:
        """Whether it has failed, or was closed, and the segmenter may be opened again."""
        return self._over.closed

    @property
    def error(self) -> BaseException | None:
        """Why it ended; None if it did not fail."""
        return self._errors.error

    def wait_until_open(self, timeout_s: float) -> None:
        """Raises TimeoutError if it is not open by then, SlotClosed if it is lost."""
        if not self._opened.wait(timeout_s):
            raise TimeoutError
        if self._over.closed:
            raise SlotClosed

    def request(self, images_bgr: Images) -> Reply:
        """Hand over a batch. The result comes into the slot, which is closed when the generation is lost."""
        reply: Reply = Slot(1, Overflow.WAIT)
        self._replies.add(reply)
        with suppress(SlotClosed):
            self._requests.put((images_bgr, reply))
        return reply

    def abandon(self) -> None:
        """Leave it; what it may still do has no effect."""
        self._abandoned.set()
        self._requests.close(discard=True)
        self._wake()

    def close(self) -> None:
        """Let it end; what does not in time is left behind."""
        self._requests.close(discard=True)
        self._stage.join(self._close_deadline_s)

    def _open_and_work(self) -> None:
        others: list[Stage] = []
        try:
            self._segmenter.open()
            for _ in range(self._segmenter.workers - 1):
                others.append(Stage(self._name, self._work, self._errors, (self._requests,)))
                others[-1].start()
            self._opened.set()
            self._work()
        finally:
            self._requests.close(discard=True)
            for stage in others:
                stage.wait(threading.TIMEOUT_MAX)
            # The segmenter of an abandoned generation belongs to the next one.
            if not self._abandoned.is_set():
                self._segmenter.close()

    def _work(self) -> None:
        while True:
            images_bgr, reply = self._requests.get()
            reply.put(self._segmenter.segment_batch(images_bgr))
            self._replies.discard(reply)

    def _wake(self) -> None:
        """Let everybody who waits see that it is lost."""
        self._opened.set()
        for reply in tuple(self._replies):
            reply.close()


class SupervisedSegmenter(Segmenter):
    """A segmenter whose failures cost single batches: it is reopened in new threads.

    `segment_batch` raises SegmenterLostError for the batches that were under way when that happened, and RunError when
    it happens too often. What fails at the first `open` is raised as it is.

    Args:
        segmenter: does the work.
        settings: times and budget.
        stopped: whether the run ends; a wait then ends with SlotClosed.
        clock: seconds, monotonic.
        close_deadline_s: how long `close` waits for inferences that have begun.
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
        self._lock = threading.Lock()
        self._generation: _Generation | None = None
        self._started = 0
        self._lost_at_s: deque[float] = deque()
        self._exhausted: RunError | None = None
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

    @property
    def workers(self) -> int:
        """See `Segmenter.workers`."""
        return self._segmenter.workers

    def open(self) -> None:
        """Start for the first time; raises what the segmenter's `open` raises."""
        with self._lock:
            generation = self._generation = self._start()
        try:
            self._wait(generation, generation.wait_until_open, self._settings.start_timeout_s)
        except SegmenterLostError as lost:
            self._generation = None
            generation.abandon()
            raise generation.error or RunError(f"the network {lost}") from None

    def segment_batch(self, images_bgr: Images) -> list[Instances]:
        """See `Segmenter.segment_batch`. Raises SegmenterLostError, RunError, SlotClosed."""
        generation = self._present()
        try:
            self._wait(generation, generation.wait_until_open, self._settings.start_timeout_s)
            shapes = {image_bgr.shape for image_bgr in images_bgr}
            warm = shapes <= generation.warm_shapes
            timeout_s = self._settings.timeout_s if warm else self._settings.start_timeout_s
            found = self._wait(generation, generation.request(images_bgr).get, timeout_s)
        except SegmenterLostError as lost:
            self._lose(generation, lost)
        with self._lock:
            generation.warm_shapes |= shapes
            self.restarting = self.restarting and generation is not self._generation
        return found

    def interrupt(self) -> None:
        """See `Segmenter.interrupt`."""
        self._segmenter.interrupt()

    def close(self) -> None:
        """End the threads; one that hangs, or still loads, is abandoned."""
        with self._lock:
            generation, self._generation = self._generation, None
        if generation is None:
            return
        try:
            generation.close()
        except StageStuckError as error:
            generation.abandon()
            log.info("%s", error)

    def _start(self) -> _Generation:
        self._started += 1
        return _Generation(self._segmenter, self._started, self._close_deadline_s)

    def _present(self) -> _Generation:
        """The present generation; starts one if the last one was lost."""
        with self._lock:
            if self._exhausted is not None:
                raise self._exhausted
            if self._generation is None:
                self.restarts += 1
                self._generation = self._start()
            return self._generation

    def _wait(self, generation: _Generation, poll: Callable[[float], T], timeout_s: float) -> T:
        """What a call returns in the end that may raise TimeoutError, or SlotClosed once the generation is lost.

        Raises:
            SegmenterLostError: the generation is lost; with the reason.
            SlotClosed: the run ends.
        """
        began_s = self._clock()
        while True:
            with suppress(TimeoutError, SlotClosed):
                return poll(POLL_S)
            if self._stopped():
                raise SlotClosed
            if generation.ended:
                raise SegmenterLostError(f"failed: {generation.error}" if generation.error is not None else "ended")
            if generation is not self._generation:
                raise SegmenterLostError("was lost with another frame")
            # A worker may be the last one to get frames of a size, and compile for it.
            limit_s = self._settings.start_timeout_s if self._segmenter.preparing else timeout_s
            if self._clock() >= began_s + limit_s:
                raise SegmenterLostError(f"did not answer within {limit_s:g} s")

    def _lose(self, generation: _Generation, lost: SegmenterLostError) -> NoReturn:
        """Abandon a generation. Raises `lost`, or RunError when that happened once too often."""
        with self._lock:
            if generation is not self._generation:
                raise lost  # another frame's loss counts
            self._generation = None
            generation.abandon()
            self.restarting = True
            now_s = self._clock()
            self._lost_at_s.append(now_s)
            while self._lost_at_s[0] < now_s - self._settings.within_s:
                self._lost_at_s.popleft()
            times, most, within = len(self._lost_at_s), self._settings.restarts, self._settings.within_s
            if times > most:
                self._exhausted = RunError(
                    f"the network {lost}; it was lost {times} times within {within:g} s, and {most} are allowed "
                    "(supervision.restarts): restart the program"
                )
                raise self._exhausted
        log.warning("the network %s; restarting it (%d of %d within %g s)", lost, times, most, within)
        raise lost
