import shutil

import pytest

from pipeline.errors import InputError
from pipeline.records import SourceKind
from pipeline.sinks.segments import CHECK_EVERY_S
from pipeline.sinks.switched_recorder import Recording
from tests.pipeline.sinks.switched_run import Run, frames_in


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


def test_after_its_end_nothing_is_recorded(tmp_path):
    run = Run(tmp_path, tmp_path / "out.mp4")
    run.frames(2)
    run.sink.close()
    state = run.controls.state
    assert (state.recording, state.saved) == (False, str(tmp_path / "out.mp4"))


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
    assert segments_in(tmp_path)[0].endswith("-0002.mp4")
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


def test_an_impossible_path_is_an_error_at_open(tmp_path):
    with pytest.raises(InputError, match=r"out\.avi"):
        Run(tmp_path, tmp_path / "out.avi")


def test_closing_twice_and_without_frames(tmp_path):
    run = Run(tmp_path)
    run.sink.close()
    run.sink.close()
    assert run.sink.outputs == ()
