"""Delivers presentations to a sink as its `delivery` says, so that no sink holds up another's thread."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from pipeline.errors import StageStuckError
from pipeline.ledger import RunLedger
from pipeline.records import SourceInfo
from pipeline.runtime.plan import SourcePlan
from pipeline.sinks.base import Delivery, Presentation, RunContext, Sink
from pipeline.threads.stage import FirstError, Overflow, Slot, Stage

BUFFER_BYTES = 96 * 2**20
BUFFER_FRAMES = (4, 60)
"""A sink with a thread of its own may lag behind by this many frames, at least and at most, within BUFFER_BYTES."""
IDLE_S = 0.5
"""A sink with a thread of its own is told after this long that no frame comes."""
POLL_S = 1 / 30
"""How often a wait for a sink checks whether the run was stopped."""
CALL_LIMIT_S = 60.0
"""At the end of a run, a sink that takes longer over one frame, or over finishing its file, is stuck."""
STOPPED_CALL_LIMIT_S = 10.0
"""The same after `stop()` or an error."""
STOPPED_LIMIT_S = 60.0
"""How long a sink may take in all, after `stop()` or an error, for the frames in its buffer and its file."""


class SinkWorker:
    """Owns a sink's thread, if it wants one. The thread writes, and closes the sink in the end.

    Args:
        sink: opened and closed here.
        plan: the size of the frames, for the buffer; live sources drop frames when it is full, recorded ones wait.
        ledger: frames that the sink could not take are entered.
        errors: where a failing sink is reported.
        stopped: whether the run was stopped or has failed; then a stuck sink holds nobody up for long.
    """

    def __init__(
        self, sink: Sink, plan: SourcePlan, ledger: RunLedger, errors: FirstError, stopped: Callable[[], bool]
    ) -> None:
        self.sink = sink
        self._errors = errors
        self._stopped = stopped
        self._opened = False
        self._slot: Slot[Presentation] | None = None
        self._stage: Stage | None = None
        self._on_loss: Callable[[], None] | None = None
        self._progress_at_s = 0.0
        self._stopped_at_s: float | None = None
        if sink.delivery is Delivery.MAIN_THREAD:
            return
        if sink.delivery is Delivery.NEWEST:
            self._slot = Slot(1, Overflow.DROP_OLDEST)
        else:
            overflow = Overflow.DROP_OLDEST if plan.live else Overflow.WAIT
            self._on_loss = partial(ledger.sink_dropped, sink.name)
            self._slot = Slot(buffer_frames(plan.source), overflow, self._on_loss)
        self._stage = Stage(sink.name, self._write_all, errors, inlets=(self._slot,))

    def open(self, context: RunContext) -> None:
        """Open the sink and start its thread. Raises what the sink raises."""
        self.sink.open(context if self._on_loss is None else replace(context, on_loss=self._on_loss))
        self._opened = True
        if self._stage is not None:
            self._stage.start()

    def write(self, presentation: Presentation) -> None:
        """Hand a frame over; waits for a sink that falls behind a recorded source.

        Raises:
            SlotClosed: the sink has failed.
            StageStuckError: the run was stopped, and the sink takes nothing more.
            Exception: what a MAIN_THREAD sink raises.
        """
        if self._slot is None:
            self.sink.write(presentation)
            return
        if not self.sink.wants_frames:
            return
        while True:
            try:
                self._slot.put(presentation, POLL_S)
            except TimeoutError:
                if self._stopped() and self._overdue():
                    if self._on_loss is not None:
                        self._on_loss()
                    raise self._stuck() from None
            else:
                return

    def idle(self, message: str) -> None:
        """Let a MAIN_THREAD sink poll its keys while no frame comes. The others' own threads see to them."""
        if self._slot is None:
            self.sink.idle(message)

    def finish(self) -> None:
        """Let no more frames in; the sink's thread writes what it has and closes the sink."""
        if self._slot is not None:
            self._slot.close()

    def close(self) -> None:
        """Wait until the sink has finished what it was given and is closed. Raises StageStuckError."""
        self.finish()
        if self._stage is None:
            self._close_sink()
            return
        if self._stopped_at_s is None:
            self._progress_at_s = time.monotonic()  # the time before, without a frame to write, was none of its own
        while not self._stage.wait(POLL_S):
            if self._overdue():
                raise self._stuck()

    def _overdue(self) -> bool:
        """Whether the sink has taken too long over the call it is in."""
        now_s = time.monotonic()
        if not self._stopped():
            return now_s - self._progress_at_s > CALL_LIMIT_S
        if self._stopped_at_s is None:
            self._stopped_at_s = now_s
        in_call_s = now_s - max(self._progress_at_s, self._stopped_at_s)
        return in_call_s > STOPPED_CALL_LIMIT_S or now_s - self._stopped_at_s > STOPPED_LIMIT_S

    def _stuck(self) -> StageStuckError:
        assert self._slot is not None
        self._slot.close(discard=True)
        return StageStuckError(
            f"{self.sink.name} did not end within its time: it still waits for its output; the program ends without it"
        )

    def _close_sink(self) -> None:
        if self._opened:
            self._opened = False
            self.sink.close()

    def _write_all(self) -> None:
        assert self._slot is not None
        with self._errors.guard(self.sink.name, BaseException):
            while True:
                try:
                    presentation = self._slot.get(IDLE_S)
                except TimeoutError:
                    self.sink.idle("")
                else:
                    self.sink.write(presentation)
                self._progress_at_s = time.monotonic()
        self._slot.close(discard=True)  # after a failure: whoever waits for room wakes before the file is finished
        self._close_sink()


def buffer_frames(source: SourceInfo) -> int:
    """How many frames of this source a sink may lag behind."""
    fewest, most = BUFFER_FRAMES
    return max(fewest, min(most, BUFFER_BYTES // (2 * 3 * source.width * source.height)))
