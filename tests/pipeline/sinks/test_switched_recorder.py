import errno
import shutil
from dataclasses import replace
from datetime import datetime

import av
import numpy as np
import pytest

from pipeline.controls import Controls
from pipeline.errors import InputError, RunError
from pipeline.records import SourceKind
from pipeline.settings.output_settings import OverlaySettings, RecorderSettings
from pipeline.sinks.recorder import Recorder
from pipeline.sinks.segments import CHECK_EVERY_S, SegmentRecorder
from pipeline.sinks.switched_recorder import Recording, SwitchedRecorder
from tests.pipeline.sinks.presentations import context, presentation

NOON = datetime(2026, 3, 4, 12, 5, 6)


def frames_in(path):
    with av.open(str(path)) as file:
        return sum(1 for _ in file.decode(video=0))


class Run:
    """A recorder and the frames that it is given, each with the controls as they stand."""

    def __init__(self, folder, path=None, recording=None, camera=None, kind=SourceKind.RECORDED, **settings):
        self.now_s, self.free = 0.0, 10**12
        self.controls = Controls(OverlaySettings(), recording=path is not None if recording is None else recording)
        settings = RecorderSettings(path=path and str(path), preset="ultrafast", **settings)
        self.sink = SwitchedRecorder(
            settings,
            folder,
            self.controls,
            camera,
            wall_clock=lambda: NOON,
            make=self.make,
        )
        self.sink.open(context(kind=kind))
        self.index = 0

    def make(self, settings, outputs):
        if settings.segment_s is not None:
            return SegmentRecorder(settings, outputs, clock=lambda: self.now_s)
        return Recorder(
            settings,
            outputs,
            clock=lambda: self.now_s,
            free_bytes=lambda where: self.free if where.is_dir() else shutil.disk_usage(where).free,
        )

    def frame(self, drawn=True):
        made = presentation(self.index)
        picture = np.array(made.annotated_bgr) if drawn else made.annotated_bgr
        self.index += 1
        return replace(made, annotated_bgr=picture, controls=self.controls.state)

    def frames(self, count):
        for _ in range(count):
            self.sink.write(self.frame())


def test_switched_off_while_no_frames_arrive(tmp_path):
    run = Run(tmp_path)
    run.controls.set_recording(True)
    run.frames(3)
    late = run.frame()  # drawn before it was switched off, handed over afterwards
    run.sink.idle("")
    assert run.controls.state.file is not None
    run.controls.set_recording(False)
    run.sink.idle("")
    assert run.controls.state.file is None
    recording = tmp_path / "2026-03-04_12-05-06.mp4"
    assert frames_in(recording) == 3
    run.sink.write(late)
    run.frames(1)
    run.sink.close()
    assert frames_in(recording) == 3
    assert list(run.sink.outputs) == [str(recording)]


def segments_in(folder):
    return [path.name for path in folder.iterdir() if path.suffix == ".mp4"]


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("recording", [True, False])
def test_segments_keep_their_limits_while_no_frames_arrive(tmp_path, named, recording):
    path = tmp_path / "out.mp4" if named else None
    run = Run(tmp_path, path, camera="hall", kind=SourceKind.LIVE, segment_s=5.0, keep_s=60.0)
    run.controls.set_recording(True)
    run.frames(1)
    run.controls.set_recording(recording)
    run.sink.idle("")
    run.now_s += 5.0
    run.sink.idle("")
    assert [made.writing for made in run.sink.recordings()] == [False]
    run.now_s += 54.0
    run.sink.idle("")
    assert len(segments_in(tmp_path)) == 1
    run.now_s += 2 * CHECK_EVERY_S
    run.sink.idle("")
    assert segments_in(tmp_path) == []
    run.controls.set_recording(True)
    run.frames(1)
    run.sink.close()
    assert [frames_in(tmp_path / name) for name in segments_in(tmp_path)] == [1]
    assert len(run.sink.outputs) == 1


