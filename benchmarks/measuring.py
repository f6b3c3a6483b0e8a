"""The rows of the table: values with their spread and targets; and interleaved timing."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self


@dataclass(frozen=True)
class Spread:
    """Median and range of some numbers.

    Attributes:
        median, low, high: of the numbers; low and high are minimum and maximum.
        count: of the numbers.
    """

    median: float
    low: float
    high: float
    count: int

    @classmethod
    def of(cls, numbers: Sequence[float]) -> Self:
        """The spread of at least one number."""
        if not numbers:
            raise ValueError("a spread needs at least one number")
        return cls(float(statistics.median(numbers)), float(min(numbers)), float(max(numbers)), len(numbers))

    @classmethod
    def one(cls, number: float) -> Self:
        """The spread of a single measurement or count."""
        return cls.of([number])


@dataclass(frozen=True)
class Target:
    """A lower or upper bound for a value."""

    bound: float
    at_most: bool = False

    def reached(self, number: float) -> bool:
        """Whether the number is within the bound."""
        return number <= self.bound if self.at_most else number >= self.bound


def at_least(bound: float) -> Target:
    """A lower bound."""
    return Target(bound)


def at_most(bound: float) -> Target:
    """An upper bound."""
    return Target(bound, at_most=True)


@dataclass(frozen=True)
class Value:
    """One measured number.

    Attributes:
        name: what was measured.
        spread: the measurements.
        unit: such as "fps", "ms", "x", "%"; "" for none.
        target: None without a promise.
        note: context of the number.
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
        settings: of the measurement: engine, weights, frames …
        notes: sentences for the reader.
        error: why the row could not be measured; "" if it was.
        seconds: duration of the measurement.
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
        """The inverse of `as_json`; null counts as NaN."""
        values = []
        for plain in record["values"]:
            target = Target(**plain["target"]) if plain["target"] else None
            spread = Spread(**{key: float("nan") if n is None else n for key, n in plain["spread"].items()})
            values.append(Value(plain["name"], spread, plain["unit"], target, plain["note"]))
        return cls(**{**record, "values": values})


Clock = Callable[[], float]


def alternate(
    sides: Mapping[str, Callable[[], Any]], rounds: int, clock: Clock = time.perf_counter, warm_ups: int = 1
) -> dict[str, list[float]]:
    """Time several functions alternately (A B A B), so that other load on the machine affects all of them alike.

    Args:
        sides: the functions by name, in the order of each round.
        rounds: number of timings of each.
        clock: seconds.
        warm_ups: additional rounds before, which do not count.

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
    """The quotients, round by round, of two series that were timed alternately."""
    return Spread.of([a / b for a, b in zip(over, under, strict=True)])


def per_second(seconds: Sequence[float], count: int = 1) -> Spread:
    """Rates per second from the times of `count` items each."""
    return Spread.of([count / s for s in seconds])
