"""The row's values, worked out by hand from runs that are made up."""

import pytest

from benchmarks.measuring import RowReport, Spread, Value
from benchmarks.options import Options
from benchmarks.rows import cameras
from benchmarks.rows.cameras import Measured
from benchmarks.rows.live import FrameLog
from tests.benchmarks.rows.fakes import by_name


def log(results, fps=15.0, seconds=10.0, age_s=0.3, display_s=0.02):
    """A camera that showed `fps` frames a second, with so many results."""
    count = round(fps * seconds) + 1
    return FrameLog(
        begin_s=0.0,
        presented_s=[number / fps for number in range(count)],
        ready_s=[age_s] * results,
        shown_s=[age_s + 0.01] * results,
        display_s=[display_s] * count,
    )


def test_each_camera_is_held_to_its_share_of_the_rate_alone():
    alone = Measured({"alone": log(120)}, seconds=10.0)
    logs = {"a": log(16, fps=15), "b": log(14, fps=14.8, age_s=1.0), "c": log(15, fps=14)}
    several = Measured(logs, seconds=10.0, processor_s=6.0)
    values = by_name(RowReport("cameras", "", cameras.values_of(alone, several)))
    slowest = values["results a second of the slowest camera, over its rate alone / 3"]
    assert slowest.spread.median == pytest.approx(1.4 / (12 / 3))
    assert not slowest.reached
    assert values["results: fastest to slowest camera"].spread.median == pytest.approx(100 * 0.2 / 1.5)
    shown = values["frames displayed, slowest camera"].spread
    assert (shown.low, shown.median) == (pytest.approx(14.0), pytest.approx(14.8))
    assert values["age of a result p95"].spread.median == pytest.approx(1000.0)
    assert values["processor, all but the network"].spread.median == pytest.approx(60.0)


def test_one_camera_is_compared_with_a_run_by_itself_in_turns(monkeypatch):
    made = []

    def run(clip, count, segmenter, seconds):
        made.append(count)
        one = log(10 if count == 0 else 9, display_s=0.02 if count == 0 else 0.021)
        return Measured({"x": one}, seconds=10.0, processor_s=2.0 if count == 0 else 2.2)

    monkeypatch.setattr(cameras, "run", run)
    display, results, latency, processor = cameras.one_camera("clip", [], 10.0, 3)
    assert made == [0, 1, 0, 1, 0, 1]
    assert (display.spread, display.reached) == (Spread(1.0, 1.0, 1.0, 3), True)
    assert (results.spread.median, results.reached) == (pytest.approx(0.9), False)
    assert (latency.spread.median, latency.reached) == (pytest.approx(1.05), False)
    assert (processor.spread.median, processor.reached) == (pytest.approx(1.1), False)


def test_the_row_measures_all_of_it_with_one_clip_that_is_long_enough(monkeypatch):
    lengths, parts_of = [], []
    monkeypatch.setattr(cameras.playback, "scene", lambda *_: ([b"picture"], []))
    monkeypatch.setattr(cameras.footage, "write_clip", lambda path, shown, rate: lengths.append(len(shown)) or path)
    monkeypatch.setattr(
        cameras, "run", lambda _, count, *__: Measured({f"c{i}": log(10) for i in range(count or 1)}, seconds=10.0)
    )
    change = Value("one camera fails", Spread.one(0.5), "%")
    monkeypatch.setattr(cameras.isolation, "measure", lambda clip, parts: parts_of.append(parts) or [change])
    monkeypatch.setattr(cameras.unscheduled, "measure", lambda *_: [])
    monkeypatch.setattr(cameras, "one_camera", lambda *_: [])
    report = cameras.measure(Options())
    assert (report.name, change in report.values) == ("cameras", True)
    assert parts_of == [cameras.isolation.Parts(10, 8.0)]
    assert lengths[0] >= 15 * (2 * 10 * 8.0 + 3.0)