@pytest.mark.parametrize("named", [True, False])
def test_segments_of_an_earlier_run_keep_their_limits_before_anything_is_recorded(tmp_path, named):
    path = tmp_path / "out.mp4" if named else None
    earlier = Run(tmp_path, path, recording=True, segment_s=5.0)
    earlier.controls.set_recording(True)
    earlier.frames(1)
    earlier.sink.close()
    assert len(segments_in(tmp_path)) == 1
    run = Run(tmp_path, path, recording=False, segment_s=5.0, keep_s=60.0)
    for _ in range(2):  # the list is read at the first
        run.sink.idle("")
        run.now_s += 61.0
    run.sink.idle("")
    assert segments_in(tmp_path) == []
    run.sink.close()
    run.sink.idle("")


def test_before_there_is_a_folder_for_recordings_no_limits_are_kept(tmp_path, caplog):
    run = Run(tmp_path / "absent", segment_s=5.0, keep_s=60.0)
    run.sink.idle("")
    run.sink.close()
    assert caplog.messages == []


def test_limits_that_cannot_be_kept_are_one_warning_and_end_nothing(tmp_path, caplog):
    folder = tmp_path / "disk"
    folder.mkdir()
    run = Run(tmp_path, folder / "out.mp4", segment_s=5.0, keep_s=60.0)
    run.frames(1)
    run.controls.set_recording(False)
    run.sink.idle("")
    shutil.rmtree(folder)
    for _ in range(10):
        run.now_s += 0.5 * CHECK_EVERY_S
        run.sink.idle("")
    assert caplog.text.count("old recordings are not deleted") == 1
    folder.mkdir()
    run.sink.idle("")
    run.controls.set_recording(True)
    run.frames(1)
    run.sink.close()
    assert len(segments_in(folder)) == 1


def test_a_recording_of_one_of_several_cameras_has_its_name(tmp_path):
    run = Run(tmp_path, camera="hall")
    run.controls.set_recording(True)
    run.frames(1)
    run.sink.close()
    assert [path.name for path in tmp_path.iterdir()] == ["hall_2026-03-04_12-05-06.mp4"]


def test_two_recordings_started_while_running(tmp_path):
    run = Run(tmp_path)
    assert not run.sink.wants_overlay
    assert not run.sink.wants_frames
    run.frames(3)
    assert list(tmp_path.iterdir()) == []
    for count in (4, 6):
        run.controls.set_recording(True)
        assert run.sink.wants_overlay
        assert run.sink.wants_frames
        run.frames(count)
        assert run.controls.state.file == run.sink.outputs[-1]
        run.controls.set_recording(False)
        assert run.sink.wants_frames  # the next one ends it
        run.frames(2)
        assert run.controls.state.file is None
    run.sink.close()
    names = ["2026-03-04_12-05-06.mp4", "2026-03-04_12-05-06-2.mp4"]
    assert list(run.sink.outputs) == [str(tmp_path / name) for name in names]
    assert [frames_in(tmp_path / name) for name in names] == [4, 6]


def test_recordings_are_listed_while_they_are_written_and_until_they_are_deleted(tmp_path):
    run = Run(tmp_path)
    assert run.sink.recordings() == []
    run.controls.set_recording(True)
    run.frames(2)
    first, second = tmp_path / "2026-03-04_12-05-06.mp4", tmp_path / "2026-03-04_12-05-06-2.mp4"
    assert run.sink.recordings() == [Recording(first, True)]
    run.controls.set_recording(False)
    run.frames(1)
    run.controls.set_recording(True)
    run.frames(2)
    assert run.sink.recordings() == [Recording(first, False), Recording(second, True)]
    first.unlink()
    assert run.sink.recordings() == [Recording(second, True)]
    run.controls.set_recording(False)
    run.frames(1)
    run.controls.set_recording(True)
    run.frames(1)  # takes the name that has become free
    assert run.sink.recordings() == [Recording(first, True), Recording(second, False)]
    run.sink.close()
    assert run.sink.recordings() == [Recording(first, False), Recording(second, False)]


