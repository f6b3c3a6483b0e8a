"""Keeps the images of a run that were shown, so that a viewer can step back through them."""

from __future__ import annotations

from pipeline.sinks.base import Presentation

MAX_BYTES = 1 << 30


class Album:
    """The images shown so far, up to a number of bytes; the oldest are dropped.

    Args:
        max_bytes: of their pixels.
    """

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._shown: list[Presentation] = []
        self._place = -1

    def add(self, presentation: Presentation) -> None:
        """The next image, which is the current one then."""
        self._shown.append(presentation)
        while len(self._shown) > 1 and sum(map(_bytes, self._shown)) > self._max_bytes:
            del self._shown[0]
        self._place = len(self._shown) - 1

    def step(self, by: int) -> Presentation | None:
        """The image `by` places further, which is the current one then; None where none is kept."""
        place = self._place + by
        if not 0 <= place < len(self._shown):
            return None
        self._place = place
        return self._shown[place]


def _bytes(presentation: Presentation) -> int:
    drawn = presentation.annotated_bgr.nbytes if presentation.drawn else 0
    return presentation.segmented.frame.image_bgr.nbytes + drawn
