"""The ledger of a run: what happened to every frame, and what was decided on the way; in bounded memory. Its summary.

captured = presented + dropped, by stage and cause, for every kind of run. (In smooth presentation a frame that was not
inferred is still presented; `inferred` counts those that were.)
"""

from __future__ import annotations

import logging
import math
import threading
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from pipeline.records import SegmentedFrame, SourceInfo
from pipeline.scene import Scene

logger = logging.getLogger(__name__)

RATE_WINDOW_S = 3.0
LEAST_RATE_SPAN_S = 1.0
"""Over less no rate is told: what has waited during a start or an outage is presented in a moment."""


class DropStage(Enum):
    """In front of which stage a frame was lost."""

    INFERENCE = "inference"
    DISPLAY = "display"


class DropCause(Enum):
    """Why a frame was lost."""

    LOADING = "still loading"
    BUSY = "busy"
    FAILED = "inference failed"
    STOPPED = "run stopped"
    SEEK = "seek"


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """A decision of the run that was made, or replaced, between two frames.

    Attributes:
        after_frames: frames captured before it.
        text: the decision, in words: a plan for the source as it was opened, the engine that was chosen.
    """

    after_frames: int
    text: str


@dataclass(frozen=True, slots=True)
class RunStats:
    """The numbers of a run at one moment. Rates in events a second, durations in seconds; None where not yet known.

    Attributes:
        captured, inferred, presented: frames that passed each stage.
        dropped: frames lost, by the stage they were lost in front of and the cause.
        sink_dropped: presented frames that a sink could not take, by the sink's name.
        capture_fps, inference_fps, display_fps: over the last seconds, or over the run in a final summary.
        latency_p50_s, latency_p95_s: from capture to presentation.
        inference_p50_s: time in the segmenter, of the frames that it got after its first answer.
        last_latency_s: of the frame that was presented last.
    """

    captured: int
    inferred: int
    presented: int
    dropped: Mapping[tuple[DropStage, DropCause], int]
    sink_dropped: Mapping[str, int]
    capture_fps: float | None
    inference_fps: float | None
    display_fps: float | None
    latency_p50_s: float | None
    latency_p95_s: float | None
    inference_p50_s: float | None
    last_latency_s: float | None

    @property
    def dropped_total(self) -> int:
        """Frames lost before presentation."""
        return sum(self.dropped.values())


@dataclass(frozen=True, slots=True)
class LatencyStats:
    """Latencies from capture to presentation at one moment, seconds.

    Attributes:
        recent_p50_s, recent_p95_s: over the last few seconds; None when nothing was presented in them.
        counts_up_to: frames of the whole run whose latency was at most each of the requested bounds.
        count, total_s: frames of the whole run, and the sum of their latencies.
    """

    recent_p50_s: float | None
    recent_p95_s: float | None
    counts_up_to: Sequence[int]
    count: int
    total_s: float


class RateMeter:
    """Events a second: fps = (n - 1) / (last - first), over the last few seconds and over the whole run."""

    def __init__(self) -> None:
        self._recent: deque[float] = deque(maxlen=4096)
        self._first_s: float | None = None
        self.count = 0

    def tick(self, now_s: float) -> None:
        """Count one event at `now_s`, seconds on a monotonic clock."""
        self.count += 1
        if self._first_s is None:
            self._first_s = now_s
        self._recent.append(now_s)

    def recent(self, now_s: float) -> float | None:
        """Events a second lately; None until they span LEAST_RATE_SPAN_S, 0 when none came for a whole window."""
        while len(self._recent) > 2 and self._recent[0] < now_s - RATE_WINDOW_S:
            self._recent.popleft()
        if self.count < 2:
            return None
        first_s, last_s = self._recent[0], self._recent[-1]
        if last_s < now_s - RATE_WINDOW_S:
            return 0.0
        return (len(self._recent) - 1) / (last_s - first_s) if last_s - first_s >= LEAST_RATE_SPAN_S else None

    def overall(self) -> float | None:
        """Events a second since the first event; None before the second."""
        if self._first_s is None or self.count < 2:
            return None
        elapsed_s = self._recent[-1] - self._first_s
        return (self.count - 1) / elapsed_s if elapsed_s > 0 else None


