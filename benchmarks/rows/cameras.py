"""Eight cameras at 640x360 and 15 frames a second with one network of 80 ms; one of several that fails; one alone."""

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks import footage, isolation, playback, unscheduled
from benchmarks.measuring import RowReport, Spread, Value, at_least, at_most, ratios
from benchmarks.options import Options
from benchmarks.rows.live import FrameLog, thread_seconds
from pipeline.runtime.camera_entry import CameraEntry
from pipeline.runtime.camera_group import Cameras
from pipeline.runtime.stream import Stream
from pipeline.settings.schema import Settings

TITLE = "8 cameras: 640x360 at 15 fps, a network of 80 ms that uses no processor, smooth presentation, 4 objects each"
COUNT, SIZE_WH, RATE, TAKES_S, OBJECTS = 8, (640, 360), 15, 0.080, 4
WARM_S = 3.0
ROUNDS = 6
"""Of the comparison of one camera, alternately by itself and as the only one of `Cameras`."""
ALTERNATIONS, PART_S = 10, 8.0
"""Of calm parts and parts in which one camera fails, and how long each is."""


class LoggingScreen(playback.Screen):
    """Takes annotated frames like a window, and keeps their times."""

    def __init__(self) -> None:
        self.log = FrameLog()

    def write(self, presentation) -> None:
        """See `Sink.write`."""
        self.log.frame(presentation.segmented)


@dataclass
class Measured:
    """What one run did between its warm-up and its end.

    Attributes:
        logs: of the frames, by camera.
        seconds: how long.
        processor_s: seconds of processor time of all threads, but the network's.
        threads: the same by name of thread.
    """

    logs: dict[str, FrameLog]
    seconds: float = 0.0
    processor_s: float = 0.0
    threads: dict[str, float] = field(default_factory=dict)

    def results_per_s(self) -> dict[str, float]:
        """By camera."""
        return {name: len(log.shown_s) / self.seconds for name, log in self.logs.items()}

    def shown_per_s(self) -> dict[str, float]:
        """By camera."""
        return {name: per_second(log.presented_s) for name, log in self.logs.items()}


def per_second(times_s: list[float]) -> float:
    """The rate of events; 0 for fewer than two."""
    return (len(times_s) - 1) / (times_s[-1] - times_s[0]) if len(times_s) > 1 else 0.0


def measure(options: Options) -> RowReport:
    """Files played as cameras, so that decoding is part of it; drawn for screens that show nothing."""
    seconds = 5.0 if options.quick else 30.0
    pictures, truths = playback.scene(60, OBJECTS, SIZE_WH)
    parts = isolation.Parts(options.rounds(ALTERNATIONS), PART_S)
    length = round((max(seconds, parts.seconds) + WARM_S + 10) * RATE)
    with tempfile.TemporaryDirectory() as folder:
        shown = [pictures[i] for i in playback.ping_pong(len(pictures), length)]
        clip = footage.write_clip(Path(folder) / "camera.mp4", shown, RATE)
        del shown
        alone = run(clip, 1, playback.ScriptedSegmenter(truths, TAKES_S), seconds / 3)
        all_of_them = run(clip, COUNT, playback.ScriptedSegmenter(truths, TAKES_S), seconds)
        values = values_of(alone, all_of_them)
        values += unscheduled.measure(
            pictures,
            truths,
            lambda segmenter: sum(run(clip, COUNT, segmenter, seconds / 3).results_per_s().values()),
            options.rounds(ROUNDS),
        )
        values += isolation.measure(clip, parts)
        values += one_camera(clip, truths, seconds / 3, options.rounds(ROUNDS))
    share = {name: round(100 * s / all_of_them.seconds, 1) for name, s in all_of_them.threads.items()}
    return RowReport("cameras", TITLE, values, {"threads_percent_of_a_core": share, "seconds": round(seconds, 1)})


