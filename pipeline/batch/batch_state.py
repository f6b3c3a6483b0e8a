"""How far a batch is: inputs, frames, and what each worker does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pipeline.batch.inputs import Recording

Note = Callable[..., None]
"""Takes the name of something that happened, and what belongs to it by name."""


@dataclass(frozen=True, slots=True)
class WorkerView:
    """What a worker does.

    Attributes:
        worker: its number.
        name: of its recording; "" while it loads its network or waits.
        frames: done of it.
        total: how many it has, if that is known.
    """

    worker: int
    name: str = ""
    frames: int = 0
    total: int | None = None


@dataclass(frozen=True, slots=True)
class BatchState:
    """How far a batch is.

    Attributes:
        inputs: recordings.
        done: of them, by this run and earlier ones.
        failed: set aside.
        frames: done by this run.
        frames_to_do: of this run, those done included, estimated from bytes where a recording was not opened yet;
            None before the first.
        workers: what each does.
    """

    inputs: int
    done: int
    failed: int
    frames: int
    frames_to_do: int | None
    workers: Sequence[WorkerView]

    @property
    def skipped(self) -> int:
        """Inputs that are neither done nor set aside."""
        return self.inputs - self.done - self.failed


class Frames:
    """Frames done and to do; of recordings that were not opened they are estimated by bytes."""

    def __init__(self) -> None:
        self.done = 0
        self.unopened_bytes = 0
        self._total = 0
        self._bytes = 0
        self._expected: dict[str, int] = {}
        self._of_stretches: dict[str, int] = {}

    def expect(self, recording: Recording, total: int) -> None:
        """A recording says how many frames it has."""
        if recording.name not in self._expected:
            self._expected[recording.name] = total
            self._total += total
            self._bytes += recording.size
            self.unopened_bytes -= recording.size

    def advance(self, recording: Recording, frames: int) -> None:
        """A stretch of a recording, with this number of frames, is done."""
        self.done += frames
        self._of_stretches[recording.name] = self._of_stretches.get(recording.name, 0) + frames

    def settle(self, recording: Recording, frames: int) -> None:
        """A recording is done with this number of frames, 0 if it was set aside; stretches are not counted again."""
        self.expect(recording, frames)
        self._total += frames - self._expected[recording.name]
        self._expected[recording.name] = frames
        self.done += frames - self._of_stretches.pop(recording.name, 0)

    def settle_joined(self, recording: Recording) -> None:
        """A recording was put together: it had the frames that this run has done of its stretches."""
        self.settle(recording, self._of_stretches.get(recording.name, 0))

    def restart(self, recording: Recording) -> None:
        """The frames of a recording's stretches are to be done again."""
        self.done -= self._of_stretches.pop(recording.name, 0)

    def to_do(self) -> int | None:
        """All frames of this run; None while nothing is known."""
        return round(self._total * (1 + max(0, self.unopened_bytes) / self._bytes)) if self._bytes else None