class LatencyHistogram:
    """Quantiles of durations in constant memory: logarithmic bins 2 % wide, from 10 microseconds on."""

    _LOWEST_S = 1e-5
    _STEP = math.log(1.02)

    def __init__(self) -> None:
        self._bins: Counter[int] = Counter()
        self.count = 0
        self.total_s = 0.0

    def add(self, duration_s: float) -> None:
        """Count one duration in seconds."""
        self._bins[math.floor(math.log(max(duration_s, self._LOWEST_S) / self._LOWEST_S) / self._STEP)] += 1
        self.count += 1
        self.total_s += duration_s

    def count_up_to(self, bound_s: float) -> int:
        """How many durations were at most `bound_s` seconds; those within 1 % of it may be taken for either."""
        last = round(math.log(max(bound_s, self._LOWEST_S) / self._LOWEST_S) / self._STEP)
        return sum(count for index, count in self._bins.items() if index < last)

    def quantile(self, q: float) -> float | None:
        """The duration in seconds that a share `q` (0 … 1) of all stays at or below, within 1 %; None when empty."""
        wanted = max(1, math.ceil(q * self.count))
        seen = 0
        for index in sorted(self._bins):
            seen += self._bins[index]
            if seen >= wanted:
                return self._LOWEST_S * math.exp((index + 0.5) * self._STEP)
        return None


