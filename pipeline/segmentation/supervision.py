"""Keeps an engine going that fails or hangs: it is given up and started again, within a budget."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import RunError, StageStuckError
from pipeline.records import Instances
from pipeline.segmentation.segmenter import Segmenter
from pipeline.settings.model_settings import SupervisionSettings
from pipeline.sources.base import Clock
from pipeline.threads.slot import Overflow, Slot, SlotClosed
from pipeline.threads.stage import FirstError, Stage

log = logging.getLogger(__name__)

POLL_S = 0.05
"""How often a wait looks whether the run has ended."""
CLOSE_DEADLINE_S = 3.0
"""How long the end of a run waits for an inference that has begun."""


class EngineLostError(Exception):
    """There is no result for this frame: the engine was given up, and the next frame starts it again."""


class _Engine:
    """A thread that opens the segmenter and answers one request after the other.

    A thread that hangs cannot be ended: it is left behind, and ends by itself should it ever come back.
    """

    def __init__(self, segmenter: Segmenter, number: int, close_deadline_s: float) -> None:
        self._segmenter = segmenter
        self._close_deadline_s = close_deadline_s
        self._requests: Slot[NDArray[np.uint8]] = Slot(1, Overflow.WAIT)
        self._replies: Slot[Instances | None] = Slot(1, Overflow.WAIT)
        self._given_up = threading.Event()
        self._errors = FirstError()
        self._stage = Stage(
            f"engine {number}", self._work, self._errors, inlets=(self._requests,), outlets=(self._replies,)
        )
        self._stage.start()

    @property
    def error(self) -> Exception | None:
        """Why it ended; None if it did not fail."""
        return self._errors.error

    def ask(self, image_bgr: NDArray[np.uint8]) -> None:
        """Hand over a frame. Raises SlotClosed when the engine has ended."""
        self._requests.put(image_bgr)

    def reply(self, timeout_s: float) -> Instances | None:
        """None once it is open, then the result of each frame. Raises TimeoutError, SlotClosed when it has ended."""
        return self._replies.get(timeout_s)

    def give_up(self) -> None:
        """Leave it alone; what it may still do has no effect."""
        self._given_up.set()
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
                self._replies.put(self._segmenter.segment(self._requests.get()))
        finally:
            # The segmenter of an engine that was given up belongs to the next one.
            if not self._given_up.is_set():
                self._segmenter.close()


class SupervisedSegmenter(Segmenter):
    """A segmenter whose failures cost single frames: it is closed and opened again in a new thread.

    `segment` raises EngineLostError for the frame on which that happened, and RunError when it happens too often. What
    fails at the first `open` is raised as it is.

    Args:
        segmenter: does the work.
        settings: times and budget.
        stopped: set when the run ends; a wait then ends with SlotClosed.
        clock: seconds, monotonic.
        close_deadline_s: how long `close` waits for an inference that has begun.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        settings: SupervisionSettings,
        stopped: threading.Event,
        clock: Clock = time.monotonic,
        close_deadline_s: float = CLOSE_DEADLINE_S,
    ) -> None:
        self._segmenter = segmenter
        self._close_deadline_s = close_deadline_s
        self._settings = settings
        self._stopped = stopped
        self._clock = clock
        self._engine: _Engine | None = None
        self._engines = 0
        self._lost_at_s: deque[float] = deque()
        self._warm_shapes: set[tuple[int, ...]] = set()
        self._restarting = False
        self._restarts = 0

    @property
    def labels(self) -> Sequence[str]:
        """See `Segmenter.labels`."""
        return self._segmenter.labels

    @property
    def description(self) -> str:
        """See `Segmenter.description`."""
        return self._segmenter.description

    @property
    def sure_score(self) -> float:
        """See `Segmenter.sure_score`."""
        return self._segmenter.sure_score

    def chosen(self, instances: Instances) -> Instances:
        """See `Segmenter.chosen`."""
        return self._segmenter.chosen(instances)

    def candidates(self, instances: Instances, least_score: float) -> Instances:
        """See `Segmenter.candidates`."""
        return self._segmenter.candidates(instances, least_score)

    @property
    def restarts(self) -> int:
        """How often the engine was started again."""
        return self._restarts

    @property
    def restarting(self) -> bool:
        """Whether there is no engine at the moment that has proved that it works."""
        return self._restarting

    def open(self) -> None:
        """Start the engine for the first time; raises what the segmenter's `open` raises."""
        self._start()
        reason = self._wait_until_open()
        if reason:
            error = self._engine.error if self._engine is not None else None
            self._drop()
            raise error or RunError(f"the engine {reason}")

    def segment(self, image_bgr: NDArray[np.uint8]) -> Instances:
        """See `Segmenter.segment`. Raises EngineLostError, RunError, SlotClosed."""
        if self._engine is None:
            self._restarts += 1
            self._start()
            if reason := self._wait_until_open():
                self._lose(reason)
        assert self._engine is not None
        warm = image_bgr.shape in self._warm_shapes
        timeout_s = self._settings.timeout_s if warm else self._settings.start_timeout_s
        try:
            self._engine.ask(image_bgr)
        except SlotClosed:
            self._lose(self._reason())
        found, reason = self._wait(timeout_s)
        if reason or found is None:
            self._lose(reason)
        assert found is not None
        self._warm_shapes.add(image_bgr.shape)
        self._restarting = False
        return found

    def close(self) -> None:
        """End the engine; one that hangs, or still loads, is left behind."""
        engine, self._engine = self._engine, None
        if engine is None:
            return
        try:
            engine.close()
        except StageStuckError as error:
            engine.give_up()
            log.info("%s", error)

    def _start(self) -> None:
        self._engines += 1
        self._warm_shapes.clear()
        self._engine = _Engine(self._segmenter, self._engines, self._close_deadline_s)

    def _wait_until_open(self) -> str:
        return self._wait(self._settings.start_timeout_s)[1]

    def _wait(self, timeout_s: float) -> tuple[Instances | None, str]:
        """The engine's next reply, and why there is none ("" if there is one)."""
        assert self._engine is not None
        until_s = self._clock() + timeout_s
        while True:
            try:
                return self._engine.reply(POLL_S), ""
            except SlotClosed:
                return None, self._reason()
            except TimeoutError:
                if self._stopped.is_set():
                    raise SlotClosed from None
                if self._clock() >= until_s:
                    return None, f"did not answer within {timeout_s:g} s"

    def _reason(self) -> str:
        assert self._engine is not None
        error = self._engine.error
        return f"failed: {error}" if error is not None else "ended"

    def _lose(self, reason: str) -> None:
        """Give the engine up. Raises EngineLostError, or RunError when that was once too often."""
        self._drop()
        self._restarting = True
        now_s = self._clock()
        self._lost_at_s.append(now_s)
        while self._lost_at_s[0] < now_s - self._settings.within_s:
            self._lost_at_s.popleft()
        times, most, within = len(self._lost_at_s), self._settings.restarts, self._settings.within_s
        if times > most:
            raise RunError(
                f"the engine {reason}; it was lost {times} times within {within:g} s, and {most} are allowed "
                "(supervision.restarts): start the program anew"
            )
        log.warning("the engine %s; starting it again (%d of %d within %g s)", reason, times, most, within)
        raise EngineLostError(reason)

    def _drop(self) -> None:
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.give_up()
