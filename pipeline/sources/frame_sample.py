"""A handful of frames from all over a source."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from pipeline.records import SourceKind
from pipeline.settings.source_settings import SourceSettings
from pipeline.sources.base import Source
from pipeline.sources.factory import make_source

LIVE_INTERVAL_S = 0.5
"""Seconds between the frames that are taken of a camera."""

MOST_READ = 3000
"""Frames of a file that are read at most."""


def sample_frames(settings: SourceSettings, count: int) -> list[NDArray[np.uint8]]:
    """At most `count` frames, evenly spread over what is read: a file's first `MOST_READ` frames, or one every
    `LIVE_INTERVAL_S` of a camera.

    Args:
        settings: the source.
        count: frames, 1 or more.

    Returns:
        uint8 (H, W, 3) BGR each; fewer than `count` if the source has fewer.

    Raises:
        InputError: the source cannot be opened.
        RunError: it fails while it is read.
    """
    source = make_source(settings)
    try:
        info = source.open()
        frames = _frames(source)
        if info.kind is SourceKind.LIVE:
            return _first(frames, count)
        return _spread(frames, count)
    finally:
        source.close()


def _frames(source: Source) -> Iterator[tuple[float, NDArray[np.uint8]]]:
    """(capture time, picture) of every frame."""
    while (frame := source.read()) is not None:
        yield frame.captured_at_s, frame.image_bgr


def _first(frames: Iterator[tuple[float, NDArray[np.uint8]]], count: int) -> list[NDArray[np.uint8]]:
    taken: list[NDArray[np.uint8]] = []
    due_s = -np.inf
    for captured_at_s, image in frames:
        if captured_at_s >= due_s:
            taken.append(image)
            due_s = captured_at_s + LIVE_INTERVAL_S
        if len(taken) == count:
            break
    return taken


def _spread(frames: Iterator[tuple[float, NDArray[np.uint8]]], count: int) -> list[NDArray[np.uint8]]:
    """Every so manieth frame; the distance doubles whenever twice as many as asked for are held."""
    held: list[NDArray[np.uint8]] = []
    distance = 1
    for index, (_, image) in enumerate(frames):
        if index >= MOST_READ:
            break
        if index % distance == 0:
            held.append(image)
        if len(held) == 2 * count:
            held, distance = held[::2], 2 * distance
    places = np.linspace(0, len(held) - 1, min(count, len(held))).round().astype(int)
    return [held[place] for place in places]
