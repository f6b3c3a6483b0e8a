"""Chooses the moments of a recording that are worth a picture."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.labels import plural
from pipeline.report.statistics import Recording

SHARED_PICTURE_S = 0.4
"""Moments that are closer to each other share a picture."""


@dataclass(frozen=True, slots=True)
class Moment:
    """What happens at a time: seconds from the first frame; of images, the image's number from 0 on."""

    at: float
    text: str


def notable_moments(recording: Recording, most: int) -> list[Moment]:
    """At most so many moments, in the order of time; those with the fewest alternatives win."""
    chosen: list[Moment] = []
    distance = 0.5 if recording.stills else SHARED_PICTURE_S
    for moment in _candidates(recording):
        near = next((i for i, one in enumerate(chosen) if abs(one.at - moment.at) < distance), None)
        if near is not None:
            chosen[near] = Moment(chosen[near].at, f"{chosen[near].text}; {moment.text}")
        elif len(chosen) < most:
            chosen.append(moment)
    return sorted(chosen, key=lambda moment: moment.at)


def _candidates(recording: Recording) -> Iterator[Moment]:
    """All that could be shown, the most telling first."""
    classes = sorted(recording.classes, key=lambda one: -one.found)
    if recording.most:
        noun = classes[0].label if len(classes) == 1 else "object"
        yield Moment(recording.most_at, f"most at once: {plural(recording.most, noun)}")
    for name, line in recording.lines.items():
        if line.first is not None:
            yield Moment(line.first, f"first to cross {name}")
    for name, zone in recording.zones.items():
        if zone.longest_s > 0:
            middle = max(0.0, zone.longest_until - zone.longest_s / 2)
            yield Moment(middle, f"longest stay in {name}: {zone.longest_s:.1f} s")
    for one in classes:
        yield Moment(one.first, f"first {one.label}")
        yield Moment(one.last, f"last {one.label}")
    for one in classes if len(classes) > 1 else ():
        yield Moment(one.most_at, f"most at once: {plural(one.most, one.label)}")
    for name, line in recording.lines.items():
        if line.last is not None:
            yield Moment(line.last, f"last to cross {name}")
