"""What a row of the table consists of: values with their spread and targets; and measuring by turns."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self


@dataclass(frozen=True)
class Spread:
    """Median of some numbers, and how far they lie apart.

    Attributes:
        median, low, high: of the numbers; low and high are the least and the greatest.
        count: how many there were.
    """

    median: float
    low: float
    high: float
    count: int

    @classmethod
    def of(cls, numbers: Sequence[float]) -> Self:
        """Of at least one number."""
        if not numbers:
            raise ValueError("a spread needs at least one number")
        return cls(float(statistics.median(numbers)), float(min(numbers)), float(max(numbers)), len(numbers))

    @classmethod
    def one(cls, number: float) -> Self:
        """Of something that was measured once, or counted."""
        return cls.of([number])


@dataclass(frozen=True)
class Target:
    """What a value should reach: at least, or at most, a number."""

    bound: float
    at_most: bool = False

    def reached(self, number: float) -> bool:
        """Whether the number is good enough."""
        return number <= self.bound if self.at_most else number >= self.bound


def at_least(bound: float) -> Target:
    """The number or more."""
    return Target(bound)


def at_most(bound: float) -> Target:
    """The number or less."""
    return Target(bound, at_most=True)


@dataclass(frozen=True)
class Value:
    """One measured number.

    Attributes:
        name: what was measured.
        spread: the measurements.
        unit: such as "fps", "ms", "x", "%"; "" for none.
        target: None where nothing is promised.
        note: what must be known to read the number.
    """

    name: str
    spread: Spread
    unit: str = ""
    target: Target | None = None
    note: str = ""

    @property
    def reached(self) -> bool | None:
        """Whether the median reaches the target; None without one."""
        return None if self.target is None else self.target.reached(self.spread.median)


@dataclass(frozen=True)
class RowReport:
    """What a row measured.

    Attributes:
        name, title: of the row.
        values: in the order of the table.
        settings: with what it was measured: engine, weights, frames …
        notes: sentences for the reader.
        error: why the row could not be measured; "" if it was.
        seconds: how long it took.
    """

    name: str
    title: str
    values: Sequence[Value] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    notes: Sequence[str] = ()
    error: str = ""
    seconds: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """Plain dictionaries and lists, with `reached` beside each value."""
        record = asdict(self)
        for plain, value in zip(record["values"], self.values, strict=True):
            plain["reached"] = value.reached
        return record

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Self:
        """The inverse of `as_json`."""
        values = []
        for plain in record["values"]:
            target = Target(**plain["target"]) if plain["target"] else None
            values.append(Value(plain["name"], Spread(**plain["spread"]), plain["unit"], target, plain["note"]))
        return cls(**{**record, "values": values})


Clock = Callable[[], float]


def alternate(
    sides: Mapping[str, Callable[[], Any]], rounds: int, clock: Clock = time.perf_counter, warm_ups: int = 1
) -> dict[str, list[float]]:
    """Time several things by turns, A B A B, so that whatever else the machine does falls on all of them alike.

    Args:
        sides: what is timed, in this order within each round.
        rounds: how often each is timed.
        clock: seconds.
        warm_ups: rounds before the first that counts.

    Returns:
        Seconds of each round, by name.
    """
    taken: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(-warm_ups, rounds):
        for name, run in sides.items():
            began_s = clock()
            run()
            if number >= 0:
                taken[name].append(clock() - began_s)
    return taken


def ratios(over: Sequence[float], under: Sequence[float]) -> Spread:
    """The quotient of two series that were measured by turns, round by round."""
    return Spread.of([a / b for a, b in zip(over, under, strict=True)])


def per_second(seconds: Sequence[float], count: int = 1) -> Spread:
    """How many a second, where `count` of them took each of these times."""
    return Spread.of([count / s for s in seconds])