def values_of(alone: Measured, all_of_them: Measured) -> list[Value]:
    """The promises to each of several cameras."""
    (rate_alone,) = alone.results_per_s().values()
    rates, displays = list(all_of_them.results_per_s().values()), list(all_of_them.shown_per_s().values())
    count = len(rates)
    ages_ms = 1000 * np.array([age_s for log in all_of_them.logs.values() for age_s in log.ready_s])
    spread = 100 * (max(rates) - min(rates)) / float(np.mean(rates))
    age = Spread(float(np.percentile(ages_ms, 95)), float(ages_ms.min()), float(ages_ms.max()), len(ages_ms))
    core = 100 * all_of_them.processor_s / all_of_them.seconds
    return [
        Value(
            f"results a second of the slowest camera, over its rate alone / {count}",
            Spread.one(min(rates) / (rate_alone / count)),
            "x",
            at_least(0.9),
            f"{min(rates):.2f} of {rate_alone:.1f} / {count}",
        ),
        Value("results: fastest to slowest camera", Spread.one(spread), "% of the mean", at_most(10)),
        Value("frames displayed, slowest camera", Spread.of(displays), "fps", at_least(14.5), "median of the cameras"),
        Value("age of a result p95", age, "ms", at_most(2000 * count * TAKES_S), "from capture until it is there"),
        Value("processor, all but the network", Spread.one(core), "% of a core", None, "decoding 8 files included"),
    ]


def one_camera(clip: Path, truths, seconds: float, rounds: int) -> list[Value]:
    """One camera as the only one of `Cameras`, over one by itself, alternately."""
    sides: dict[str, list[Measured]] = {"alone": [], "of cameras": []}
    for _ in range(rounds):
        for name, measured in sides.items():
            segmenter = playback.ScriptedSegmenter(truths, TAKES_S)
            measured.append(run(clip, 0 if name == "alone" else 1, segmenter, seconds))

    def compared(name: str, number: Callable[[Measured], float], target) -> Value:
        pair = [[number(one) for one in sides[side]] for side in ("of cameras", "alone")]
        return Value(f"one camera: {name}, over a run by itself", ratios(*pair), "x", target)

    return [
        compared("frames displayed", lambda one: min(one.shown_per_s().values()), at_least(0.97)),
        compared("results", lambda one: min(one.results_per_s().values()), at_least(0.97)),
        compared("median latency to the display", latency_s, at_most(1.03)),
        compared("processor time", lambda one: one.processor_s / one.seconds, at_most(1.03)),
    ]


def latency_s(measured: Measured) -> float:
    """From capture to display, median."""
    return float(np.median([s for log in measured.logs.values() for s in log.display_s]))


def run(clip: Path, count: int, segmenter: playback.ScriptedSegmenter, seconds: float) -> Measured:
    """One run with this number of cameras; 0: a `Stream`."""
    source = {"uri": str(clip), "realtime": True}
    values = {"window": {"mode": "off"}, "progress": "off"}
    screens: dict[str, LoggingScreen] = {}
    measured = Measured({})
    began_s = time.monotonic()
    marks: list[tuple[float, float, float, dict[str, float]]] = []

    def watch() -> bool:
        """Whether the run is long enough; begins to count once it is warm."""
        now_s = time.monotonic()
        if not marks and now_s >= began_s + WARM_S:
            for screen in screens.values():
                screen.log.begin_s = now_s
            marks.append((now_s, time.process_time(), segmenter.processor_s, thread_seconds()))
        return bool(marks) and now_s >= marks[0][0] + seconds

    if count == 0:
        screens["alone"] = LoggingScreen()
        stream = Stream(Settings.model_validate({**values, "source": source}), segmenter=segmenter)
        stream.add_sink(screens["alone"])
        with stream:
            for _ in stream:
                if watch():
                    break
            finish(measured, marks, segmenter, screens)
        return measured
    cameras = [{"name": f"c{number}", "uri": str(clip), "source": {"realtime": True}} for number in range(count)]
    group = Cameras({**values, "cameras": cameras}, segmenter=segmenter)

    def screen_of(entry: CameraEntry) -> LoggingScreen:
        return screens.setdefault(entry.name, LoggingScreen())

    group.add_sinks(screen_of)
    with group:
        group.run(lambda: group.stop() if watch() else None)
        finish(measured, marks, segmenter, screens)
    return measured


def finish(measured: Measured, marks, segmenter: playback.ScriptedSegmenter, screens: dict[str, LoggingScreen]) -> None:
    """Fill in what was measured, while the threads are still there."""
    assert marks, "the run ended before it was warm"
    began_s, processor_s, of_network_s, threads = marks[0]
    measured.seconds = time.monotonic() - began_s
    measured.processor_s = time.process_time() - processor_s - (segmenter.processor_s - of_network_s)
    measured.threads = {name: s - threads.get(name, 0.0) for name, s in thread_seconds().items()}
    measured.logs = {name: screen.log for name, screen in screens.items()}
