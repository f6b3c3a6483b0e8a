"""What every sink offers. A sink takes presented frames; it never asks another stage for anything."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from pipeline.controls import ControlState
from pipeline.records import SegmentedFrame, SourceInfo


class Delivery(Enum):
    """How frames reach a sink."""

    MAIN_THREAD = "main_thread"
    """`write` and `idle` are called in the thread that runs the stream (window toolkits demand it). Must be quick."""
    EVERY_FRAME = "every_frame"
    """`write` is called in a thread of the sink's own for every frame, in order. A recorded source waits for it; for a
    live one a frame that finds the sink's buffer full is lost, counted and reported, never silently."""
    NEWEST = "newest"
    """`write` is called in a thread of the sink's own; when it is slow, only the newest frame is kept (viewers)."""


@dataclass(frozen=True, slots=True, eq=False)
class Presentation:
    """One presented frame as a sink gets it.

    Attributes:
        segmented: the frame and its instances.
        annotated_bgr: uint8 (H, W, 3), read-only: the frame with the overlay drawn. The bare frame if no open sink has
            `wants_overlay`.
        controls: how the run's controls stood when the frame was drawn; None in a presentation of your own.
    """

    segmented: SegmentedFrame
    annotated_bgr: NDArray[np.uint8]
    controls: ControlState | None = None

    @property
    def drawn(self) -> bool:
        """Whether the overlay was drawn."""
        return self.annotated_bgr is not self.segmented.frame.image_bgr


@dataclass(frozen=True, slots=True)
class RunContext:
    """What a sink is told when it is opened.

    Attributes:
        source: the open source.
        labels: class names by class id; labels[0] is "BG".
    """

    source: SourceInfo
    labels: Sequence[str]


class Sink(ABC):
    """Takes presented frames: a window, a recorder, a detections file, or one of the user's own.

    Life: `open(context)` once (raises InputError when it cannot work), `write(presentation)` for each frame, `close()`.
    `close()` makes what was written so far valid and playable, also after an error elsewhere; it may be called twice.
    """

    name: str = "sink"
    delivery: Delivery = Delivery.EVERY_FRAME
    wants_overlay: bool = True

    @abstractmethod
    def open(self, context: RunContext) -> None:
        """Acquire the file or screen. Writes nothing that has to be cleaned up if a later sink fails to open."""

    @abstractmethod
    def write(self, presentation: Presentation) -> None:
        """Take one frame. Raises RunError when it cannot be written (disk full …)."""

    def idle(self, message: str) -> None:  # noqa: B027 - most sinks have nothing to do while no frame comes
        """Called while no frame comes: poll keys, show `message`, see to what cannot wait for a frame.

        MAIN_THREAD sinks are called about 30 times a second, the others twice a second in the thread of `write`, with
        an empty message.
        """

    @abstractmethod
    def close(self) -> None:
        """Finish and release. May be called twice, and without `open`."""

    @property
    def stop_requested(self) -> bool:
        """True once the user asked, through this sink, for the run to end (window closed, q pressed)."""
        return False

    @property
    def paused(self) -> bool:
        """True while the user, through this sink, holds the picture: a recorded source waits, a live one goes on."""
        return False

    @property
    def outputs(self) -> Sequence[str]:
        """Paths of the files written, for the summary."""
        return ()
