"""Times several ways to compute the same thing and chooses one of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

Clock = Callable[[], float]
"""Seconds."""

MOST_ROUNDS = 9
LEAST_ROUNDS = 3
"""Fewer than these leave a verdict unsure."""
HOPELESS = 1.5
"""A side whose best time is so many times the fastest side's median is not timed further."""
TIE = 1.02
"""A ratio of medians up to which two sides are alike, whatever the scatter."""
MOST_LOSS = 1.05
"""A preferred side that is slower than this is never taken for the fastest."""
STEADY = 1.3
"""Third over first quartile of a side's times, above which the machine is busy."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of a comparison.

    Attributes:
        name: the chosen side.
        medians_s: median seconds of every side that was timed.
        sure: whether the times were steady and many enough to tell.
    """

    name: str
    medians_s: Mapping[str, float]
    sure: bool


def compare(sides: Mapping[str, Callable[[], object]], until_s: float, clock: Clock = time.perf_counter) -> Verdict:
    """Time sides alternately (A B A B), so that other load affects all alike, and choose the fastest.

    A side that comes earlier is preferred if the measurement does not tell it from the fastest one: if the lower
    quartile of its times over the fastest side's, round by round, is not above 1, and their median not above MOST_LOSS.

    Args:
        sides: functions by name, the preferred first; each has run at least once before.
        until_s: when to stop, by the clock; the first round is always completed.
        clock: see `Clock`.
    """
    times: dict[str, list[float]] = {name: [] for name in sides}
    alive = list(sides)
    for number in range(MOST_ROUNDS):
        for name in alive:
            began_s = clock()
            sides[name]()
            times[name].append(clock() - began_s)
        if number > 0:  # one time alone may be an accident
            fastest_s = min(statistics.median(times[name]) for name in alive)
            alive = [name for name in alive if min(times[name]) <= HOPELESS * fastest_s]
        if len(alive) == 1 or clock() >= until_s:
            break
    medians_s = {name: statistics.median(taken) for name, taken in times.items()}
    fastest = min(alive, key=medians_s.__getitem__)
    chosen = next(name for name in alive if name == fastest or _is_tie(times[name], times[fastest]))
    enough = len(alive) == 1 or len(times[chosen]) >= LEAST_ROUNDS
    return Verdict(chosen, medians_s, enough and all(_is_steady(times[name]) for name in alive))


def _is_tie(times: Sequence[float], fastest: Sequence[float]) -> bool:
    ratios = sorted(one / other for one, other in zip(times, fastest, strict=True))
    middle = statistics.median(ratios)
    return middle <= TIE or (ratios[len(ratios) // 4] <= 1.0 and middle <= MOST_LOSS)


def _is_steady(times: Sequence[float]) -> bool:
    ordered = sorted(times)
    return len(ordered) < LEAST_ROUNDS or ordered[(3 * len(ordered)) // 4] <= STEADY * ordered[len(ordered) // 4]
