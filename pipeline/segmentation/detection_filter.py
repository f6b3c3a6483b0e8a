"""Which detections of a network count: the thresholds of a run, in one place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.records import Instances

REPORT_MOST = 100
"""The network reports up to so many objects where more of them matter than are shown."""


@dataclass(frozen=True, slots=True)
class DetectionFilter:
    """High and low threshold as in ByteTrack (Zhang et al. 2022): a detection above the high one is shown and starts a
    track, one between the two only continues a track.

    The network counts its objects before it leaves out classes, and so does this filter. Without arguments it lets
    everything through.

    Attributes:
        high_score: the high threshold, 0 … 1.
        low_score: the low threshold, at most `high_score`.
        max_instances: at most so many detections of a frame count, best first; None for no limit.
        class_ids: the classes that count; None for all.
        report_score: the network reports detections from this score on: the lowest of those that anybody needs.
        report_most: the network reports at most so many; None: `max_instances`.
        complete_below: fewer detections are all that the network finds; None where nobody needs all.
    """

    high_score: float = 0.0
    low_score: float = 0.0
    max_instances: int | None = None
    class_ids: frozenset[int] | None = None
    report_score: float = 0.0
    report_most: int | None = None
    complete_below: int | None = None

    def __post_init__(self) -> None:
        if not 0.0 <= self.report_score <= self.low_score <= self.high_score <= 1.0:
            raise ValueError(
                "expected 0 <= report_score <= low_score <= high_score <= 1, got "
                f"{self.report_score}, {self.low_score}, {self.high_score}"
            )

    @classmethod
    def for_all(cls, filters: Sequence[DetectionFilter]) -> DetectionFilter:
        """A filter for which a network reports what each of these needs, and shows what any of them shows."""
        mosts = [each.report_most or each.max_instances for each in filters]
        return cls(
            high_score=min(each.high_score for each in filters),
            low_score=min(each.low_score for each in filters),
            report_score=min(each.report_score for each in filters),
            report_most=None if None in mosts else max(most for most in mosts if most is not None),
        )

    def needs_more_than(self, other: DetectionFilter) -> bool:
        """Whether a network that reports what the other filter needs reports too little for this one."""
        own, others = self.report_most or self.max_instances, other.report_most or other.max_instances
        return self.report_score < other.report_score or (others is not None and (own is None or own > others))

    def reported(self, found: Instances) -> Instances:
        """What a network that reports for this filter alone gives, from what one gives that reports for others too."""
        keep = np.flatnonzero(found.scores >= self.report_score)[: self.report_most or self.max_instances]
        return found if len(keep) == len(found) else found.select(keep)

    def high(self, reported: Instances) -> Instances:
        """The detections above the high threshold: those to show where nothing is tracked."""
        return self._above(self.high_score, reported)

    def high_and_low(self, reported: Instances) -> Instances:
        """The detections above the low threshold: those that a tracker needs."""
        return self._above(self.low_score, reported)

    def truncates(self, reported: Instances) -> bool:
        """Whether the network reported so many that there can be more in the frame."""
        return self.complete_below is not None and len(reported) >= self.complete_below

    def _above(self, score: float, reported: Instances) -> Instances:
        keep = np.flatnonzero(reported.scores >= score)[: self.max_instances]
        if self.class_ids is not None:
            keep = keep[np.isin(reported.class_ids[keep], list(self.class_ids))]
        return reported if len(keep) == len(reported) else reported.select(keep)
