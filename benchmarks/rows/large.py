"""Large pictures: 1080p at 60 and 4K at 30 frames a second, as a camera and as a file with output, and where the time
goes."""

import tempfile
import time
from pathlib import Path

from benchmarks import footage, playback
from benchmarks.measuring import RowReport, Spread, Value
from benchmarks.options import Options
from benchmarks.rows import live
from benchmarks.rows.recorded import settings_for
from pipeline.runtime.stream import Stream
from pipeline.threads.stage import THREAD_PREFIX

TITLE = "large pictures, 10 objects: a camera with a network of 150 ms, and a file with output and no network"
SIZES = {"1080p60": ((1920, 1080), 60), "4K30": ((3840, 2160), 30)}
PICTURES, SECONDS = 24, 8.0
FILE_FRAMES, FILE_WARM = 150, 30
"""Frames of a file, and how many at either end do not count."""
NAMES = {"MainThread": "presenting", "of libraries": "threads of decoder and encoder"}


def measure(options: Options) -> RowReport:
    """Both sizes; a file's network takes no time, so that its rate is that of all else."""
    values: list[Value] = []
    for name, (size_wh, rate) in SIZES.items():
        pictures, truths = playback.scene(PICTURES, live.OBJECTS, size_wh)
        seconds = 2.0 if options.quick else SECONDS
        with tempfile.TemporaryDirectory() as folder:
            length = round((seconds + live.WARM_S + 1) * rate)
            clip = _clip(Path(folder) / "camera.mp4", pictures, length, rate)
            values += _live(f"{name}, live", clip, playback.ScriptedSegmenter(truths, live.TAKES_S), seconds)
            clip = _clip(Path(folder) / "file.mp4", pictures, FILE_FRAMES, rate)
            values += _file(f"{name}, file", clip, playback.ScriptedSegmenter(truths))
    return RowReport("large", TITLE, values, {"pictures": PICTURES, "objects": live.OBJECTS})


def _clip(path: Path, pictures: list[footage.Image], length: int, rate: int) -> Path:
    return footage.write_clip(path, [pictures[i] for i in playback.ping_pong(len(pictures), length)], rate)


def _live(name: str, clip: Path, segmenter: playback.ScriptedSegmenter, seconds: float) -> list[Value]:
    watch, threads, processor_s, wall_s = live.run(clip, segmenter, seconds)
    rate = (len(watch.presented_s) - 1) / (watch.presented_s[-1] - watch.presented_s[0])
    shares = {"processor, all but the model": processor_s, **threads}
    used = [Value(_part(name, part), Spread.one(100 * s / wall_s), "% of a core") for part, s in shares.items()]
    return [Value(f"{name}: frames displayed", Spread.one(rate), "fps"), *used]


def _file(name: str, clip: Path, segmenter: playback.ScriptedSegmenter) -> list[Value]:
    """Between the frames that do not count."""
    settings = settings_for({}, clip, clip.with_name("out.mp4"))
    marks = []
    with Stream(settings, segmenter=segmenter) as stream:
        for number, _ in enumerate(stream, start=1):
            if number in (FILE_WARM, FILE_FRAMES - FILE_WARM):
                marks.append((time.monotonic(), live.thread_seconds()))
    (began_s, before), (ended_s, after) = marks
    count = FILE_FRAMES - 2 * FILE_WARM
    used = {part: 1000 * (s - before.get(part, 0.0)) / count for part, s in after.items()}
    values = [Value(_part(name, part), Spread.one(ms), "ms of a core a frame") for part, ms in used.items()]
    return [Value(f"{name}: frames", Spread.one(count / (ended_s - began_s)), "fps"), *values]


def _part(name: str, thread: str) -> str:
    return f"{name}: {NAMES.get(thread, thread.removeprefix(THREAD_PREFIX))}"