def test_segments_are_listed_one_by_one(tmp_path):
    run = Run(tmp_path, segment_s=1.0)
    run.controls.set_recording(True)
    run.frames(25)  # a second
    run.frames(1)
    listed = [(recording.path.name[-8:], recording.writing) for recording in run.sink.recordings()]
    assert listed == [("0001.mp4", False), ("0002.mp4", True)]
    state = run.controls.state
    assert [state.saved, state.file] == [str(recording.path) for recording in run.sink.recordings()]
    run.sink.close()
    assert [recording.writing for recording in run.sink.recordings()] == [False, False]


def test_the_path_in_the_settings_then_numbered_siblings(tmp_path):
    path = tmp_path / "out.mp4"
    path.write_bytes(b"an older run's")
    (tmp_path / "out-2.mp4").write_bytes(b"somebody's")
    run = Run(tmp_path / "nowhere", path)
    run.frames(5)
    run.controls.set_recording(False)
    run.frames(1)
    run.controls.set_recording(True)
    run.frames(3)
    run.sink.close()
    assert [frames_in(tmp_path / name) for name in ("out-3.mp4", "out-4.mp4")] == [5, 3]
    assert path.read_bytes() == b"an older run's"
    assert (tmp_path / "out-2.mp4").read_bytes() == b"somebody's"


def test_off_and_on_between_two_frames_makes_two_files(tmp_path):
    run = Run(tmp_path)
    run.controls.set_recording(True)
    run.frames(2)
    run.controls.set_recording(False)
    run.controls.set_recording(True)
    run.frames(3)
    run.sink.close()
    assert [frames_in(path) for path in run.sink.outputs] == [2, 3]


def test_the_controls_at_drawing_time_decide(tmp_path):
    run = Run(tmp_path)
    early = run.frame()
    run.controls.set_recording(True)
    run.sink.write(early)  # made before the start, written after it
    assert run.sink.outputs == ()
    late = [run.frame() for _ in range(2)]
    run.controls.set_recording(False)
    for one in late:  # made before the end, written after it
        run.sink.write(one)
    run.sink.write(run.frame())
    assert [frames_in(path) for path in run.sink.outputs] == [2]


def test_a_frame_without_an_overlay_is_skipped(tmp_path):
    run = Run(tmp_path)
    run.controls.set_recording(True)
    run.sink.write(run.frame(drawn=False))
    assert run.sink.outputs == ()
    run.frames(2)
    run.sink.close()
    assert [frames_in(path) for path in run.sink.outputs] == [2]


def test_a_recording_that_fails_to_start_does_not_end_the_run_and_can_be_retried(tmp_path, caplog):
    folder = tmp_path / "absent"
    run = Run(folder)
    run.controls.set_recording(True)
    old = [run.frame() for _ in range(3)]
    for one in old:
        run.sink.write(one)
    state = run.controls.state
    assert not state.recording
    assert "the folder" in state.error
    assert "does not exist" in state.error
    assert len(caplog.records) == 1  # not once a frame
    folder.mkdir()
    run.controls.set_recording(True)
    run.frames(2)
    assert run.controls.state.error == ""
    run.sink.close()
    assert [frames_in(path) for path in run.sink.outputs] == [2]


def failing(monkeypatch, after):
    """The next recorder fails with its frame number `after`."""
    real, written = Recorder.write, []

    def write(self, made):
        written.append(made)
        if len(written) > after:
            raise RunError("Writing failed: No space left on device.")
        real(self, made)

    monkeypatch.setattr(Recorder, "write", write)


def test_a_full_disk_ends_only_a_recording_started_during_the_run(tmp_path, monkeypatch):
    failing(monkeypatch, after=2)
    run = Run(tmp_path)
    run.controls.set_recording(True)
    run.frames(5)
    assert run.controls.state.error == "Writing failed: No space left on device."
    assert not run.controls.state.recording
    assert [frames_in(path) for path in run.sink.outputs] == [2]
    run.sink.close()


