"""What a soak test with several cameras runs in: settings, folders, and what happens besides the cameras' faults."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from benchmarks.recorded_files import decoded
from benchmarks.soak_verdict import Check, Recording
from pipeline.runtime.camera_summaries import CamerasSummary
from pipeline.settings.loading import load_settings
from pipeline.settings.schema import Settings

WEIGHTS = Path(__file__).resolve().parents[1] / "weights" / "stream_segment_person.h5"


class Surroundings:
    """A folder with room for everything, in which nothing else happens; a context manager.

    Args:
        folder: for recordings and detections.
        segment_s: length of the segments, in seconds.

    Attributes:
        folder: for recordings and detections.
        of_visitors: settings of the cameras that come and go.
    """

    of_visitors: Mapping[str, Any] = {}

    def __init__(self, folder: Path, segment_s: float) -> None:
        self.folder, self._segment_s = folder, segment_s

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        """Nothing to undo."""

    def settings(self, urls: Sequence[str], part: str) -> Settings:
        """The settings of a run with cameras at these addresses; `part` of the folder is its own, and is created."""
        values = {tuple(key.split(".")): ("soak", value) for key, value in self._values(urls, part).items()}
        return load_settings(None, {**self._preset(), **values})

    def rehearse(self) -> Iterator[float]:
        """Let happen near the end of a rehearsal what a process does once; yields how many seconds that takes."""
        yield from ()

    def begin(self) -> None:
        """Let it happen; from the moment that faults begin."""

    def end(self) -> None:
        """End it, after the run."""

    def recordings(self, camera: str) -> Sequence[Recording]:
        """What a camera has recorded, also what was deleted."""
        return [decoded(path) for path in sorted((self.folder / "run").glob(f"{camera}-*.mp4"))]

    def cuts(self, camera: str) -> Sequence[str]:
        """Names of a camera's files that were cut off by a full disk."""
        return ()

    def checks(self, summary: CamerasSummary) -> Sequence[Check]:
        """The checks of what happened."""
        return []

    def _preset(self) -> Mapping[tuple[str, ...], tuple[str, Any]]:
        """Settings that lie below those of `_values`."""
        return {}

    def _values(self, urls: Sequence[str], part: str) -> dict[str, Any]:
        """Each camera records in segments, tracks, and writes detections."""
        folder = self.folder / part
        folder.mkdir(parents=True, exist_ok=True)
        return {
            "source.reconnect.read_timeout_s": 0.5,
            "source.reconnect.first_delay_s": 0.1,
            "source.reconnect.longest_delay_s": 0.2,
            "model.weights": str(WEIGHTS),
            "output.path": str(folder / "{camera}.mp4"),
            "output.segment_s": self._segment_s,
            "output.preset": "ultrafast",
            "detections.path": str(folder / "{camera}.jsonl"),
            "detections.masks": False,
            "window.mode": "off",
            "cameras": [{"name": f"camera-{number}", "uri": url} for number, url in enumerate(urls)],
        }
