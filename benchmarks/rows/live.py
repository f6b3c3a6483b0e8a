"""A live run at 1280x720: a camera of 30 frames a second, and a network that takes 150 ms."""

import os
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks import footage, playback
from benchmarks.measuring import RowReport, Spread, Value, at_least, at_most
from benchmarks.options import Options
from pipeline.records import SegmentedFrame
from pipeline.runtime.stream import Stream
from pipeline.settings.schema import Settings

TITLE = "live: 30 fps at 1280x720, a network of 150 ms, smooth presentation, 10 objects"
SIZE_WH, RATE, TAKES_S, OBJECTS = (1280, 720), 30, 0.150, 10
WARM_S = 3.0
"""Warm-up: the first results arrive, masks fade in."""


@dataclass
class FrameLog:
    """Times of the frames that were presented from `begin_s` on."""

    begin_s: float = float("inf")
    presented_s: list[float] = field(default_factory=list)
    captured_s: dict[int, float] = field(default_factory=dict)
    ready_s: list[float] = field(default_factory=list)
    shown_s: list[float] = field(default_factory=list)
    display_s: list[float] = field(default_factory=list)
    _result: int | None = None

    def frame(self, segmented: SegmentedFrame) -> None:
        """Record one presented frame."""
        times, index = segmented.times, segmented.instances_index
        self.captured_s[segmented.frame.index] = times.captured_at_s
        counts = times.presented_at_s >= self.begin_s
        if counts:
            self.presented_s.append(times.presented_at_s)
            self.display_s.append(times.presented_at_s - times.captured_at_s)
        if index is not None and index != self._result:
            self._result = index
            captured_s = self.captured_s.get(index)
            if counts and captured_s is not None:
                self.ready_s.append(times.inference_ended_at_s - captured_s)
                self.shown_s.append(times.presented_at_s - captured_s)


def measure(options: Options) -> RowReport:
    """A file played as a camera, so that decoding it is part of the pipeline; drawn for a screen that shows nothing."""
    seconds = 4.0 if options.quick else 20.0
    pictures, truths = playback.scene(60 if options.quick else 120, OBJECTS, SIZE_WH)
    length = round((seconds + WARM_S + 1) * RATE)
    with tempfile.TemporaryDirectory() as folder:
        shown = [pictures[i] for i in playback.ping_pong(len(pictures), length)]
        clip = footage.write_clip(Path(folder) / "camera.mp4", shown, RATE)
        del pictures, shown
        segmenter = playback.ScriptedSegmenter(truths, TAKES_S)
        watch, threads, processor_s, wall_s = run(clip, segmenter, seconds)
    share = 100 * processor_s / wall_s
    rate = (len(watch.presented_s) - 1) / (watch.presented_s[-1] - watch.presented_s[0])
    values = [
        Value("frames displayed", Spread.one(rate), "fps", at_least(29.5)),
        p95("latency of a result p95, capture to result", watch.ready_s, at_most(200)),
        p95("the same to the first frame that shows it", watch.shown_s, None),
        p95("latency of a displayed frame p95", watch.display_s, None),
        Value(
            "processor, all but the model", Spread.one(share), "% of a core", at_most(25), "decoding the file included"
        ),
    ]
    settings = {
        "threads_percent_of_a_core": {name: round(100 * s / wall_s, 1) for name, s in threads.items()},
        "results": len(watch.ready_s),
        "seconds": round(wall_s, 1),
    }
    return RowReport("live", TITLE, values, settings)


def p95(name: str, seconds: list[float], target) -> Value:
    """95th percentile in ms; the spread is that of the durations themselves."""
    ms = 1000 * np.array(seconds)
    spread = Spread(float(np.percentile(ms, 95)), float(ms.min()), float(ms.max()), len(ms))
    return Value(name, spread, "ms", target, f"median {np.median(ms):.0f} ms")


def run(clip: Path, segmenter: playback.ScriptedSegmenter, seconds: float):
    """One run; what was seen, processor seconds by thread, and in all but the model, and the seconds it took."""
    settings = Settings.model_validate(
        {"source": {"uri": str(clip), "realtime": True}, "window": {"mode": "off"}, "progress": "off"}
    )
    watch = FrameLog()
    stream = Stream(settings, segmenter=segmenter)
    stream.add_sink(playback.Screen())
    at_begin = None
    with stream:
        began_s = time.monotonic()
        for segmented in stream:
            now_s = time.monotonic()
            if at_begin is None and now_s >= began_s + WARM_S:
                watch.begin_s = now_s
                at_begin = now_s, time.process_time(), segmenter.processor_s, thread_seconds()
            watch.frame(segmented)
            if at_begin is not None and now_s >= at_begin[0] + seconds:
                break
        assert at_begin is not None, "the run ended before it was warm"
        wall_s = time.monotonic() - at_begin[0]
        used_s = time.process_time() - at_begin[1] - (segmenter.processor_s - at_begin[2])
        threads = {name: s - at_begin[3].get(name, 0.0) for name, s in thread_seconds().items()}
    return watch, threads, used_s, wall_s


def thread_seconds() -> dict[str, float]:
    """Processor seconds of each of our threads, and of all others together; empty where the system does not say."""
    tasks = Path("/proc/self/task")
    if not tasks.is_dir():
        return {}
    names = {thread.native_id: thread.name for thread in threading.enumerate()}
    used: dict[str, float] = {}
    for task in tasks.iterdir():
        try:
            fields = (task / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):  # it has ended, before or after the file was opened
            continue
        name = names.get(int(task.name), "of libraries")
        used[name] = used.get(name, 0.0) + (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return used
