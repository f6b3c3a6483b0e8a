"""A run for scripts and for the command line: open it, iterate over its frames, close it.

with Stream(settings) as stream:
    for segmented in stream:
        print(segmented.frame.pts_s, len(segmented.instances))
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from pipeline.controls import Controls
from pipeline.errors import StreamSegmentError
from pipeline.ledger import RunLedger
from pipeline.records import Clock, SegmentedFrame, SourceInfo
from pipeline.runtime.open_run import Run
from pipeline.runtime.plan import SourcePlan, plan_run
from pipeline.runtime.summary import RunSummary
from pipeline.segmentation.segmenter import Segmenter
from pipeline.settings.schema import Settings
from pipeline.sinks.base import Sink
from pipeline.sources.base import Source
from pipeline.sources.factory import make_source
from pipeline.threads.stage import THREAD_PREFIX

logger = logging.getLogger(__name__)


class Stream:
    """Segmented frames of one source, with the threads and policies of the command line.

    Iterate over it inside a `with` block: each frame has then been drawn, and handed to every sink. The iteration ends
    with the source, after `stop()`, or with the first error of any stage, which it raises.

    Args:
        settings: everything about the run; sinks are made as `output`, `detections` and `window` say.
        source, segmenter: used in place of those that the settings describe.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        source: Source | None = None,
        segmenter: Segmenter | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        self.settings = settings
        self.ledger = RunLedger()
        self.controls = Controls(settings.overlay, recording=settings.output.path is not None)
        self.clock = clock
        self._source = source if source is not None else make_source(settings.source, clock)
        self._segmenter = segmenter
        self._sinks: list[Sink] = []
        self._run: Run | None = None
        self._closed = False
        self._stop_requested = False

    def add_sink(self, sink: Sink) -> None:
        """Add a sink of your own; before the stream is opened."""
        if self._run is not None:
            raise RuntimeError("add_sink must be called before the stream is opened")
        self._sinks.append(sink)

    def open(self) -> None:
        """Open source and sinks, check the model, start the threads. If that fails, nothing is left behind.

        Raises:
            InputError: the source, the model or a sink cannot be opened.
            RunError: `stop` was called before the source was open.
        """
        plan = plan_run(self.settings)
        self._run = Run(plan, self._source, self._segmenter, self._sinks, self.controls, self.ledger, self.clock)
        if self._stop_requested:
            self._run.stop()
        self._run.open()
        logger.info("source: %s", self.info.description or self.info.source_id)

    def stop(self) -> None:
        """Request the end; from any thread or signal handler, more than once, also before and during `open`."""
        self._stop_requested = True
        if self._run is not None:
            self._run.stop()

    def close(self) -> None:
        """End all threads, finish all outputs. Raises the run's first error, if there was one. May be called twice."""
        if not self._closed and self._run is not None and self._run.opened:
            self._closed = True
            self._run.close()

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.close()
        except StreamSegmentError:
            if error is None:
                raise
            logger.debug("while closing after %r", error, exc_info=True)

    def __iter__(self) -> Iterator[SegmentedFrame]:
        return self._opened_run.frames()

    @property
    def opened(self) -> bool:
        """Whether `open` has succeeded (and stays True after `close`)."""
        return self._run is not None and self._run.opened

    @property
    def plan(self) -> SourcePlan:
        """What was decided for the source as it is open now."""
        return self._opened_run.plan

    @property
    def info(self) -> SourceInfo:
        """The open source."""
        return self.plan.source

    @property
    def labels(self) -> Sequence[str]:
        """Class names by class id; labels[0] is "BG"."""
        return self._opened_run.segmenter.labels

    @property
    def sinks(self) -> Sequence[Sink]:
        """The open sinks: those of the settings, then your own."""
        return self._opened_run.sinks

    def draw(self, segmented: SegmentedFrame) -> NDArray[np.uint8]:
        """The frame with its overlay, a new uint8 (H, W, 3) BGR image."""
        return self._opened_run.draw(segmented)

    def summary(self) -> RunSummary:
        """What the run did so far; final after `close`."""
        return self._opened_run.summary()

    @classmethod
    def any_stuck(cls) -> bool:
        """Whether a thread of any stream in this process did not end within its deadline."""
        return any(thread.name.startswith(THREAD_PREFIX) for thread in threading.enumerate())

    @property
    def _opened_run(self) -> Run:
        if self._run is None or not self._run.opened:
            raise RuntimeError("the stream is not open: use it in a `with` block")
        return self._run
