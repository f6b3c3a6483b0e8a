"""A batch with a fake network in a process of its own, for tests that end it: IN OUT WORKERS FRAME_S [SPLIT_S]."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import numpy as np

from pipeline.batch.batch_run import Batch
from pipeline.batch.batch_state import Note
from pipeline.batch.executor import Place
from pipeline.batch.processes import ThisMachine
from pipeline.batch.stretches import Splitting
from pipeline.batch.worker_plan import WorkerPlan
from tests.pipeline.batch.fakes import BySum, request_for

FRAME_S = "STREAM_SEGMENT_TEST_FRAME_S"


class Slow(BySum):
    """Takes a while for each frame, so that there is time to end it; while `<results>/hold` exists, for ever.

    Not for the frame on which the engine is chosen.
    """

    def __init__(self, results: Path) -> None:
        super().__init__()
        self._hold, self._chosen = results / "hold", results / ".stream_segment" / "batch.json"

    def segment(self, image_bgr: np.ndarray):
        time.sleep(float(os.environ.get(FRAME_S, "0")))
        while self._hold.exists() and self._chosen.exists():
            time.sleep(0.01)
        return super().segment(image_bgr)


def make_slow(plan: WorkerPlan) -> Slow:
    return Slow(plan.results)


def printed(what: str, **fields: object) -> None:
    """Something happened: a word, and what it is about, on a line."""
    print(what, *(str(fields[key]) for key in ("name", "stretch", "worker") if key in fields), flush=True)


def run(recordings: Path, results: Path, place: Place, note: Note = printed, split: Splitting | None = None) -> Batch:
    """A whole batch."""
    batch = Batch(request_for(recordings, results, split=split), time.monotonic, make_slow)
    batch.run(place, note, lambda state: None)
    return batch


if __name__ == "__main__":
    given = sys.argv[1:]
    os.environ[FRAME_S] = given[3]
    split = Splitting(float(given[4])) if len(given) > 4 else None
    run(Path(given[0]), Path(given[1]), ThisMachine(int(given[2])), split=split)
