"""A recording, its detections, its segments and its images, each of whose system calls fails once."""

from __future__ import annotations

from functools import partial

import av
import cv2
import numpy as np
import pytest

from pipeline.records import SourceKind
from pipeline.sinks.paths import FOLDER_MARK
from pipeline.sources.images import ImagesSource
from tests.faults.file_system import enumerate_faults
from tests.faults.outcomes import frames_in, lines_in, one_line
from tests.pipeline.fakes import FakeSource
from tests.pipeline.runs import stream_of

FRAMES = 12
THEIRS = b"somebody's own file"


def recorded(folder, values, frames=FRAMES):
    """A run that records, and its stream."""
    stream = stream_of(FakeSource(frames, SourceKind.RECORDED), values=values)

    def run():
        with stream:
            for _ in stream:
                pass

    return run


def recording(folder, suffix=".mkv"):
    """A video and detections, beside files of the user's of the same names."""
    video, own = f"out{suffix}", f"out-2{suffix}"
    in_video = FRAMES // 2 if suffix == ".gif" else FRAMES  # a GIF has 12.5 frames a second
    for name in (video, "out.jsonl"):
        (folder / name).write_bytes(THEIRS)
    values = {
        "output": {"path": str(folder / video), "fragment_s": 0.1, "preset": "ultrafast", "min_free_bytes": 0},
        "detections": {"path": str(folder / "out.jsonl")},
    }

    def check(error):
        problems = one_line(error)
        problems += [name for name in (video, "out.jsonl") if (folder / name).read_bytes() != THEIRS]
        names = sorted(path.name for path in folder.iterdir() if path.read_bytes() != THEIRS)
        problems += [f"{name} is left" for name in names if name not in (own, "out-2.jsonl")]
        try:
            frames = frames_in(folder / own) if own in names else 0
            lines = lines_in(folder / "out-2.jsonl") if "out-2.jsonl" in names else []
        except (av.FFmpegError, ValueError) as damage:
            return [*problems, f"half a file: {damage!r}"]
        if lines != list(range(len(lines))) or (error is None and (frames, len(lines)) != (in_video, FRAMES)):
            problems.append(f"{frames} frames and the lines {lines} without an error")
        return problems

    return recorded(folder, values), check


FORMATS = pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".gif"])


@FORMATS
def test_recording(tmp_path, suffix):
    runs, problems = enumerate_faults(tmp_path, partial(recording, suffix=suffix), most=2)
    assert problems == []
    assert runs > 10


@pytest.mark.slow
@FORMATS
def test_recording_with_every_error(tmp_path, suffix):
    runs, problems = enumerate_faults(tmp_path, partial(recording, suffix=suffix), errors=None, most=10**6)
    assert problems == []
    assert runs > 40


def photographs(folder):
    """Images in a new folder."""
    pictures = [folder.parent / "in" / f"{number}.png" for number in range(3)]
    pictures[0].parent.mkdir(exist_ok=True)
    for number, picture in enumerate(pictures):
        cv2.imwrite(str(picture), np.full((48, 80, 3), number, np.uint8))
    stream = stream_of(ImagesSource(pictures, "in"), values={"output": {"path": f"{folder}/out/"}})

    def run():
        with stream:
            for _ in stream:
                pass

    def check(error):
        problems = one_line(error)
        entries = sorted((folder / "out").iterdir()) if (folder / "out").exists() else []
        written = [path for path in entries if path.name != FOLDER_MARK]
        whole = [path.name for path in written if cv2.imread(str(path)) is not None]
        if whole != [path.name for path in written]:
            problems.append(f"not all are whole: {written}")
        if error is None and len(whole) != len(pictures):
            problems.append(f"only {whole} without an error")
        if error is not None and (folder / "out").exists() and not entries:
            problems.append("an empty folder is left")
        return problems

    return run, check


def test_photographs(tmp_path):
    runs, problems = enumerate_faults(tmp_path, photographs, errors=None)
    assert problems == []
    assert runs > 15
