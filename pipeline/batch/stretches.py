"""Stretches: parts of a long recording, cut by time stamps, that several workers infer at the same time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import floor

from pipeline.batch.inputs import Recording
from pipeline.errors import RunError
from pipeline.records import Frame

AUTO_LEAST_S = 120.0
"""Without --split, no stretch is shorter: each costs seconds of decoding, and every frame is decoded twice."""
STRETCHES_OF_A_WORKER = 2
"""Without --split: one that is lost, or slower, leaves the other workers something to do."""


class SeamError(RunError):
    """A recording cannot be split: its stretches do not give the frames of the whole."""


@dataclass(frozen=True, slots=True)
class Splitting:
    """Which recordings are split, and into how many stretches.

    Attributes:
        stretch_s: how long each is about, seconds; a recording of less than one and a half is not split.
        most: into no more, which are longer then; None for no limit. With 1, only what is split already is done so.
        is_auto: only while there are fewer recordings than workers.
    """

    stretch_s: float = AUTO_LEAST_S
    most: int | None = None
    is_auto: bool = False

    def for_recordings(self, left: int, workers: int) -> Splitting:
        """How to split a recording while this number of recordings is not done."""
        if not self.is_auto:
            return self
        return replace(self, most=-(-STRETCHES_OF_A_WORKER * workers // left) if 0 < left < workers else 1)

    def seams_ms(self, duration_s: float) -> Sequence[int]:
        """Where to cut a recording: milliseconds on the clock of its frames, increasing; empty for one piece."""
        count = floor(duration_s / self.stretch_s + 0.5)
        count = count if self.most is None else min(count, self.most)
        return [round(1000 * duration_s * number / count) for number in range(1, count)]


AUTO_SPLIT = Splitting(is_auto=True)
"""Where few long recordings meet many workers."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of a recording that is claimed, inferred and committed by itself.

    Attributes:
        recording: of which it is a part.
        number: 0 for the first.
        count: how many there are.
        start_ms: its first frame is the first one at or after this time; None: the recording's first.
        end_ms: its last frame is the last one before this time; None: the recording's last.
    """

    recording: Recording
    number: int
    count: int
    start_ms: int | None
    end_ms: int | None

    @property
    def name(self) -> str:
        """For people, such as "2/6"."""
        return f"{self.number + 1}/{self.count}"

    def is_before(self, frame: Frame) -> bool:
        """Whether the stretch begins after a frame."""
        return self.start_ms is not None and _ms_and_more(frame) < self.start_ms * frame.time_base.denominator

    def is_over(self, frame: Frame) -> bool:
        """Whether the stretch ends before a frame."""
        return self.end_ms is not None and _ms_and_more(frame) >= self.end_ms * frame.time_base.denominator


def _ms_and_more(frame: Frame) -> int:
    """The frame's time in milliseconds, times the denominator of its time base: exact."""
    return 1000 * frame.pts * frame.time_base.numerator


Unit = Recording | Stretch
"""What a claim, an attempt and a record are about."""


def recording_of(unit: Unit) -> Recording:
    """The recording that a unit is, or is a part of."""
    return unit.recording if isinstance(unit, Stretch) else unit


def stretches_between(recording: Recording, seams_ms: Sequence[int]) -> Sequence[Stretch]:
    """The stretches between seams; none without seams: the recording is one piece."""
    if not seams_ms:
        return ()
    bounds = [None, *seams_ms, None]
    count = len(bounds) - 1
    return [Stretch(recording, number, count, bounds[number], bounds[number + 1]) for number in range(count)]
