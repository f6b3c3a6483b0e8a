"""Runs canvases through a network that takes a fixed number of them at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Found = TypeVar("Found")
Window = tuple[int, int, int, int]
"""(y1, x1, y2, x2), pixels: the part of a canvas that holds the frame."""
RunBatch = Callable[[NDArray[np.uint8], NDArray[np.int32]], Sequence[Found]]
"""Takes canvases uint8 (B, H, W, 3) and windows int32 (B, 4); returns one result for each."""


def run_in_batches(
    canvases: Sequence[NDArray[np.uint8]], windows: Sequence[Window], size: int, run: RunBatch[Found]
) -> list[Found]:
    """The results of `run` for each canvas, in order.

    A compiled network needs the same shape every time: neighbors of one shape form a batch, and one that is not full is
    padded with its last canvas. The results of the padding are dropped.

    Args:
        canvases: uint8 (H, W, 3) each; they may differ in size.
        windows: one for each.
        size: canvases in a batch, 1 or more.
        run: the network.
    """
    if len(canvases) != len(windows):
        raise ValueError(f"each canvas needs its window, got {len(canvases)} and {len(windows)}")
    found: list[Found] = []
    pairs = zip(canvases, windows, strict=True)
    for _, group in groupby(pairs, key=lambda pair: pair[0].shape):
        neighbors = list(group)
        for start in range(0, len(neighbors), size):
            batch = neighbors[start : start + size]
            padded = batch + [batch[-1]] * (size - len(batch))
            images = np.stack([canvas for canvas, _ in padded]) if size > 1 else batch[0][0][None]
            answers = run(images, np.array([window for _, window in padded], np.int32))
            if len(answers) != size:
                raise ValueError(f"the network answered {len(answers)} times for a batch of {size}")
            found.extend(answers[: len(batch)])
    return found
