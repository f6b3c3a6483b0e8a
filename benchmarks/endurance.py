"""A kiosk of several cameras in which everything goes wrong besides: disk, wall clock, network, viewers."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

from benchmarks.archivist import Archived, Archivist
from benchmarks.failing_network import FailingNetwork, NetworkFaults
from benchmarks.jumping_clock import JumpingClock
from benchmarks.marked_people import MarkedPeople
from benchmarks.small_disk import SmallDisk
from benchmarks.soak_verdict import Check, Recording
from benchmarks.surroundings import Surroundings
from benchmarks.watchers import HEALTHY, Watchers, WatchReport
from pipeline.runtime.camera_summaries import CamerasSummary
from pipeline.segmentation.mask_rcnn_segmenter import MaskRCNNSegmenter
from pipeline.settings.loading import preset_overrides
from pipeline.sinks import segments

SHORTEST_ROUND_S = 15.0
RELOAD_S = 2.0
"""Of a rehearsal, for the network to be lost and loaded again."""
HANG_AT, FILL_AT, EMPTY_AT, JUMP_AT = 0.05, 0.15, 0.65, 0.8
"""What happens when in a round, as shares; a recorder may take five seconds to notice that the disk is full."""
LONGEST_SEGMENT_S = 10.0
DISK_BYTES, KEEP_BYTES, MIN_FREE_BYTES = 96_000_000, 6_000_000, 12_000_000
"""Size of the disk; what each camera's segments may take, and how much is to stay free."""
LEFT_BYTES = 4_000_000
"""What stays free in every other round; in the rest nothing, where writing can then fail."""
MOST_UNCOVERED = 0.005
"""Largest share of recorded frames that show a person: the network misses one now and then, its stand-in none."""
LEAST_SEEN = 0.1
"""Least share of a camera's presented frames that a viewer of its page receives."""
ARCHIVE_DEADLINE_S = 3600.0
_NEIGHBOR = "holiday.mp4"
"""A file on the small disk that is not the program's."""


class RecorderLog(logging.Handler):
    """What the recorders log of a full disk; a context manager.

    Attributes:
        pauses, resumed: how often a recording paused and resumed.
        deleted: segments.
        cut: names of files that were cut off because nothing more could be written.
    """

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.pauses = self.resumed = self.deleted = 0
        self.cut: set[str] = set()

    def __enter__(self) -> RecorderLog:
        segments.log.addHandler(self)
        self._level = segments.log.level
        segments.log.setLevel(logging.INFO)
        return self

    def __exit__(self, *_error: object) -> None:
        segments.log.removeHandler(self)
        segments.log.setLevel(self._level)

    def emit(self, record: logging.LogRecord) -> None:
        """Count it."""
        text = record.getMessage()
        self.pauses += text.startswith("recording paused")
        self.resumed += text.startswith("recording resumed")
        self.deleted += text.startswith("deleted the old recording")
        if match := re.search(r"Writing (.+\.mp4) failed", text):
            self.cut.add(Path(match[1]).name)


@dataclass(frozen=True)
class Troubles:
    """What goes wrong in an endurance test, and what watches it.

    Attributes:
        disk: of the segments.
        network: its faults.
        clock: the wall clock.
        log: of the recorders.
        archivist: decodes the segments before they are deleted.
        watchers: viewers of the page.
    """

    disk: SmallDisk
    network: NetworkFaults = field(default_factory=NetworkFaults)
    clock: JumpingClock = field(default_factory=JumpingClock)
    log: RecorderLog = field(default_factory=RecorderLog)
    archivist: Archivist = field(default_factory=Archivist)
    watchers: Watchers = field(default_factory=Watchers)


