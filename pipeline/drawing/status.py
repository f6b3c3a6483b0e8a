"""The status line: rates and counts in a corner of a window, or of everything where that is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.drawing.chips import chip_size, draw_chip_inside, text_size
from pipeline.drawing.palette import TEXT_BACKGROUND
from pipeline.labels import plural

_SEPARATOR = " · "


@dataclass(frozen=True, slots=True)
class StatusLine:
    """Entries of the status line; those that are None are left out.

    Attributes:
        capture_fps, inference_fps, display_fps: frames a second.
        dropped: frames dropped so far.
        latency_ms: from capture to presentation, milliseconds.
        mask_age_ms: from the capture of the frame that the masks were computed on to presentation, milliseconds; None
            where they are the frame's own.
        counts: objects by class, present and seen so far: ("person", 2, 5).
        notice: why there are no masks, such as "loading the model"; "" if there are.
    """

    capture_fps: float | None = None
    inference_fps: float | None = None
    display_fps: float | None = None
    dropped: int | None = None
    latency_ms: float | None = None
    mask_age_ms: float | None = None
    counts: Sequence[tuple[str, int, int]] = ()
    notice: str = ""

    def short(self) -> list[str]:
        """The notice, the rate and the objects, such as "25 fps" and "3 people"."""
        return self._notice() + self._rate() + self._objects()

    def for_tile(self) -> list[str]:
        """The rate, the age of the masks and the objects, such as "25 fps", "masks 120 ms old" and "3 people"."""
        return self._rate() + self._mask_age() + self._objects()

    def details(self) -> list[str]:
        """All entries, in the order in which they are drawn."""
        rates = (("capture", self.capture_fps), ("inference", self.inference_fps), ("display", self.display_fps))
        texts = [f"{name} {_rate(rate)} fps" for name, rate in rates if rate is not None]
        if self.dropped is not None:
            texts.append(f"{plural(self.dropped, 'frame')} dropped")
        if self.latency_ms is not None:
            texts.append(f"{self.latency_ms:.0f} ms from capture to display")
        return [
            *self._notice(),
            *texts,
            *self._mask_age(),
            *(f"{plural(now, name)} ({total} so far)" for name, now, total in self.counts),
        ]

    def _notice(self) -> list[str]:
        return [self.notice] if self.notice else []

    def _rate(self) -> list[str]:
        return [] if self.display_fps is None else [f"{_rate(self.display_fps)} fps"]

    def _mask_age(self) -> list[str]:
        return [] if self.mask_age_ms is None else [f"masks {self.mask_age_ms:.0f} ms old"]

    def _objects(self) -> list[str]:
        return [plural(now, name) for name, now, _ in self.counts if now > 0]


def draw_status(canvas: NDArray[np.uint8], status: StatusLine, with_details: bool = False) -> None:
    """Draws the status at the bottom left, in place: in one line, or in several with details.

    Args:
        canvas: uint8 (H, W, 3).
        status: what it says.
        with_details: everything rather than rate and counts.
    """
    height, width = canvas.shape[:2]
    size = text_size(height, width)
    margin = round(0.4 * size)
    lines = status.details() if with_details else [_SEPARATOR.join(status.short())]
    y = height - margin
    for line in reversed([line for line in lines if line]):
        y -= chip_size(line, size)[1]
        draw_chip_inside(canvas, line, (margin, y), size, TEXT_BACKGROUND)
        y -= 1


def _rate(fps: float) -> str:
    return f"{fps:.0f}" if round(fps, 1) >= 10 else f"{fps:.1f}"
