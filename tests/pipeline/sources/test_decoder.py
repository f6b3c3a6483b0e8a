"""Decoding past corrupt data, and the explanation of FFmpeg's errors."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from pipeline.errors import InputError, RunError
from pipeline.sources.decoder import MAX_ERRORS_IN_ROW, Decoder, explain, is_cover, open_container, pick_video
from pipeline.sources.warnings import SourceWarnings
from tests.pipeline.sources.clips import write_clip


class FailingContainer:
    """Its reads fail with the given errors, one after the other, then with end of file."""

    def __init__(self, *errors: av.FFmpegError) -> None:
        self.errors = list(errors)

    def demux(self, _stream: object) -> object:
        if self.errors:
            raise self.errors.pop(0)
        return iter(())


def invalid() -> av.FFmpegError:
    return av.error.InvalidDataError(1094995529, "Invalid data found")


def decoder_of(path: Path, container: FailingContainer) -> tuple[Decoder, av.container.InputContainer]:
    real = open_container(str(path), path.name)
    return Decoder(container, pick_video(real, path.name), path.name, SourceWarnings()), real


def test_a_few_bad_reads_are_skipped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    container = FailingContainer(invalid(), invalid())
    decoder, real = decoder_of(write_clip(tmp_path / "a.mp4", 2), container)
    assert list(decoder.frames()) == []
    assert container.errors == []
    assert caplog.messages == ["a.mp4: corrupt data at 00:00.0, resuming after it"]
    real.close()


def test_a_stream_that_appears_midway_is_ignored(tmp_path: Path) -> None:
    silent = write_clip(tmp_path / "silent.flv", 400, options={"bf": "0"}).read_bytes()
    with_sound = write_clip(tmp_path / "sound.flv", 30, options={"bf": "0"}, sound_s=1.2).read_bytes()
    path = tmp_path / "joined.flv"
    path.write_bytes(silent + with_sound[13:])  # without the second file's header
    with open_container(str(path), path.name) as container:
        assert len(container.streams) == 1, "or this test shows nothing"
        warnings = SourceWarnings()
        decoder = Decoder(container, pick_video(container, path.name), path.name, warnings)
        assert len(list(decoder.frames())) == 430
        assert warnings.texts() == []


def test_reading_stops_after_too_many_errors(tmp_path: Path) -> None:
    container = FailingContainer(*[invalid() for _ in range(MAX_ERRORS_IN_ROW + 10)])
    decoder, real = decoder_of(write_clip(tmp_path / "a.mp4", 2), container)
    assert list(decoder.frames()) == []
    assert len(container.errors) == 10
    real.close()


def test_a_failing_disk_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    container = FailingContainer(av.error.OSError(5, "Input/output error"))
    decoder, real = decoder_of(write_clip(tmp_path / "a.mp4", 2), container)
    with pytest.raises(RunError, match=r"a\.mp4: reading failed: Input/output error"):
        list(decoder.frames())
    real.close()


def test_a_cover_picture_is_not_the_video(tmp_path: Path) -> None:
    path = tmp_path / "song.mp4"
    with av.open(str(path), "w") as container:
        sound = container.add_stream("aac", rate=8000, layout="mono")
        cover = container.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 32, 16, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        frame = av.VideoFrame.from_ndarray(np.zeros((16, 32, 3), np.uint8), format="bgr24")
        container.mux(cover.encode(frame.reformat(format="yuvj420p")))
        container.mux(cover.encode(None))
        samples = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        samples.sample_rate = 8000
        container.mux(sound.encode(samples))
        container.mux(sound.encode(None))
    with open_container(str(path), "song.mp4") as container:
        assert [is_cover(stream) for stream in container.streams.video] == [True]
        with pytest.raises(InputError, match=r"song\.mp4 contains no video: only audio \(aac\)"):
            pick_video(container, "song.mp4")


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (av.error.ExitError, "timed out"),
        (av.error.ConnectionRefusedError, "connection refused"),
        (av.error.HTTPUnauthorizedError, "user name and password"),
        (av.error.HTTPNotFoundError, "404"),
        (av.error.EOFError, "ends before"),
    ],
)
def test_errors_are_explained(kind: type[av.FFmpegError], text: str) -> None:
    assert text in explain(kind(1, "raw text"))


def test_an_unknown_error_keeps_its_message() -> None:
    assert explain(av.error.OSError(28, "No space left")) == "No space left"
