"""Delivers presentations to a sink as its `delivery` says, so that no sink holds up another's thread."""

from __future__ import annotations

from functools import partial

from pipeline.ledger import RunLedger
from pipeline.records import SourceInfo
from pipeline.runtime.plan import SourcePlan
from pipeline.sinks.base import Delivery, Presentation, RunContext, Sink
from pipeline.threads.slot import Overflow, Slot
from pipeline.threads.stage import FirstError, Stage

BUFFER_BYTES = 96 * 2**20
BUFFER_FRAMES = (4, 60)
"""A sink with a thread of its own may lag behind by this many frames, at least and at most, within BUFFER_BYTES."""
IDLE_S = 0.5
"""A sink with a thread of its own is told after this long that no frame comes."""


class SinkWorker:
    """Owns a sink's thread, if it wants one.

    Args:
        sink: opened and closed here.
        plan: the size of the frames, for the buffer; live sources drop frames when it is full, recorded ones wait.
        ledger: frames that the sink could not take are entered.
        errors: where a failing sink is reported.
    """

    def __init__(self, sink: Sink, plan: SourcePlan, ledger: RunLedger, errors: FirstError) -> None:
        self.sink = sink
        self._errors = errors
        self._opened = False
        self._slot: Slot[Presentation] | None = None
        self._stage: Stage | None = None
        if sink.delivery is Delivery.MAIN_THREAD:
            return
        if sink.delivery is Delivery.NEWEST:
            self._slot = Slot(1, Overflow.DROP_OLDEST)
        else:
            overflow = Overflow.DROP_OLDEST if plan.live else Overflow.WAIT
            self._slot = Slot(buffer_frames(plan.source), overflow, partial(ledger.sink_dropped, sink.name))
        self._stage = Stage(sink.name, self._drain, errors, inlets=(self._slot,))

    def open(self, context: RunContext) -> None:
        """Open the sink and start its thread. Raises what the sink raises."""
        self.sink.open(context)
        self._opened = True
        if self._stage is not None:
            self._stage.start()

    def write(self, presentation: Presentation) -> None:
        """Hand a frame over. Raises SlotClosed when the sink has failed, or what a MAIN_THREAD sink raises."""
        if self._slot is None:
            self.sink.write(presentation)
        else:
            self._slot.put(presentation)

    def idle(self, message: str) -> None:
        """Let a MAIN_THREAD sink poll its keys while no frame comes. The others' own threads see to them."""
        if self._slot is None:
            self.sink.idle(message)

    def close(self, deadline_s: float) -> None:
        """Let the sink finish what it was given, then close it. Raises StageStuckError after the deadline."""
        if self._slot is not None and self._stage is not None:
            self._slot.close()
            self._stage.join(deadline_s)
        if self._opened:
            self._opened = False
            self.sink.close()

    def _drain(self) -> None:
        assert self._slot is not None
        while True:
            try:
                presentation = self._slot.get(IDLE_S)
            except TimeoutError:
                self.sink.idle("")
            else:
                self.sink.write(presentation)


def buffer_frames(source: SourceInfo) -> int:
    """How many frames of this source a sink may lag behind."""
    fewest, most = BUFFER_FRAMES
    return max(fewest, min(most, BUFFER_BYTES // (2 * 3 * source.width * source.height)))
