"""What was wrong with a source's data, for the end-of-run summary."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence

MAX_PLACES = 5
"""How many places of each problem are kept; later ones are only counted."""


class SourceWarnings:
    """Problems with a source's data, grouped by kind. Safe from any thread; bounded by the number of kinds."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._places: dict[str, list[str]] = {}
        self._counts: Counter[str] = Counter()

    def add(self, problem: str, place: str) -> bool:
        """Record a problem once per place.

        Args:
            problem: its kind, as a phrase that a list of places completes ("corrupt data at").
            place: where it is ("00:12.4", "broken.png").

        Returns:
            Whether this is the first problem of its kind, so that callers log only that one.
        """
        with self._lock:
            places = self._places.setdefault(problem, [])
            if place in places:
                return False
            self._counts[problem] += 1
            if len(places) < MAX_PLACES:
                places.append(place)
            return self._counts[problem] == 1

    def merge(self, other: SourceWarnings) -> None:
        """Add everything recorded by `other`, such as an earlier connection to the same camera."""
        with self._lock, other._lock:
            for problem, places in other._places.items():
                self._places[problem] = [*self._places.get(problem, ()), *places][:MAX_PLACES]
            self._counts.update(other._counts)

    def texts(self) -> Sequence[str]:
        """One line per kind of problem, such as "corrupt data at 00:12.4, 00:13.0 and 2 more"."""
        with self._lock:
            extra = {problem: self._counts[problem] - len(places) for problem, places in self._places.items()}
            return [
                f"{problem} {', '.join(places)}" + (f" and {extra[problem]} more" if extra[problem] else "")
                for problem, places in self._places.items()
            ]


def position_text(seconds: float) -> str:
    """A position in a video as mm:ss.s ("00:12.4"), from an hour on as h:mm:ss.s ("1:02:03.4")."""
    minutes, tenths = divmod(round(10 * max(0.0, seconds)), 600)
    hours, minutes = divmod(minutes, 60)
    text = f"{minutes:02d}:{tenths // 10:02d}.{tenths % 10}"
    return f"{hours}:{text}" if hours else text
