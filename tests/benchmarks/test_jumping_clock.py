"""The program reads a wall clock that jumps, and afterwards the right one again."""

from datetime import datetime, timedelta
from pathlib import Path

from benchmarks.jumping_clock import JUMPS, JumpingClock
from pipeline.settings.output_settings import RecorderSettings
from pipeline.sinks.segments import SegmentRecorder
from tests.pipeline.sinks.presentations import context, presentation


def shown(recorder):
    """The difference of the time in the name of its file from the right one, seconds."""
    recorder.open(context())
    recorder.write(presentation(0))
    recorder.close()
    (path,) = recorder.outputs
    return (
        datetime.strptime(Path(path).stem.rpartition("-")[0], "kiosk-%Y%m%d-%H%M%S") - datetime.now()
    ).total_seconds()


def make(tmp_path):
    return SegmentRecorder(RecorderSettings(path=str(tmp_path / "kiosk.mp4"), preset="ultrafast", segment_s=1.0))


def test_recorders_read_it_until_the_end_of_the_test(tmp_path):
    with JumpingClock() as clock:
        assert abs(shown(make(tmp_path))) < 30
        for number, jump in enumerate((*JUMPS, JUMPS[0])):
            recorder = make(tmp_path)
            clock.jump()
            assert abs(shown(recorder) - jump.total_seconds()) < 30
            assert clock.jumps == number + 1
        assert clock.year_after(1) == (datetime.now() + timedelta(days=-20_000)).year
        assert clock.year_after(4) == datetime.now().year
    assert abs(shown(make(tmp_path))) < 30
