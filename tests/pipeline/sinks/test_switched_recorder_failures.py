"""A recording that fails ends alone if it was started during the run, and the run if the settings ask for it."""

import errno
import shutil

import pytest

from pipeline.errors import RunError
from pipeline.sinks.recorder import Recorder
from tests.pipeline.sinks.switched_run import Run, frames_in


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