class Endurance(Surroundings):
    """A kiosk with privacy, a page and segments on a small disk.

    In each round the network hangs or fails, the disk is full for a while, and the wall clock is set.

    Args:
        folder: for everything but the recordings of the cameras that stay.
        duration_s: of the run.
        rounds: how many there are in it.
        fake: whether the network is replaced by `MarkedPeople`.
        troubles: None for those of a disk of DISK_BYTES in the folder.
    """

    def __init__(
        self, folder: Path, duration_s: float, rounds: int, *, fake: bool, troubles: Troubles | None = None
    ) -> None:
        super().__init__(folder, min(LONGEST_SEGMENT_S, duration_s / rounds / 5))
        self._round_s, self._rounds, self._fake = duration_s / rounds, rounds, fake
        self._timeout_s = 2.0 if fake else 5.0
        troubles = troubles or Troubles(SmallDisk(folder / "disk", DISK_BYTES))
        self._network, self._clock, self._log = troubles.network, troubles.clock, troubles.log
        self._disk, self._archivist, self._watchers = troubles.disk, troubles.archivist, troubles.watchers
        self._leave = threading.Event()
        self._thread = threading.Thread(target=self._run, name="soak troubles")
        self._undo = contextlib.ExitStack()
        self._archive: list[Archived] | None = None
        self._watched = WatchReport((), (), 0)
        self._screen = os.environ.get("DISPLAY", "")
        own = {"path": str(folder / "run" / "{camera}.mp4"), "keep_bytes": 10**12, "min_free_bytes": 0}
        self.of_visitors = {"output": own}

    def __enter__(self) -> Endurance:
        with contextlib.ExitStack() as undo:
            for one in (self._disk, self._clock, self._archivist, self._watchers, self._log):
                undo.enter_context(one)
            if not self._fake:
                undo.enter_context(mock.patch("pipeline.runtime.shared_network.MaskRCNNSegmenter", self._failing))
            (self._disk.folder / _NEIGHBOR).write_bytes(bytes(1000))
            self._archivist.watch(self._disk.folder)
            self._undo = undo.pop_all()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop()
        self._undo.close()

    def segmenter(self) -> FailingNetwork | None:
        """The network of the run; None for that of the settings."""
        return FailingNetwork(MarkedPeople(), self._network) if self._fake else None

    def rehearse(self) -> Iterator[float]:
        """See `Surroundings.rehearse`."""
        self._network.fail()
        yield RELOAD_S
        self._network.hang()
        yield self._timeout_s + RELOAD_S

    def begin(self) -> None:
        """See `Surroundings.begin`."""
        self._network.done = 0
        self._thread.start()

    def end(self) -> None:
        """See `Surroundings.end`."""
        self._stop()
        self._watched = self._watchers.report()

    def recordings(self, camera: str) -> Sequence[Recording]:
        """See `Surroundings.recordings`."""
        if self._archive is None:
            self._archive = self._archivist.report(ARCHIVE_DEADLINE_S)
        found = [one.recording for one in self._archive if one.camera == camera]
        return [*found, *super().recordings(camera)]

    def cuts(self, camera: str) -> Sequence[str]:
        """See `Surroundings.cuts`."""
        return sorted(name for name in self._log.cut if name.startswith(f"{camera}-"))

    def checks(self, summary: CamerasSummary) -> Sequence[Check]:
        """See `Surroundings.checks`."""
        archive = self._archive or []
        alone = [self._disk_check(), self._clock_check(archive), self._privacy_check(archive)]
        return [*alone, self._network_check(summary), self._viewers(summary)]

    def _preset(self) -> Mapping[tuple[str, ...], tuple[str, Any]]:
        return preset_overrides("kiosk")

    def _values(self, urls: Sequence[str], part: str) -> dict[str, Any]:
        port = _free_port()
        self._watchers.watch(port, [f"/cameras/camera-{number}/stream.mjpg" for number in range(len(urls))])
        on_disk = {"output.path": str(self._disk.folder / "{camera}.mp4")} if part == "run" else {}
        return {
            **super()._values(urls, part),
            **on_disk,
            "output.keep_bytes": KEEP_BYTES,
            "output.min_free_bytes": MIN_FREE_BYTES,
            "privacy.mode": "blur",
            "serve.address": f"127.0.0.1:{port}",
            "window.mode": "on" if self._screen else "off",
            "window.rotate_s": 5.0,
            # The network is lost more often than a kiosk tolerates.
            "supervision.restarts": 1000,
            "supervision.timeout_s": self._timeout_s,
            "supervision.start_timeout_s": 2.0 if self._fake else 20.0,  # of a hang, too, with a size that is new
        }

    def _failing(self, *arguments: Any) -> FailingNetwork:
        return FailingNetwork(MaskRCNNSegmenter(*arguments), self._network)

    def _stop(self) -> None:
        self._leave.set()
        if self._thread.ident is not None:
            self._thread.join(30.0)

    def _run(self) -> None:
        began_s = time.monotonic()
        try:
            for number in range(self._rounds):
                is_odd = number % 2 == 1
                for share, action in (
                    (HANG_AT, self._network.fail if is_odd else self._network.hang),
                    (FILL_AT, lambda left_bytes=LEFT_BYTES * is_odd: self._disk.fill(left_bytes)),
                    (EMPTY_AT, self._disk.empty),
                    (JUMP_AT, self._clock.jump),
                ):
                    at_s = began_s + (number + share) * self._round_s
                    if self._leave.wait(max(0.0, at_s - time.monotonic())):
                        return
                    action()
        finally:
            self._disk.empty()

    def _disk_check(self) -> Check:
        log, fills = self._log, self._disk.fills
        kept = (self._disk.folder / _NEIGHBOR).is_file()
        return Check(
            "disk",
            fills == self._rounds and log.pauses >= fills and log.resumed > 0 and log.deleted > 0 and kept,
            f"{self._disk.kind}, filled {self._rounds} times expected: {fills}; at least as many pauses: {log.pauses}, "
            f"{log.resumed} of them over, {len(log.cut)} files cut; {log.deleted} segments deleted; "
            f"somebody else's file is {'there' if kept else 'GONE'}",
        )

    def _clock_check(self, archive: Sequence[Archived]) -> Check:
        jumps = self._clock.jumps
        # Whether a segment begins after the last one is not certain.
        expected = {self._clock.year_after(number) for number in range(1, self._rounds)}
        came = {one.year for one in archive}
        return Check(
            "clock",
            jumps == self._rounds and expected <= came,
            f"set {self._rounds} times expected: {jumps}; segments of the years {sorted(expected)}: {sorted(came)}",
        )

    def _network_check(self, summary: CamerasSummary) -> Check:
        done, restarts = self._network.done, summary.restarts
        text = f"lost {self._rounds} times expected: {done}; at least as many restarts: {restarts}"
        return Check("network", done == self._rounds and restarts >= done, text)

    def _viewers(self, summary: CamerasSummary) -> Check:
        watched = self._watched
        presented = [sum(run.stats.presented for run in one.runs) for one in summary.cameras]
        least = [max(1, int(LEAST_SEEN * presented[number % len(presented)])) for number in range(HEALTHY)]
        enough = len(watched.pictures) == HEALTHY and all(
            came >= wanted for came, wanted in zip(watched.pictures, least, strict=True)
        )
        return Check(
            "viewers",
            enough and set(watched.connections) == {1},
            f"at least {least} pictures over one connection each expected: {list(watched.pictures)} over "
            f"{list(watched.connections)}, beside {watched.stalled_connections} connections of one that stalls",
        )

    def _privacy_check(self, archive: Sequence[Archived]) -> Check:
        frames, uncovered = sum(one.recording.decoded for one in archive), sum(one.uncovered for one in archive)
        most = 0 if self._fake else int(MOST_UNCOVERED * frames)
        window = f"; window on {self._screen}" if self._screen else "; no window"
        text = f"at most {most} of {frames} recorded frames show a person: {uncovered} do{window}"
        return Check("privacy", frames > 0 and uncovered <= most, text)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
