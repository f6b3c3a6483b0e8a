"""Recordings that are killed, find no room, or may not be written: what is there can be played."""

from __future__ import annotations

import errno
import logging
import os
import signal
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import av
import numpy as np
import pytest

from pipeline.errors import InputError, RunError, StageStuckError
from pipeline.settings.output_settings import RecorderSettings
from pipeline.sinks import media_file, paths
from pipeline.sinks.paths import Inputs, Outputs
from pipeline.sinks.recorder import CHECK_EVERY_S, Recorder
from tests.pipeline.fakes import DEADLINE_S, FakeClock, FakeSource
from tests.pipeline.runs import stream_of
from tests.pipeline.sinks.presentations import context, picture, presentation
from tests.pipeline.sinks.test_recorder import H264_SUFFIXES, KINDS, SUFFIXES, read_frames, record, write_all

DIE_WHILE_RECORDING = textwrap.dedent(
    """
    import os, signal, sys
    from pipeline.records import SourceKind
    from pipeline.settings.schema import RecorderSettings
    from pipeline.sinks.recorder import Recorder
    from tests.pipeline.sinks.presentations import context, presentation
    recorder = Recorder(RecorderSettings(path=sys.argv[1], fragment_s=0.5))
    recorder.open(context(kind=SourceKind(sys.argv[2])))
    for i in range(200):
        recorder.write(presentation(i))
    os.kill(os.getpid(), signal.SIGKILL)
    """
)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_recording_plays_up_to_its_last_fragment(tmp_path, suffix, kind):
    path = tmp_path / f"out{suffix}"
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", DIE_WHILE_RECORDING, str(path), kind.value],
        cwd=root,
        timeout=60,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    frames = read_frames(path)
    # 200 frames are 8 s: at most the encoder's few frames and one fragment may be missing.
    assert len(frames) >= 200 - 13 - 30
    for i in (0, 60, len(frames) - 1):
        assert np.abs(frames[i].astype(int) - picture(i)).mean() < 12


def fill_disk(monkeypatch, room):
    """Make every write that takes a file beyond `room` bytes fail with ENOSPC."""

    def write(file, data):
        if file.tell() + len(data) > room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        paths.write_all(file, data)

    monkeypatch.setattr(media_file, "write_all", write)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_full_disk_is_an_error_and_the_recording_so_far_plays(tmp_path, monkeypatch, suffix, kind):
    fill_disk(monkeypatch, 30_000)
    path = tmp_path / f"out{suffix}"
    recorder = Recorder(RecorderSettings(path=str(path), fragment_s=0.5))
    recorder.open(context(kind=kind))
    noise = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    with pytest.raises(RunError, match="No space left"):
        write_all(recorder, [presentation(i, image=np.roll(noise, i, axis=1)) for i in range(200)])
    recorder.close()
    recorder.close()
    assert len(read_frames(path)) >= 10


@pytest.mark.parametrize("suffix", H264_SUFFIXES)  # VP9 leaves nothing for the end
@pytest.mark.parametrize("missing", [20, 400, 900])  # a Matroska file varies by a byte or two: random ids
def test_a_disk_that_fills_up_while_finalizing_leaves_a_playable_file(tmp_path, monkeypatch, suffix, missing):
    whole, path = tmp_path / f"whole{suffix}", tmp_path / f"out{suffix}"
    # 16 macroblocks wide: of narrower pictures, x264 with its macroblock tree makes a recording now and then that is
    # some bytes longer than the next (2 of 300 mp4 files with 6 macroblocks; none of 100 with 16).
    size_wh = (256, 64)
    items = [presentation(i, image=picture(i, size_wh)) for i in range(60)]
    held = {"preset": "veryfast"}  # it looks ahead: the last frames are written while finishing
    record(whole, items, context(size_wh), **held)

    fill_disk(monkeypatch, whole.stat().st_size - missing)
    recorder = Recorder(RecorderSettings(path=str(path), **held))
    recorder.open(context(size_wh))
    write_all(recorder, items)
    with pytest.raises(RunError, match="No space left"):
        recorder.close()
    recorder.close()
    assert len(read_frames(path)) >= 25


class Limited:
    """A recorder with a limit of 500 MB, on a disk whose free space a test sets."""

    def __init__(self, path, **settings):
        self.free, self.clock = 10**12, FakeClock()
        self.recorder = Recorder(
            RecorderSettings(path=str(path), **settings), clock=self.clock, free_bytes=lambda folder: self.free
        )


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_recording_ends_and_is_finalized_before_the_disk_is_full(tmp_path, suffix, kind):
    path = tmp_path / f"out{suffix}"
    disk = Limited(path)
    disk.recorder.open(context(kind=kind))
    write_all(disk.recorder, [presentation(i) for i in range(10)])
    disk.free = 499_999_999
    disk.clock.now_s += CHECK_EVERY_S - 0.1
    write_all(disk.recorder, [presentation(i) for i in range(10, 13)])  # the next check is due later
    disk.clock.now_s += 0.1
    with pytest.raises(RunError) as error:
        disk.recorder.write(presentation(13))
    assert str(error.value) == (
        f"The recording {path} ends here: less than 500 MB are free in {tmp_path} (output.min_free_bytes)."
    )
    disk.recorder.close()
    assert len(read_frames(path)) == 13
    with av.open(str(path)) as file:
        assert file.duration == pytest.approx(13 * 40_000, abs=1100)


def test_a_nearly_full_disk_is_an_error_before_anything_is_written(tmp_path):
    disk = Limited(tmp_path / "out.mp4")
    disk.free = 499_999_999
    with pytest.raises(InputError, match=r"out\.mp4: less than 500 MB are free in .*lower output\.min_free_bytes"):
        disk.recorder.open(context())
    assert list(tmp_path.iterdir()) == []


