"""What a user finds after something failed."""

from __future__ import annotations

import json
from pathlib import Path

import av

from pipeline.errors import StreamSegmentError


def one_line(error: Exception | None) -> list[str]:
    """What is wrong with an error that a user gets; none may come too."""
    if error is None or (isinstance(error, StreamSegmentError) and len(str(error).splitlines()) == 1):
        return []
    return [f"{error!r} is no error of the program"]


def frames_in(path: Path) -> int:
    """How many frames of a video play, up to where it is torn; raises av.FFmpegError if none does."""
    frames = 0
    with av.open(str(path)) as container:
        try:
            for _ in container.decode(video=0):
                frames += 1
        except av.FFmpegError:
            if not frames:
                raise
    return frames


def lines_in(path: Path) -> list[int]:
    """The frame numbers of a detections file; raises ValueError if a line is not whole."""
    text = path.read_bytes()
    if not text.endswith(b"\n"):
        raise ValueError(f"its last line is {text[-40:]!r}")
    return [json.loads(line)["frame"] for line in text.splitlines()]


def halves(folder: Path) -> list[str]:
    """The videos and detections in a folder that are no whole files, and the temporary files that are left."""
    found = []
    for path in sorted(folder.rglob("*")):
        try:
            if path.suffix in (".mp4", ".mkv"):
                frames_in(path)
            elif path.suffix == ".jsonl":
                lines_in(path)
        except (av.FFmpegError, ValueError) as damage:
            found.append(f"{path.name} is half a file: {damage!r}")
        if path.suffix in (".part", ".old"):
            found.append(f"{path.name} is left")
    return found
