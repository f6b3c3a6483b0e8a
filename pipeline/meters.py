"""Rates and latencies in bounded memory, however long a run takes."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Sequence

RATE_WINDOW_S = 3.0


class RateMeter:
    """Events a second: fps = (n - 1) / (last - first), over the last few seconds and over the whole run."""

    def __init__(self, window_s: float = RATE_WINDOW_S) -> None:
        self._window_s = window_s
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
        """Events a second lately; None before the second event, 0 when none came for a whole window."""
        while len(self._recent) > 2 and self._recent[0] < now_s - self._window_s:
            self._recent.popleft()
        if self.count < 2:
            return None
        first_s, last_s = self._recent[0], self._recent[-1]
        if last_s < now_s - self._window_s:
            return 0.0
        return (len(self._recent) - 1) / (last_s - first_s) if last_s > first_s else None

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
        if not 0.0 <= q <= 1.0:
            raise ValueError(f"a quantile lies between 0 and 1, got {q}")
        wanted = max(1, math.ceil(q * self.count))
        seen = 0
        for index in sorted(self._bins):
            seen += self._bins[index]
            if seen >= wanted:
                return self._LOWEST_S * math.exp((index + 0.5) * self._STEP)
        return None


def nearest_rank(ordered: Sequence[float], q: float) -> float | None:
    """The quantile `q` of values in ascending order; None when there are none."""
    return ordered[max(0, math.ceil(q * len(ordered)) - 1)] if ordered else None
