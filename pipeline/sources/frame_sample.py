"""Samples a few frames spread over a source."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator

import numpy as np

from pipeline.records import Frame, Image, SourceKind
from pipeline.settings.source_settings import SourceSettings
from pipeline.sources.factory import make_source

LIVE_INTERVAL_S = 0.5
"""Seconds between the frames sampled from a camera."""

MAX_FRAMES_READ = 3000
"""How many frames of a file are read at most."""


def sample_frames(settings: SourceSettings, count: int) -> list[Image]:
    """Returns at most `count` frames, evenly spread over the first `MAX_FRAMES_READ` frames of a file, or taken from a
    camera every `LIVE_INTERVAL_S`.

    Args:
        settings: the source.
        count: frames, 1 or more.

    Returns:
        uint8 (H, W, 3) BGR each; fewer than `count` if the source has fewer.

    Raises:
        InputError: the source cannot be opened.
        RunError: the source fails while it is read.
    """
    with contextlib.closing(make_source(settings)) as source:
        info = source.open()
        frames = iter(source.read, None)
        return _sample_live(frames, count) if info.kind is SourceKind.LIVE else _sample_evenly(frames, count)


def _sample_live(frames: Iterator[Frame], count: int) -> list[Image]:
    taken: list[Image] = []
    due_s = -np.inf
    for frame in frames:
        if frame.captured_at_s >= due_s:
            taken.append(frame.image_bgr)
            due_s = frame.captured_at_s + LIVE_INTERVAL_S
        if len(taken) == count:
            break
    return taken


def _sample_evenly(frames: Iterator[Frame], count: int) -> list[Image]:
    """Keeps every nth frame; n doubles whenever twice as many frames as requested are held."""
    held: list[Image] = []
    step = 1
    for index, frame in enumerate(itertools.islice(frames, MAX_FRAMES_READ)):
        if index % step == 0:
            held.append(frame.image_bgr)
        if len(held) == 2 * count:
            held, step = held[::2], 2 * step
    positions = np.linspace(0, len(held) - 1, min(count, len(held))).round().astype(int)
    return [held[position] for position in positions]
