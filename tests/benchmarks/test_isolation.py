"""What counts as a change of the others' rates, and a short run."""

import pytest

from benchmarks import footage, isolation, playback
from benchmarks.faulty_camera import FaultKind
from benchmarks.isolation import Parts, Times, values_of
from pipeline.records import SegmentedFrame, StageTimes
from pipeline.sinks.base import Presentation
from tests.pipeline.fakes import make_frame, make_instances


def at(*spans):
    """Moments in (from, to] by rate: those of each span (rate, from, to), evenly."""
    return [begin + number / rate for rate, begin, end in spans for number in range(1, round((end - begin) * rate) + 1)]


def test_the_faults_lie_in_each_second_part_and_end_before_it_does():
    script = Parts(3, 10.0).script()
    assert [fault.kind for fault in script] == [*FaultKind] * 3
    for number, start_s in enumerate((10.0, 30.0, 50.0)):
        faults = script[5 * number : 5 * number + 5]
        assert start_s < faults[0].at_s
        assert faults[-1].at_s + faults[-1].lasts_s < start_s + 10.0


def test_equal_rates_are_no_change():
    assert Parts(2, 10.0).changes(at((15, 90.02, 142.02)), 100.0) == pytest.approx([0.0, 0.0])


def test_a_change_in_either_direction_counts():
    times_s = at((10, 90, 110), (8, 110, 120), (10, 120, 130), (12, 130, 141))
    assert Parts(2, 10.0).changes(times_s, 100.0) == pytest.approx([20.0, 20.0])


def test_gaps_count_in_the_part_in_which_they_are():
    # The faulty part lasts from 110 to 120: nothing in its first, middle, or last quarter; nothing at all.
    for begin, end in ((110, 112.5), (114, 116.5), (117.5, 120)):
        times_s = [moment for moment in at((10, 90, 121)) if not begin < moment < end]
        assert Parts(1, 10.0).changes(times_s, 100.0) == pytest.approx([24.0])
    assert Parts(1, 10.0).changes(at((10, 90, 110)), 100.0) == pytest.approx([100.0])


def test_the_camera_that_is_affected_most_is_reported():
    shown = {"a": Times(), "b": Times()}
    for screen, rate in zip(shown.values(), (15, 14), strict=True):
        screen.frames_s = at((15, 90, 110), (rate, 110, 121))
        screen.results_s = at((10, 90, 121))
    results, frames = values_of(shown, Parts(1, 10.0), 100.0, "a note")
    assert (results.reached, frames.reached) == (True, False)
    assert frames.spread.median == pytest.approx(100 / 15)
    assert results.note == frames.note == "a note"


def test_a_screen_keeps_when_frames_and_new_results_were_shown():
    screen = Times()
    for index, result in enumerate((None, 0, 0, 2)):
        times = StageTimes(0.0, None, None, 10.0 + index)
        segmented = SegmentedFrame(make_frame(index), make_instances(1), result, times)
        screen.write(Presentation(segmented, segmented.frame.image_bgr))
    assert screen.frames_s == [10.0, 11.0, 12.0, 13.0]
    assert screen.results_s == [11.0, 13.0]


@pytest.mark.realtime
def test_a_short_run(tmp_path):
    pictures, _ = playback.scene(10, 2, (160, 96))
    parts = Parts(1, 5.0)
    clip = footage.write_clip(tmp_path / "clip.mp4", [pictures[i] for i in playback.ping_pong(10, 600)], 15)
    values = isolation.measure(clip, parts)
    assert [value.name.rpartition("' ")[2] for value in values] == ["results", "frames displayed"]
    assert "3 others; " in values[0].note
    assert not values[0].note.startswith("3 others; 0 reconnects")
