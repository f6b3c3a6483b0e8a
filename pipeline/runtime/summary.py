"""The summary of a run, for the closing lines and for scripts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from pipeline.ledger import LedgerEntry, RunStats
from pipeline.records import SourceInfo
from pipeline.scene import Scene


class EndReason(Enum):
    """Why a run ended."""

    FINISHED = "finished"
    """The source ended, or the requested number of frames or seconds is reached."""
    STOPPED = "stopped"
    """`stop()` was called, or the user closed the window."""
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class RunSummary:
    """What a run did.

    Attributes:
        source: the source.
        live: whether the newest frame won.
        model: the segmenter's one-line description.
        stats: counts, rates over the whole run, latencies.
        reconnects: how often a live source was lost and came back.
        outputs: files written.
        end: why the run ended.
        wall_s: seconds from the opening to the end.
        scene: counts, lines and zones at the end; None where nothing was tracked.
        restarts: how often the network was restarted after it had failed or hung.
        decisions: plans and engines, in the order in which they were made or replaced.
        source_warnings: problems with the source's data, one line each.
    """

    source: SourceInfo
    live: bool
    model: str
    stats: RunStats
    reconnects: int
    outputs: Sequence[str]
    end: EndReason
    wall_s: float
    scene: Scene | None = None
    restarts: int = 0
    decisions: Sequence[LedgerEntry] = ()
    source_warnings: Sequence[str] = ()
