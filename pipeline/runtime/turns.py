"""Whose frames go through the network next: stride scheduling."""

from __future__ import annotations

from collections.abc import Sequence


class Turn:
    """One member's place in the order of turns.

    Args:
        weight: its share of the turns beside the others' weights, above 0.

    Attributes:
        served: frames that it was granted, each divided by the weight; raised to the others' when it comes back.
        last: the number of its last turn; -1 before the first.
    """

    def __init__(self, weight: float = 1.0) -> None:
        if weight <= 0:
            raise ValueError(f"a weight is above 0, got {weight}")
        self.weight = weight
        self.served = 0.0
        self.last = -1


class Turns:
    """Grants turns: among those who are ready, to the one with the smallest `served`.

    Frames are counted rather than time, so that equal weights give equal rates of results, which is what people see. A
    frame's cost differs by the shape of its canvas only, whose longer side is the same for all: by less than two.

    Whoever was not ready for a while, or is new, continues at the `served` of the last one that was granted a turn: it
    can neither save up turns nor owe any. Among equals, the one that has waited longest since its last turn is next.
    With equal weights nobody who is ready waits for more than one turn of each of the others.
    """

    def __init__(self) -> None:
        self._present = 0.0
        self._count = 0

    def next(self, ready: Sequence[Turn]) -> Turn | None:
        """Whose turn it is; None if nobody is ready."""
        return min(ready, key=lambda turn: (max(turn.served, self._present), turn.last), default=None)

    def grant(self, turn: Turn, frames: int = 1) -> None:
        """Count the frames that somebody sends through the network now."""
        self._present = max(turn.served, self._present)
        turn.served = self._present + frames / turn.weight
        turn.last = self._count
        self._count += 1
