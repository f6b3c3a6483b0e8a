"""What viewers see of a batch: how far it is, at which rate, what each worker does, what went wrong last."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from pipeline.batch.batch_state import BatchState
from pipeline.file_names import utf8_name
from pipeline.records import Clock

RATE_WINDOW_S = 30.0
MOST_WORKERS, MOST_TROUBLES = 100, 20
"""How many workers and troubles `BatchMonitor.snapshot` lists."""
TROUBLES = ("failed", "again", "worker_ended")
"""Events that are bad news; each has a reason."""


class BatchMonitor:
    """Keeps what a driver says of a batch, for readers in any thread.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._began_s = clock()
        self._recent = deque([(self._began_s, 0)])
        self._state: BatchState | None = None
        self._troubles: deque[dict[str, Any]] = deque(maxlen=MOST_TROUBLES)

    def event(self, what: str, **fields: Any) -> None:
        """Something happened; takes what `Note` takes."""
        if what in TROUBLES:
            now = datetime.now(UTC).isoformat(timespec="seconds")
            texts = {key: utf8_name(value) if isinstance(value, str) else value for key, value in fields.items()}
            with self._lock:
                self._troubles.appendleft({"time": now, "event": what, **texts})

    def update(self, state: BatchState) -> None:
        """The batch is so far."""
        now_s = self._clock()
        with self._lock:
            self._state = state
            if not state.frames:
                self._recent.clear()
            self._recent.append((now_s, state.frames))
            while len(self._recent) > 2 and self._recent[1][0] <= now_s - RATE_WINDOW_S:
                self._recent.popleft()

    @property
    def fps(self) -> float | None:
        """Frames a second over the last half minute; None while there are none."""
        with self._lock:
            (first_s, first), (last_s, last) = self._recent[0], self._recent[-1]
        return (last - first) / (last_s - first_s) if last_s > first_s and last > first else None

    @property
    def left_s(self) -> float | None:
        """Seconds left at that rate; None if that is not known."""
        fps, state = self.fps, self._state
        if fps is None or state is None or state.frames_to_do is None:
            return None
        return max(0, state.frames_to_do - state.frames) / fps

    def snapshot(self) -> dict[str, Any]:
        """Everything the page shows, JSON-serializable and of limited size; None stands for unknown."""
        state = self._state or BatchState(0, 0, 0, 0, None, ())
        with self._lock:
            troubles = list(self._troubles)
        shown = [asdict(view) | {"name": utf8_name(view.name)} for view in state.workers[:MOST_WORKERS]]
        return {
            **{key: getattr(state, key) for key in ("inputs", "done", "failed", "skipped", "frames", "frames_to_do")},
            "fps": self.fps,
            "left_s": self.left_s,
            "elapsed_s": round(self._clock() - self._began_s, 1),
            "workers": shown,
            "worker_count": len(state.workers),
            "busy": sum(1 for view in state.workers if view.name),
            "troubles": troubles,
        }
