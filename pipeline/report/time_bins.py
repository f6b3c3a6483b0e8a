"""Numbers over time in bounded memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MAX_BINS = 600
FIRST_WIDTH_S = 0.125

Series = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class TimeSeries:
    """Numbers by interval.

    Attributes:
        width: of an interval, seconds.
        until: the end of the last interval, seconds.
        values: float64 (B,) by name: of interval i, which begins at i * width.
    """

    width: float
    until: float
    values: Mapping[str, Series]


class TimeBins:
    """Collects numbers by name in at most MAX_BINS intervals, whose width doubles when the time no longer fits.

    Args:
        merge: combines two numbers of one interval and one name: `np.maximum` or `np.add`.
        first_width: of an interval at the beginning, seconds.

    Attributes:
        width: of an interval now, seconds.
    """

    def __init__(self, merge: np.ufunc, first_width: float = FIRST_WIDTH_S) -> None:
        self._merge = merge
        self.width = first_width
        self._values: dict[str, Series] = {}
        self._used = 0

    def add(self, at: float, name: str, number: float) -> None:
        """Merge a number at a time, seconds from the start; times before the start count as the start."""
        index = self._index(at)
        values = self._values.setdefault(name, np.zeros(MAX_BINS))
        values[index] = self._merge(values[index], number)

    def series(self, until: float) -> TimeSeries:
        """The intervals from the start to a time; those without a number are 0."""
        self._index(until)
        values = {name: values[: self._used].copy() for name, values in self._values.items()}
        return TimeSeries(self.width, self._used * self.width, values)

    def _index(self, at: float) -> int:
        at = max(0.0, at)
        while at >= MAX_BINS * self.width:
            self.width *= 2
            for values in self._values.values():
                pairs = values.reshape(-1, 2)
                values[: MAX_BINS // 2] = self._merge(pairs[:, 0], pairs[:, 1])
                values[MAX_BINS // 2 :] = 0
            self._used = (self._used + 1) // 2
        index = min(int(at / self.width), MAX_BINS - 1)
        self._used = max(self._used, index + 1)
        return index
