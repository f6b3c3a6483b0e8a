"""What a driver has still to give to workers: recordings and stretches, now, later, or once another driver is done."""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Iterable, Sequence

from pipeline.batch.inputs import Recording
from pipeline.batch.stretches import Stretch, Unit

LOOK_AGAIN_S, MOST_LOOKED_AT = 1.0, 100
"""How often it is looked what became of units that another driver has claimed, and at how many at a time."""

Entry = tuple[Unit, int]
"""A unit, and how often it was attempted."""


class WorkQueue:
    """Units in the order in which they are to be done.

    Args:
        units: the first ones.
    """

    def __init__(self, units: Iterable[Unit]) -> None:
        self._now: deque[Entry] = deque((unit, 0) for unit in units)
        self._later: list[tuple[float, int, Entry]] = []
        self._elsewhere: deque[Entry] = deque()
        self._order = itertools.count()
        self._look_at_s, self._may_look = 0.0, 0
        self._left: dict[str, set[int]] = {}

    def __len__(self) -> int:
        return self.waiting + len(self._later) + len(self._elsewhere)

    @property
    def waiting(self) -> int:
        """How many could be begun now."""
        return len(self._now)

    def put_first(self, unit: Unit, attempts: int) -> None:
        """Do a unit next."""
        self._now.appendleft((unit, attempts))

    def put_later(self, unit: Unit, attempts: int, due_s: float) -> None:
        """Do a unit from a time on."""
        heapq.heappush(self._later, (due_s, next(self._order), (unit, attempts)))

    def put_elsewhere(self, unit: Unit) -> None:
        """Look now and then what became of a unit that another driver has claimed."""
        self._elsewhere.append((unit, 0))

    def pop(self, now_s: float) -> Entry | None:
        """The next unit, and how often it was attempted; None if there is none at present."""
        if self._later and self._later[0][0] <= now_s:
            return heapq.heappop(self._later)[2]
        if self._now:
            return self._now.popleft()
        if now_s >= self._look_at_s:
            self._look_at_s, self._may_look = now_s + LOOK_AGAIN_S, min(MOST_LOOKED_AT, len(self._elsewhere))
        if self._may_look and self._elsewhere:
            self._may_look -= 1
            return self._elsewhere.popleft()
        return None

    # -- stretches ----------------------------------------------------------------------------------------------------

    def split(self, stretches: Sequence[Stretch], attempts: int) -> None:
        """Do stretches of a recording next; they are all that is left of it."""
        self._left[stretches[0].recording.name] = {stretch.number for stretch in stretches}
        self._now.extendleft((stretch, attempts) for stretch in reversed(stretches))

    def finish(self, stretch: Stretch) -> None:
        """A stretch is done: with the last one, the recording is next."""
        left = self._left.get(stretch.recording.name, set())
        left.discard(stretch.number)
        if not left and self._left.pop(stretch.recording.name, None) is not None:
            self.put_first(stretch.recording, 0)

    def drop_stretches(self, recording: Recording) -> None:
        """Leave out the stretches of a recording."""
        if self._left.pop(recording.name, None) is not None:
            self._now = deque(one for one in self._now if not is_stretch_of(one[0], recording))
            self._elsewhere = deque(one for one in self._elsewhere if not is_stretch_of(one[0], recording))
            self._later = [one for one in self._later if not is_stretch_of(one[2][0], recording)]
            heapq.heapify(self._later)


def is_stretch_of(unit: Unit, recording: Recording) -> bool:
    """Whether a unit is a stretch of a recording, whatever its content."""
    return isinstance(unit, Stretch) and unit.recording.name == recording.name