class RunLedger:
    """Counts every frame of a run by what became of it. Safe from any thread.

    A lost frame is counted under the cause that holds at that moment: the run loads, is busy, was stopped, or its
    inference has failed.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._cause = DropCause.LOADING
        self._capture, self._inference, self._display = RateMeter(), RateMeter(), RateMeter()
        self._latency, self._inference_time = LatencyHistogram(), LatencyHistogram()
        self._recent_latency: deque[tuple[float, float]] = deque(maxlen=4096)
        self._dropped: Counter[tuple[DropStage, DropCause]] = Counter()
        self._sink_dropped: Counter[str] = Counter()
        self._entries: deque[LedgerEntry] = deque(maxlen=1000)

    # -- frames -------------------------------------------------------------------------------------------------------

    def captured(self, now_s: float) -> None:
        """A source gave a frame."""
        with self._lock:
            self._capture.tick(now_s)

    def inferred(self, now_s: float, took_s: float | None) -> None:
        """The segmenter finished a frame; the time is None where it was preparing itself meanwhile."""
        with self._lock:
            self._inference.tick(now_s)
            if took_s is not None:
                self._inference_time.add(took_s)

    def presented(self, segmented: SegmentedFrame) -> None:
        """A frame was shown to the sinks; its `times.presented_at_s` is set."""
        times = segmented.times
        if times.presented_at_s is None or times.latency_s is None:
            raise ValueError("a presented frame needs times.presented_at_s")
        with self._lock:
            self._display.tick(times.presented_at_s)
            self._latency.add(times.latency_s)
            self._recent_latency.append((times.presented_at_s, times.latency_s))

    def dropped(self, stage: DropStage, cause: DropCause | None = None) -> None:
        """A captured frame will never be presented; the cause, where it is not that of the moment."""
        with self._lock:
            self._dropped[stage, cause or self._cause] += 1

    def sink_dropped(self, sink_name: str) -> None:
        """A presented frame did not reach one sink."""
        with self._lock:
            self._sink_dropped[sink_name] += 1

    # -- the run ------------------------------------------------------------------------------------------------------

    def ready(self) -> None:
        """The network has given its first result: what is lost from now on is lost because a stage is busy."""
        with self._lock:
            if self._cause is DropCause.LOADING:
                self._cause = DropCause.BUSY

    def stopped(self) -> None:
        """The run ends: what is still between the stages is lost because of that."""
        with self._lock:
            if self._cause is not DropCause.FAILED:
                self._cause = DropCause.STOPPED

    def failed(self) -> None:
        """Inference has failed: what it holds is lost because of that."""
        with self._lock:
            self._cause = DropCause.FAILED

    @property
    def loading(self) -> bool:
        """Whether the network has given no result yet: it is loaded, compiled, and its engines are compared."""
        return self._cause is DropCause.LOADING

    @property
    def last_presented_s(self) -> float | None:
        """When the last frame was presented, seconds on the run's clock; None before the first."""
        with self._lock:
            return self._recent_latency[-1][0] if self._recent_latency else None

    def record(self, decision: object) -> None:
        """Enter a decision: the plan for a source that was opened, the engine that was chosen."""
        text = str(decision)
        logger.debug("%s", text)
        with self._lock:
            self._entries.append(LedgerEntry(self._capture.count, text))

    @property
    def entries(self) -> Sequence[LedgerEntry]:
        """The decisions so far, oldest first; of very many only the newest."""
        with self._lock:
            return tuple(self._entries)

    # -- numbers ------------------------------------------------------------------------------------------------------

    def recent(self, now_s: float) -> RunStats:
        """The numbers now, with rates over the last seconds."""
        with self._lock:
            return self._stats(*(meter.recent(now_s) for meter in (self._capture, self._inference, self._display)))

    def overall(self) -> RunStats:
        """The numbers now, with rates over the whole run."""
        with self._lock:
            return self._stats(*(meter.overall() for meter in (self._capture, self._inference, self._display)))

    def latency(self, now_s: float, bounds_s: Sequence[float] = ()) -> LatencyStats:
        """Latencies now: over the last seconds, and over the whole run as a histogram with these upper bounds."""
        with self._lock:
            recent = sorted(took for at, took in self._recent_latency if at >= now_s - RATE_WINDOW_S)
            return LatencyStats(
                recent_p50_s=nearest_rank(recent, 0.50),
                recent_p95_s=nearest_rank(recent, 0.95),
                counts_up_to=[self._latency.count_up_to(bound_s) for bound_s in bounds_s],
                count=self._latency.count,
                total_s=self._latency.total_s,
            )

    def _stats(self, capture: float | None, inference: float | None, display: float | None) -> RunStats:
        return RunStats(
            captured=self._capture.count,
            inferred=self._inference.count,
            presented=self._display.count,
            dropped=dict(self._dropped),
            sink_dropped=dict(self._sink_dropped),
            capture_fps=capture,
            inference_fps=inference,
            display_fps=display,
            latency_p50_s=self._latency.quantile(0.50),
            latency_p95_s=self._latency.quantile(0.95),
            inference_p50_s=self._inference_time.quantile(0.50),
            last_latency_s=self._recent_latency[-1][1] if self._recent_latency else None,
        )


def nearest_rank(ordered: Sequence[float], q: float) -> float | None:
    """The quantile `q` of values in ascending order; None when there are none."""
    return ordered[max(0, math.ceil(q * len(ordered)) - 1)] if ordered else None


class EndReason(Enum):
    """Why a run ended."""

    FINISHED = "finished"
    """The source ended, or the requested number of frames or seconds is reached."""
    STOPPED = "stopped"
    """`stop()` was called, the user closed the window, or the caller left the loop over the frames."""
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class RunSummary:
    """What a run did.

    Attributes:
        source: the source.
        live: whether the newest frame won.
        model: the segmenter's one-line description.
        stats: counts, rates over the whole run, latencies.
        reconnects: how often a live source was lost and came back.
        outputs: files written.
        end: why the run ended.
        wall_s: seconds from the opening to the end.
        scene: counts, lines and zones at the end; None where nothing was tracked.
        restarts: how often the network was restarted after it had failed or hung.
        decisions: plans and engines, in the order in which they were made or replaced.
        source_warnings: problems with the source's data, one line each.
    """

    source: SourceInfo
    live: bool
    model: str
    stats: RunStats
    reconnects: int
    outputs: Sequence[str]
    end: EndReason
    wall_s: float
    scene: Scene | None = None
    restarts: int = 0
    decisions: Sequence[LedgerEntry] = ()
    source_warnings: Sequence[str] = ()