def test_without_a_limit_the_free_space_does_not_matter(tmp_path):
    disk = Limited(tmp_path / "out.mp4", min_free_bytes=0)
    disk.free = 0
    disk.recorder.open(context())
    disk.clock.now_s += CHECK_EVERY_S
    disk.recorder.write(presentation(0))
    disk.recorder.close()
    assert len(read_frames(tmp_path / "out.mp4")) == 1


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")
def test_the_free_space_beside_a_fifo_does_not_matter(tmp_path):
    path = tmp_path / "out.mkv"
    os.mkfifo(path)
    disk = Limited(path)
    disk.free = 0
    disk.recorder.open(context())
    disk.recorder.close()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")
@pytest.mark.parametrize("suffix", H264_SUFFIXES)
def test_what_reads_a_fifo_gets_the_whole_recording(tmp_path, suffix):
    path, copy = tmp_path / f"out{suffix}", tmp_path / f"copy{suffix}"
    os.mkfifo(path)
    clock = FakeClock()
    recorder = Recorder(RecorderSettings(path=str(path)), clock=clock)
    recorder.open(context())
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # otherwise the recording could end before it is opened
    os.set_blocking(descriptor, True)
    recorder.write(presentation(0))  # opens the FIFO
    with open(descriptor, "rb") as fifo, ThreadPoolExecutor(1) as thread:
        reading = thread.submit(fifo.read)
        try:
            for index in range(1, 50):
                clock.now_s += 1.0  # also past the times at which a file is flushed to the disk
                recorder.write(presentation(index))
        finally:
            recorder.close()
        copy.write_bytes(reading.result())
    assert len(read_frames(copy)) == 50


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")
def test_a_recording_into_a_fifo_that_nobody_opens_is_an_error(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("pipeline.runtime.sink_worker.CALL_LIMIT_S", 0.2)
    caplog.set_level(logging.INFO)
    waits = threading.Event()
    monkeypatch.setattr(media_file.log, "filters", [lambda _: waits.set() or True])
    path = tmp_path / "out.mp4"
    os.mkfifo(path)
    stream = stream_of(FakeSource(3), values={"output": {"path": str(path)}})
    with pytest.raises(StageStuckError, match="recorder did not end"), stream:
        assert len(list(stream)) == 3 and waits.wait(DEADLINE_S)  # noqa: PT018 - in one statement for `raises`
    assert f"waiting for a program that reads the FIFO {path}" in caplog.text
    path.read_bytes()  # lets the thread end; who comes even later gets what there is


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")
def test_a_reader_of_a_fifo_that_leaves_ends_the_recording(tmp_path):
    path = tmp_path / "out.mp4"
    os.mkfifo(path)
    recorder = Recorder(RecorderSettings(path=str(path), fragment_s=0.1))
    recorder.open(context())
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    recorder.write(presentation(0))
    os.close(descriptor)
    with pytest.raises(RunError, match=r"out\.mp4 failed: Broken pipe"):
        write_all(recorder, [presentation(i) for i in range(1, 20)])
    recorder.close()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_real_full_device(tmp_path):
    path = tmp_path / "out.mkv"
    path.symlink_to("/dev/full")
    recorder = Recorder(RecorderSettings(path=str(path)))
    recorder.open(context())
    with pytest.raises(RunError, match=r"out\.mkv failed: No space left"):
        write_all(recorder, [presentation(i) for i in range(200)])
    recorder.close()


def test_nothing_is_written_or_truncated_before_the_first_frame(tmp_path):
    path, old = tmp_path / "new.mp4", tmp_path / "old.mp4"
    old.write_bytes(b"precious")
    for one in (path, old):
        assert record(one, []).outputs == ()
    assert not path.exists()
    assert old.read_bytes() == b"precious"


def test_an_older_file_stays_and_is_replaced_with_overwrite(tmp_path):
    path = tmp_path / "out.mp4"
    path.write_bytes(b"x" * 1_000_000)
    sink = record(path, [presentation(i) for i in range(3)])
    assert list(sink.outputs) == [str(tmp_path / "out-2.mp4")]
    assert len(read_frames(tmp_path / "out-2.mp4")) == 3
    assert path.read_bytes() == b"x" * 1_000_000
    recorder = Recorder(RecorderSettings(path=str(path)), Outputs(overwrite=True))
    recorder.open(context())
    for index in range(4):
        recorder.write(presentation(index))
    recorder.close()
    assert len(read_frames(path)) == 4


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("out.avi", r"must end in \.mp4, \.mkv, \.mov, \.webm or \.gif"),
        ("out", r"must end in \.mp4, \.mkv, \.mov, \.webm or \.gif"),
        ("out.png", r"must end in \.mp4, \.mkv, \.mov, \.webm or \.gif"),
        ("missing/out.mp4", "does not exist"),
        ("folder.mp4", "is a folder"),
        ("file.txt/out.mp4", "is not a folder"),
        ("input.mp4", "is a file that this run reads"),
        ("link.mp4", "is a file that this run reads"),
        ("hard.mp4", "is a file that this run reads"),
    ],
)
def test_impossible_paths_are_errors_before_anything_is_written(tmp_path, name, message):
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "file.txt").write_text("x")
    source = tmp_path / "input.mp4"
    source.write_bytes(b"the input")
    (tmp_path / "link.mp4").symlink_to(source)
    os.link(source, tmp_path / "hard.mp4")
    before = sorted(tmp_path.iterdir())
    recorder = Recorder(RecorderSettings(path=str(tmp_path / name)), Outputs(Inputs.of([source])))
    with pytest.raises(InputError, match=message):
        recorder.open(context())
    recorder.close()
    assert sorted(tmp_path.iterdir()) == before
    assert source.read_bytes() == b"the input"
