"""The interface of a source of frames, the warnings that it collects, and the time of its frames."""

from __future__ import annotations

import math
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from types import TracebackType
from typing import Self

from pipeline.records import Clock, Frame, SourceInfo

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
    """What became of a source since `open`; written by the capture thread, and by `Source.seek`.

    Attributes:
        text: one line for the screen while no frames arrive ("camera 0 is disconnected, retrying …"), otherwise "".
        reopened_as: what the source is since it was last reopened, or changed its size; None while it is as `open`
            returned it.
        reconnects: how often the source was lost and reconnected.
        fresh_from: frames with a lower index were read before the last seek; `sys.maxsize` until that is done.
    """

    text: str = ""
    reopened_as: SourceInfo | None = None
    reconnects: int = 0
    fresh_from: int = 0


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

    def seek(self, position_s: float) -> bool:
        """Continue at a position within `SourceInfo.seekable_s`; returns whether the source can still do that."""
        return False

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


ROUNDING_S = 1e-9
"""Tolerance for the rounding of sums of floating-point seconds."""

JUMP_BACK_S = 1.0
"""A larger step back starts a new recording (files joined end to end); a smaller one is a frame out of order."""

MAX_WAIT_S = 0.25
"""How often the clock is read at least: an injected clock may run at another speed than the system's."""


class PtsClock:
    """Repairs timestamps frame by frame.

    The rules, in ticks of the stream's time base:

    - `pts - origin` is kept wherever it is larger than the previous time: variable frame rates survive.
    - A missing pts becomes the previous time plus the previous frame's duration.
    - A pts that repeats or steps back by at most JUMP_BACK_S becomes the previous time plus one tick: one bad value
      does not shift the frames after it.
    - A pts that steps back further moves the origin: this frame follows the previous one by that frame's duration, and
      all later ones shift by the same amount.

    Args:
        origin: subtracted from every pts, in ticks; None for the first pts, so that the first frame is at 0.
        time_base: seconds per tick.
        step: the nominal frame duration in ticks, 1 or more, for frames without a duration.
    """

    def __init__(self, origin: int | None, time_base: Fraction, step: int) -> None:
        self._origin = origin
        self._jump_back = max(1, round(Fraction(JUMP_BACK_S) / time_base))
        self._step = max(1, step)
        self._last_duration = self._step
        self.last: int | None = None
        """Time of the newest frame in ticks; None before the first."""
        self.repaired = False
        """Whether the newest frame's pts was missing or ran backward."""

    def next(self, pts: int | None, duration: int | None = None) -> int:
        """The time of the next frame in ticks from the origin, larger than every earlier time."""
        last, self.repaired = self.last, True
        if self._origin is None:
            self._origin = pts or 0
        if pts is None:
            ticks = 0 if last is None else last + self._last_duration
        elif last is None or pts - self._origin > last:
            ticks, self.repaired = pts - self._origin, False
        elif last - (pts - self._origin) <= self._jump_back:
            ticks = last + 1
        else:
            ticks = last + self._last_duration
            self._origin = pts - ticks
        self.last = ticks
        self._last_duration = duration if duration is not None and duration > 0 else self._step
        return ticks


class Pacer:
    """Waits on a clock until `interrupt()`.

    Args:
        clock: seconds, monotonic.
        wait: waits at most that many real seconds and returns whether `interrupt()` was called. Tests substitute one
            that advances their clock.
    """

    def __init__(self, clock: Clock = time.monotonic, wait: Callable[[float], bool] | None = None) -> None:
        self.clock = clock
        self._interrupted = threading.Event()
        self._wait = wait if wait is not None else self._interrupted.wait
        self._offset_s: float | None = None

    @property
    def interrupted(self) -> bool:
        """Whether `interrupt` was called."""
        return self._interrupted.is_set()

    def until(self, due_s: float) -> bool:
        """Wait until the clock reaches `due_s`, if it has not yet. Returns False if `interrupt()` ended the wait."""
        while not self.interrupted:
            left_s = due_s - self.clock()
            if left_s <= 0:
                return True
            if self._wait(min(left_s, MAX_WAIT_S)):
                return False
        return False

    def until_due(self, pts_s: float, max_lag_s: float = math.inf) -> bool:
        """Wait until a frame is due. Returns False if `interrupt()` ended the wait. See `lead_s` for the arguments."""
        return self.until(self.clock() + self.lead_s(pts_s, max_lag_s, max_lag_s))

    def lead_s(self, pts_s: float, max_lag_s: float, max_lead_s: float = math.inf) -> float:
        """How long it takes until a frame is due, counting from the first one, seconds; negative when it is late.

        Args:
            pts_s: presentation time of the frame, seconds.
            max_lag_s, max_lead_s: a frame that is later or earlier than this is due now: those after it follow it,
                rather than catching up.
        """
        now_s = self.clock()
        if self._offset_s is None or not -max_lag_s <= self._offset_s + pts_s - now_s <= max_lead_s:
            self._offset_s = now_s - pts_s
        return self._offset_s + pts_s - now_s

    def interrupt(self) -> None:
        """End the current and every later wait at once."""
        self._interrupted.set()
