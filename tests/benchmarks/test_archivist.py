"""Segments are looked at before they are gone."""

import numpy as np

from benchmarks.archivist import Archivist, WatchedFolder
from benchmarks.marked_people import paint
from pipeline.settings.output_settings import RecorderSettings
from pipeline.sinks.recorder import Recorder
from tests.pipeline.sinks.presentations import context, presentation


def record(path, frames=3, marked=False):
    """A recording, of a marked person or of nobody."""
    recorder = Recorder(RecorderSettings(path=str(path), preset="ultrafast", crf=4))
    recorder.open(context())
    image = np.full((64, 96, 3), 110, np.uint8)
    if marked:
        paint(image, [np.ones(image.shape[:2], bool)])
    for number in range(frames):
        recorder.write(presentation(number, image=image))
    recorder.close()


def test_a_segment_is_copied_when_the_next_has_begun_and_outlives_its_file(tmp_path):
    copies, recorded = tmp_path / "copies", tmp_path / "recorded"
    copies.mkdir()
    recorded.mkdir()
    first, second = (recorded / f"hall-20260314-15092{number}-000{number}.mp4" for number in (1, 2))
    folder = WatchedFolder(recorded, copies)
    record(first, marked=True)
    (recorded / "holiday.mp4").write_bytes(b"")
    folder.take(also_newest=False)
    assert folder.look_at_one() is None
    record(second, frames=5)
    folder.take(also_newest=False)
    first.unlink()
    found = folder.look_at_one()
    assert (found.camera, found.year, found.number) == ("hall", 2026, 1)
    assert (found.recording.decoded, found.recording.listed, found.uncovered) == (3, 3, 3)
    folder.take(also_newest=True)
    found = folder.look_at_one()
    assert (found.number, found.recording.decoded, found.uncovered) == (2, 5, 0)
    assert list(copies.iterdir()) == []


def test_the_process_reports_what_is_there_at_the_end(tmp_path):
    with Archivist() as archivist:
        archivist.watch(tmp_path)
        record(tmp_path / "hall-20260314-150926-0001.mp4")
        record(tmp_path / "gate-19720229-150926-0007.mp4")
        found = archivist.report(30.0)
    read = sorted((one.camera, one.year, one.recording.decoded) for one in found)
    assert read == [("gate", 1972, 3), ("hall", 2026, 3)]