def too_many_open_files(*_, **__):
    raise OSError(errno.EMFILE, "Too many open files")


def refused_by_the_encoder(*_, **__):
    raise ValueError("Invalid argument")


@pytest.mark.parametrize(
    ("where", "failure", "message"),
    [
        ("pipeline.sinks.paths.create_new", too_many_open_files, "Too many open files"),
        ("pipeline.sinks.media_file.MediaFile.write", too_many_open_files, "Too many open files"),
        ("pipeline.sinks.media_file.write_all", too_many_open_files, "Too many open files"),
        ("pipeline.sinks.recorder.av.open", too_many_open_files, "Too many open files"),
        ("pipeline.sinks.recorder.av.open", refused_by_the_encoder, "Invalid argument"),
        ("pipeline.sinks.segments.create_new", too_many_open_files, "Too many open files"),
        ("pipeline.sinks.segments.os.listdir", too_many_open_files, "Too many open files"),
    ],
)
def test_whatever_fails_ends_only_a_recording_started_during_the_run(tmp_path, monkeypatch, where, failure, message):
    run = Run(tmp_path, segment_s=1.0 if "segments" in where else None)
    with monkeypatch.context() as patch:
        patch.setattr(where, failure)
        run.controls.set_recording(True)
        run.frames(2)
        assert message in run.controls.state.error
        assert not run.controls.state.recording
    assert [path for path in tmp_path.iterdir() if not path.name.startswith(".")] == []
    run.controls.set_recording(True)
    run.frames(2)
    run.sink.close()
    assert [frames_in(path) for path in run.sink.outputs] == [2]


@pytest.mark.parametrize("segment_s", [None, 0.1])
def test_a_folder_that_goes_away_ends_only_the_recording(tmp_path, segment_s):
    folder = tmp_path / "disk"
    folder.mkdir()
    run = Run(folder, segment_s=segment_s and 1.0)
    run.controls.set_recording(True)
    run.frames(2)
    shutil.rmtree(folder)
    run.now_s += 60
    run.frames(30)
    assert "No such file or directory" in run.controls.state.error
    assert not run.controls.state.recording
    run.sink.close()


def test_a_recording_ends_before_the_disk_is_full(tmp_path, caplog):
    run = Run(tmp_path)
    run.controls.set_recording(True)
    run.frames(3)
    run.free = 499_999_999
    run.frames(3)  # the next check is due later
    run.now_s += 5.0
    run.frames(3)
    assert f"less than 500 MB are free in {tmp_path}" in run.controls.state.error
    assert caplog.text.count("recording ended: ") == 1
    assert [frames_in(path) for path in run.sink.outputs] == [6]
    run.controls.set_recording(True)  # still full
    run.frames(3)
    assert not run.controls.state.recording
    assert len(list(tmp_path.iterdir())) == 1
    run.sink.close()


def test_a_full_disk_ends_the_run_for_the_path_in_the_settings(tmp_path, monkeypatch):
    failing(monkeypatch, after=2)
    run = Run(tmp_path, tmp_path / "out.mp4")
    with pytest.raises(RunError, match="No space left"):
        run.frames(3)
    run.sink.close()


def test_a_disk_that_is_nearly_full_ends_the_run_for_the_path_in_the_settings(tmp_path):
    run = Run(tmp_path, tmp_path / "out.mp4")
    run.frames(3)
    run.free, run.now_s = 499_999_999, 5.0
    with pytest.raises(RunError, match="less than 500 MB are free"):
        run.frames(1)
    run.sink.close()
    assert [frames_in(path) for path in run.sink.outputs] == [3]


def test_an_impossible_path_is_an_error_at_open(tmp_path):
    with pytest.raises(InputError, match=r"out\.avi"):
        Run(tmp_path, tmp_path / "out.avi")


def test_closing_twice_and_without_frames(tmp_path):
    run = Run(tmp_path)
    run.sink.close()
    run.sink.close()
    assert run.sink.outputs == ()
