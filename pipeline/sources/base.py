"""The interface of a source of frames, and the warnings that it collects."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from types import TracebackType
from typing import Self

from pipeline.records import Frame, SourceInfo

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


@dataclass(slots=True)
class SourceState:
    """What became of a source since `open`; written by the capture thread only.

    Attributes:
        text: one line for the screen while no frames arrive ("camera 0 is disconnected, retrying …"), otherwise "".
        reopened_as: what the source is since it was last reopened; None while it is as `open` returned it.
        reconnects: how often the source was lost and reconnected.
    """

    text: str = ""
    reopened_as: SourceInfo | None = None
    reconnects: int = 0


class Source(ABC):
    """Produces frames one at a time.

    Lifecycle: `open()` once, `read()` until it returns None, `close()`. `read` and `close` are called from one thread,
    the capture thread; everything else may be used from any thread.

    Constructors validate and store their arguments; `open()` acquires the device or file.
    """

    @abstractmethod
    def open(self) -> SourceInfo:
        """Acquire the device or file. Raises InputError, with a one-line message, if that fails."""

    @abstractmethod
    def read(self) -> Frame | None:
        """Wait for the next frame. Returns None at the end or after `interrupt()`. Raises RunError on failure."""

    @abstractmethod
    def close(self) -> None:
        """Release everything. May be called twice, and without `open`."""

    @abstractmethod
    def interrupt(self) -> None:
        """Make a pending or later `read()` return None well within a second. May be called repeatedly."""

    @cached_property
    def state(self) -> SourceState:
        """Whether the source was lost or came back as something else."""
        return SourceState()

    @cached_property
    def warnings(self) -> SourceWarnings:
        """Problems with the data that did not end the run: corrupt packets, unreadable images, bad timestamps."""
        return SourceWarnings()

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
