"""The interface of a sink, which consumes presented frames. Sinks never call other stages."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from pipeline.controls import ControlState
from pipeline.drawing.letterbox import letterbox
from pipeline.drawing.status import StatusLine
from pipeline.records import Image, SegmentedFrame, SourceInfo
from pipeline.settings.presentation_settings import LineSettings, PrivacyMode, ZoneSettings


class Delivery(Enum):
    """How frames reach a sink."""

    MAIN_THREAD = "main_thread"
    """`write` and `idle` run in the thread that iterates the stream, as GUI toolkits require. They must be quick."""
    EVERY_FRAME = "every_frame"
    """`write` runs in a thread of its own for every frame, in order. When the buffer is full, a recorded source waits;
    a live one drops frames, which are counted and reported."""
    NEWEST = "newest"
    """`write` runs in a thread of its own; when it is slow, it gets only the newest frame (for viewers)."""


@dataclass(frozen=True, slots=True, eq=False)
class Presentation:
    """One presented frame, as passed to sinks.

    Attributes:
        segmented: the frame and its instances.
        annotated_bgr: uint8 (H, W, 3), read-only: the frame with the overlay drawn; the frame itself if no open sink
            has `wants_overlay`.
        controls: state of the run's controls when the frame was drawn; None in presentations that you create.
        status: rates and counts for viewers to show; None in presentations that you create.
    """

    segmented: SegmentedFrame
    annotated_bgr: Image
    controls: ControlState | None = None
    status: StatusLine | None = None

    @property
    def drawn(self) -> bool:
        """Whether the overlay was drawn."""
        return self.annotated_bgr is not self.segmented.frame.image_bgr

    @property
    def square_bgr(self) -> Image:
        """`annotated_bgr` in square pixels, scaled in width; the array itself where they are square."""
        aspect = float(self.segmented.frame.sample_aspect_ratio)
        height, width = self.annotated_bgr.shape[:2]
        return letterbox(self.annotated_bgr, (max(1, round(width * aspect)), height), aspect)


@dataclass(frozen=True, slots=True)
class RunContext:
    """Passed to a sink when it is opened.

    Attributes:
        source: description of the open source.
        labels: class names by class id; labels[0] is "BG".
        privacy: how the frames are redacted.
        lines, zones: the places where objects are counted.
        draw: draws the overlay on a copy of a presented frame, as the controls are now; None if you open the sink.
        on_loss: an EVERY_FRAME sink calls it for each frame that it got and could not keep; the summary counts them.
    """

    source: SourceInfo
    labels: Sequence[str]
    privacy: PrivacyMode = PrivacyMode.OFF
    lines: Sequence[LineSettings] = ()
    zones: Sequence[ZoneSettings] = ()
    draw: Callable[[SegmentedFrame], Image] | None = None
    on_loss: Callable[[], None] = lambda: None


class Sink(ABC):
    """Consumes presented frames: a window, a recorder, a detections file, or one that you write.

    Lifecycle: `open(context)` once, `write(presentation)` for each frame, `close()`.

    Attributes:
        name: for messages.
        delivery: how frames reach it.
        wants_overlay: whether it needs frames with the overlay drawn.
        wants_frames: whether `write` has anything to do now; while it has not, the thread of `write` sleeps.
        stop_requested: whether the user ended the run through this sink (closed the window, pressed q).
        paused: whether the user paused through this sink: a recorded source waits, a live one continues. After the last
            frame, the run waits as well.
        paced: whether a video file is to be played at its own speed for this sink, or slower, rather than as fast as
            possible.
    """

    name: str = "sink"
    delivery: Delivery = Delivery.EVERY_FRAME
    wants_overlay: bool = True
    wants_frames: bool = True
    stop_requested: bool = False
    paused: bool = False
    paced: bool = False

    @abstractmethod
    def open(self, context: RunContext) -> None:
        """Acquire the file or screen, writing nothing yet, as a later sink may fail to open. Raises InputError."""

    @abstractmethod
    def write(self, presentation: Presentation) -> None:
        """Consume one frame. Raises RunError if that fails (disk full …)."""

    def idle(self, message: str) -> None:  # noqa: B027 - optional
        """Called while no frames arrive, to poll keys, show `message` or do work that cannot wait for a frame.

        MAIN_THREAD sinks are called about 30 times per second; the others twice per second, in the thread of `write`
        and with an empty message.
        """

    def source_ended(self) -> None:  # noqa: B027 - optional
        """Called when every frame of a source that has ended was presented, in the thread that iterates the stream.

        The run waits while the sink is `paused` from then on.
        """

    @abstractmethod
    def close(self) -> None:
        """Make what was written valid and playable, even after an error elsewhere, and release everything.

        May be called twice, and without `open`.
        """

    @property
    def outputs(self) -> Sequence[str]:
        """Paths of the files written, for the summary."""
        return ()


class CamerasViewer(ABC):
    """Shows all cameras of a run in one place, such as a mosaic in a window. Set with `Cameras.set_viewer`.

    All methods run in the thread that iterates the `Cameras`, or is in `Cameras.run`: the main thread, as GUI toolkits
    require. They must be quick. Pictures are redacted, as for every sink.

    Attributes:
        wants_overlay: whether it needs frames with the overlay drawn.
        stop_requested: whether the user ended the run (closed the window, pressed q).
        paused, paced: as of a `Sink`, for all cameras.
    """

    wants_overlay: bool = True
    stop_requested: bool = False
    paused: bool = False
    paced: bool = False

    @abstractmethod
    def open(self, cameras: Sequence[str]) -> None:
        """Acquire the screen; before the first frame.

        Args:
            cameras: the names, in the order of the settings. Later ones come with `idle`.

        Raises:
            InputError: there is no screen.
        """

    @abstractmethod
    def write(self, camera: str, presentation: Presentation, context: RunContext) -> None:
        """Take a camera's newest frame; those between two calls are left out.

        Args:
            camera: its name.
            presentation: of this camera.
            context: of its run.
        """

    @abstractmethod
    def idle(self, states: Mapping[str, str]) -> None:
        """Poll keys and refresh the screen; about 30 times a second, and after each frame.

        Args:
            states: for each camera what keeps frames from coming, such as "offline since 14:03", "disabled" or "loading
                the model"; "" while they come. Cameras that are added or removed come and go here.
        """

    @abstractmethod
    def close(self) -> None:
        """Release the screen. May be called twice, and without `open`."""
