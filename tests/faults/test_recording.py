"""A recording, its detections, its segments and its images, each of whose system calls fails once."""

from __future__ import annotations

import json
from pathlib import Path

import av
import pytest

from pipeline.errors import StreamSegmentError
from pipeline.records import SourceKind
from tests.faults.file_system import enumerate_faults
from tests.pipeline.fakes import FakeSource
from tests.pipeline.runs import stream_of

FRAMES = 12
THEIRS = b"somebody's own file"


def frames_in(path: Path) -> int:
    """How many frames of a video can be decoded."""
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def lines_in(path: Path) -> list[int]:
    """The frame numbers of a detections file, whose lines are whole."""
    text = path.read_bytes()
    assert text.endswith(b"\n"), text[-40:]
    return [json.loads(line)["frame"] for line in text.splitlines()]


def one_line(error):
    """What is wrong with an error that a user gets."""
    if error is None or (isinstance(error, StreamSegmentError) and len(str(error).splitlines()) == 1):
        return []
    return [f"{type(error).__name__} is no error of the program: {error}"]


def recorded(folder, values, frames=FRAMES):
    """A run that records, and its stream."""
    stream = stream_of(FakeSource(frames, SourceKind.RECORDED), values=values)

    def run():
        with stream:
            for _ in stream:
                pass

    return run


def recording(folder):
    """A video and detections, beside files of the user's of the same names."""
    for name in ("out.mkv", "out.jsonl"):
        (folder / name).write_bytes(THEIRS)
    values = {
        "output": {"path": str(folder / "out.mkv"), "fragment_s": 0.1, "preset": "ultrafast", "min_free_bytes": 0},
        "detections": {"path": str(folder / "out.jsonl")},
    }

    def check(error):
        problems = one_line(error)
        problems += [name for name in ("out.mkv", "out.jsonl") if (folder / name).read_bytes() != THEIRS]
        names = sorted(path.name for path in folder.iterdir() if path.read_bytes() != THEIRS)
        problems += [f"{name} is left" for name in names if name not in ("out-2.mkv", "out-2.jsonl")]
        try:
            frames = frames_in(folder / "out-2.mkv") if "out-2.mkv" in names else 0
            lines = lines_in(folder / "out-2.jsonl") if "out-2.jsonl" in names else []
        except (av.FFmpegError, AssertionError, ValueError) as damage:
            return [*problems, f"half a file: {damage!r}"]
        if lines != list(range(len(lines))) or (error is None and (frames, len(lines)) != (FRAMES, FRAMES)):
            problems.append(f"{frames} frames and the lines {lines} without an error")
        return problems

    return recorded(folder, values), check


def test_recording(tmp_path):
    runs, problems = enumerate_faults(tmp_path, recording)
    assert problems == []
    assert runs > 15


@pytest.mark.slow
def test_recording_with_every_error(tmp_path):
    runs, problems = enumerate_faults(tmp_path, recording, errors=None, most=10**6)
    assert problems == []
    assert runs > 60
