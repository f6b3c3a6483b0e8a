"""Memory of a live run over 20,000 frames, against what it was at frame 1,000."""

import statistics
import threading
import time
from pathlib import Path

from benchmarks import playback
from benchmarks.measuring import RowReport, Spread, Value, at_most
from benchmarks.options import Options
from benchmarks.process_state import check_system, release_memory, resident_bytes
from pipeline.runtime.stream import Stream
from pipeline.settings.schema import Settings

TITLE = "memory over 20,000 frames of live running, against frame 1,000"
WARM, FRAMES, QUICK_FRAMES = 1_000, 20_000, 3_000
SAMPLES, SAMPLE_EVERY = 5, 50
AHEAD = 2
"""Frames in flight: the camera is as fast as the screen, so that none is dropped and the row takes a minute."""


def measure(options: Options) -> RowReport:
    """A fast camera, a network that takes no time, ids, carried masks, drawing; no framework is loaded."""
    check_system()
    frames = QUICK_FRAMES if options.quick else FRAMES
    pictures, truths = playback.scene(60, 3, (320, 180))
    settings = Settings.model_validate({"window": {"mode": "off"}, "progress": "off"})
    wanted = threading.Semaphore(AHEAD)
    stream = Stream(
        settings, source=playback.LoopSource(pictures, wanted), segmenter=playback.ScriptedSegmenter(truths)
    )
    stream.add_sink(playback.Screen())
    early: list[int] = []
    late: list[int] = []
    with stream:
        began_s = time.monotonic()
        for presented, _ in enumerate(stream, 1):
            if presented % SAMPLE_EVERY == 0:
                sample(presented, early, WARM)
                sample(presented, late, frames)
            if presented >= frames:
                break
            wanted.release()
        took_s = time.monotonic() - began_s
        dropped = stream.ledger.overall().dropped_total
    before, after = statistics.median(early), statistics.median(late)
    values = [
        Value("memory at the end", Spread.one(abs(100 * (after - before) / before)), "% from frame 1,000", at_most(2)),
        Value("memory at frame 1,000", Spread.of([b / 1e6 for b in early]), "MB"),
        Value("memory at the end", Spread.of([b / 1e6 for b in late]), "MB"),
    ]
    return RowReport("memory", TITLE, values, {"frames": frames, "dropped": dropped, "fps": round(frames / took_s)})


def sample(presented: int, samples: list[int], until: int) -> None:
    """Measure the memory at one of the last samples before frame `until`, after releasing garbage and free pages."""
    if until - SAMPLES * SAMPLE_EVERY < presented <= until:
        release_memory()
        samples.append(own_bytes())


def own_bytes() -> int:
    """Memory that only this process has in RAM (its unique set size); where the system does not say, all it has."""
    rollup = Path("/proc/self/smaps_rollup")
    if not rollup.is_file():
        return resident_bytes()
    lines = [line.split() for line in rollup.read_text(encoding="utf-8").splitlines() if line.startswith("Private_")]
    return sum(1024 * int(line[1]) for line in lines)
