"""What a run with several cameras did."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.ledger import RunSummary


@dataclass(frozen=True, slots=True)
class CameraSummary:
    """What one camera of a run did.

    Attributes:
        name: of the camera.
        runs: one for each time that it was enabled and its source was open.
        error: what ended the last one; None if it did not fail.
    """

    name: str
    runs: tuple[RunSummary, ...]
    error: BaseException | None


@dataclass(frozen=True, slots=True)
class CamerasSummary:
    """What a run with several cameras did.

    Attributes:
        cameras: each by itself, in their order.
        model: the segmenter's one-line description.
        restarts: how often the network was restarted, for all of them.
        wall_s: seconds from the opening to the end.
        stopped: whether the run was stopped, rather than ending with its last source.
    """

    cameras: tuple[CameraSummary, ...]
    model: str
    restarts: int
    wall_s: float
    stopped: bool
