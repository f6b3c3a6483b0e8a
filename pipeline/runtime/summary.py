"""What a run did, for the closing lines and for scripts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from pipeline.records import SourceInfo
from pipeline.scene import Scene
from pipeline.stats import StatsSnapshot


class EndReason(Enum):
    """Why a run ended."""

    FINISHED = "finished"
    """The source ended, or the number of frames or seconds that was asked for is reached."""
    STOPPED = "stopped"
    """`stop()` was called, or the user closed the window."""
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class RunSummary:
    """What a run did.

    Attributes:
        source: the source.
        live: which policy held.
        model: the segmenter's one-line description.
        stats: counts, rates over the whole run, latencies.
        reconnects: how often a live source was lost and came back.
        outputs: files written.
        end: why the run ended.
        wall_s: seconds from the opening to the end.
        scene: counts, lines and zones at the end; None where nothing was tracked.
        engine_restarts: how often the network was started again after it had failed or hung.
        source_warnings: problems with the source's data, one line each.
    """

    source: SourceInfo
    live: bool
    model: str
    stats: StatsSnapshot
    reconnects: int
    outputs: Sequence[str]
    end: EndReason
    wall_s: float
    scene: Scene | None = None
    engine_restarts: int = 0
    source_warnings: Sequence[str] = ()
