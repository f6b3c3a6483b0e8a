"""The state of a run as the page, /healthz and /metrics report it, computed on request."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import numpy as np

from pipeline.controls import Controls
from pipeline.file_names import utf8_name
from pipeline.labels import class_name
from pipeline.ledger import RunLedger, RunStats
from pipeline.records import Clock, SourceInfo, SourceKind
from pipeline.sinks.base import Presentation
from pipeline.sinks.switched_recorder import Recording

SWITCHES = ("masks", "boxes", "labels", "ids", "scores", "status")
"""The parts of the overlay that the page can switch."""
SAMPLE_EVERY_S = 0.5
HISTORY_S = 60.0
LOST_AFTER_S = 1.0
"""A frame that is older says nothing of what is in view, where the source is known to be lost, disabled or ended."""
_PLOTTED = ("fps", "latency_ms", "objects", "drops", "sink_drops")
"""The parts of the status that the page plots."""


@dataclass(frozen=True, slots=True)
class RunView:
    """What the page may read of a run; safe from any thread.

    Attributes:
        ledger: counts, rates, latencies.
        controls: what can be changed during the run.
        clock: the run's monotonic clock, seconds.
        source: returns the source as it is open now, None before it is.
        live: returns whether the newest frame wins, rather than every frame being processed.
        model: returns the segmenter's one-line description, which changes after a fallback to another engine.
        least_score: returns the score below which objects are never drawn.
        waiting_for: returns why no frames arrive ("loading the model"), otherwise "".
        reconnects: returns how often the source was lost and reconnected.
        recordings: returns what the run has recorded and is still there; looks for each file.
    """

    ledger: RunLedger
    controls: Controls
    clock: Clock
    source: Callable[[], SourceInfo | None] = lambda: None
    live: Callable[[], bool] = lambda: True
    model: Callable[[], str] = str
    least_score: Callable[[], float] = float
    waiting_for: Callable[[], str] = str
    reconnects: Callable[[], int] = int
    recordings: Callable[[], Sequence[Recording]] = tuple


@dataclass(frozen=True, slots=True)
class Health:
    """Whether frames are being presented.

    Attributes:
        ok: whether a frame was presented recently.
        trouble: the kind of trouble, without the name of the source; "" if there is none.
        reason: what is wrong, in full.
        frame_age_s: seconds since the last frame was presented; None before the first.
    """

    ok: bool
    trouble: str
    reason: str
    frame_age_s: float | None


class RunMonitor:
    """Reports the state of a run, including the objects on the frame presented last.

    Args:
        view: returns the run: of a camera that is disabled and enabled again, the present one.
        stalled_after_s: the run counts as stalled if no frame was presented for this long.

    Attributes:
        labels: class names by class id; empty until the run begins.
    """

    def __init__(self, view: Callable[[], RunView], stalled_after_s: float) -> None:
        self._view = view
        self._stalled_after_s = stalled_after_s
        self._opened_at_s = self.view.clock()
        self._lock = threading.Lock()
        self._objects: Counter[str] = Counter()
        self._history: deque[dict[str, Any]] = deque(maxlen=round(HISTORY_S / SAMPLE_EVERY_S))
        self.labels: Sequence[str] = ()

    @property
    def view(self) -> RunView:
        """The run, as it is now."""
        return self._view()

    @property
    def can_record(self) -> bool:
        """Whether recording can be switched: single images make no video."""
        source = self.view.source()
        return source is not None and source.kind is not SourceKind.STILLS

    def presented(self, presentation: Presentation) -> None:
        """Count the objects that are drawn on a frame."""
        instances = presentation.segmented.instances
        min_score = presentation.controls.min_score if presentation.controls is not None else 0.0
        ids, counts = np.unique(instances.class_ids[instances.scores >= min_score], return_counts=True)
        with self._lock:
            # A class seen once stays, at 0, so that its line in the plot falls rather than ends.
            self._objects = Counter(dict.fromkeys(self._objects, 0))
            names = [class_name(int(class_id), self.labels) for class_id in ids]
            self._objects.update(dict(zip(names, counts.tolist(), strict=True)))

    def objects(self) -> Mapping[str, int]:
        """Objects on the newest frame by class; 0 for classes seen only earlier. Empty while no frames come."""
        if not self._is_shown():
            return {}
        with self._lock:
            return dict(sorted(self._objects.items()))

    def _is_shown(self) -> bool:
        """Whether the newest frame still says what is in view: a lost camera's does not."""
        age_s = self.health().frame_age_s
        if age_s is None or age_s <= LOST_AFTER_S:
            return age_s is not None
        is_still = not self.view.live()  # an image, or a file that is paused
        return not self.view.waiting_for() and (is_still or age_s <= self._stalled_after_s)

    def sample(self) -> None:
        """Keep what the page plots; called every SAMPLE_EVERY_S."""
        status = self.status(viewers=0)
        self._history.append({name: status[name] for name in _PLOTTED})

    @property
    def history(self) -> Sequence[Mapping[str, Any]]:
        """The samples of the last minute, the oldest first: parts of `status`. In the thread of `sample`."""
        return list(self._history)

    def health(self) -> Health:
        """Whether frames are being presented now."""
        view = self.view
        now_s = view.clock()
        last_s = view.ledger.last_presented_s
        age_s = None if last_s is None else now_s - last_s
        if age_s is not None and age_s <= self._stalled_after_s:
            return Health(True, "", "", age_s)
        trouble = "no frame shown yet" if age_s is None else f"no frame shown for {age_s:.0f} s"
        cause = view.waiting_for()
        return Health(False, trouble, f"{trouble}: {cause}" if cause else trouble, age_s)

    def status(self, viewers: int) -> dict[str, Any]:
        """Everything the page shows, JSON-serializable. Rates are per second; None stands for unknown."""
        view, now_s = self.view, self.view.clock()
        stats, latency, health = view.ledger.recent(now_s), view.ledger.latency(now_s), self.health()
        state, source = view.controls.state, view.source()
        source_record: dict[str, Any] = {}
        if source is not None:
            size = {"width": source.width, "height": source.height}
            source_record = {"name": utf8_name(source.source_id), "live": view.live(), **size, "fps": source.fps}
        return {
            "source": source_record,
            "model": view.model(),
            "uptime_s": round(now_s - self._opened_at_s, 1),
            "health": {"ok": health.ok, "reason": health.reason},
            "frame_age_s": health.frame_age_s,
            "waiting_for": view.waiting_for(),
            "fps": {"capture": stats.capture_fps, "inference": stats.inference_fps, "display": stats.display_fps},
            "latency_ms": {"p50": _ms(latency.recent_p50_s), "p95": _ms(latency.recent_p95_s)},
            "inference_ms": _ms(stats.inference_p50_s),
            "frames": {"captured": stats.captured, "inferred": stats.inferred, "presented": stats.presented},
            "drops": [{"stage": stage, "cause": cause, "count": count} for stage, cause, count in drops(stats)],
            "sink_drops": dict(stats.sink_dropped),
            "objects": self.objects(),
            "viewers": viewers,
            "reconnects": view.reconnects(),
            "display": {
                **{name: getattr(state.overlay, name) for name in SWITCHES},
                "color_by": state.overlay.color_by.value,
                "min_score": max(state.min_score, view.least_score()),
                "least_score": view.least_score(),
            },
            "recording": {
                "possible": self.can_record,
                "on": state.recording,
                "file": None if state.file is None else PurePath(state.file).name,
                "saved": None if state.saved is None else PurePath(state.saved).name,
                "error": state.error,
            },
        }


def drops(stats: RunStats) -> list[tuple[str, str, int]]:
    """Dropped frames as (stage, cause, count), sorted."""
    return sorted((stage.value, cause.value, count) for (stage, cause), count in stats.dropped.items())


def _ms(duration_s: float | None) -> float | None:
    return None if duration_s is None else round(1000 * duration_s, 1)
