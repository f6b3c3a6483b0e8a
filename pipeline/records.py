"""Records that travel between the stages: frozen, checked when made, arrays read-only.

Shape letters: H, W frame height and width in pixels; N instances in a frame; M side of a box-local mask (28 in
Mask R-CNN).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import Enum
from fractions import Fraction
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from pipeline.scene import Scene

Clock = Callable[[], float]
"""Seconds on a monotonic clock."""

Image = NDArray[np.uint8]
"""uint8 (H, W, 3), BGR unless said otherwise."""


class SourceKind(Enum):
    """What kind of source a frame comes from; the default policy follows from it."""

    LIVE = "live"
    """A camera, a network stream, a file played with --realtime: the newest frame wins."""
    RECORDED = "recorded"
    """A video file: every frame, in order, and the reader waits."""
    STILLS = "stills"
    """Single images: every one, in order; outputs are images, and there is no time."""


@dataclass(frozen=True, slots=True)
class AudioTrack:
    """Where the sound that belongs to a source lies.

    Attributes:
        path: the media file that holds it.
        start_s: file time, in seconds on the frames' pts clock, at which the recording begins (`--start`).
        origin_s: what was subtracted from the file's own time stamps to give the frames' pts clock, in seconds.
    """

    path: Path
    start_s: float = 0.0
    origin_s: float = 0.0


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """What a source says of itself once it is open.

    Attributes:
        source_id: name for people and for the detections file ("clip.mp4", "camera 0").
        kind: live, recorded or stills.
        width, height: size of the frames that will come, in pixels, upright (after rotation). A live source may change
            it.
        fps: nominal or average frame rate, frames a second; None if unknown. Never used to compute time stamps.
        frame_count: how many frames will come, as well as the source can tell; None if unknown or endless.
        duration_s: how long the source is, in seconds; None if unknown or endless.
        time_base: seconds per tick of `Frame.pts`.
        sample_aspect_ratio: width / height of one pixel.
        audio: where the source's sound lies; None if it has none or cannot be copied.
        description: one line for the user: what was opened and what it really gives.
        seekable_s: the first and the last position that `Source.seek` accepts, seconds; None if it accepts none.
    """

    source_id: str
    kind: SourceKind
    width: int
    height: int
    fps: float | None = None
    frame_count: int | None = None
    duration_s: float | None = None
    time_base: Fraction = Fraction(1, 1_000_000)
    sample_aspect_ratio: Fraction = Fraction(1, 1)
    audio: AudioTrack | None = None
    description: str = ""
    seekable_s: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise ValueError(f"SourceInfo needs a size of at least 1x1, got {self.width}x{self.height}")
        if self.time_base <= 0 or self.sample_aspect_ratio <= 0:
            raise ValueError(
                f"time_base and sample_aspect_ratio must be positive, got {self.time_base}, {self.sample_aspect_ratio}"
            )


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One captured frame.

    Attributes:
        source_id: name of the source (for stills: the file name of this image).
        index: 0, 1, 2 … in the order of capture, without gaps: frames captured before this one.
        pts: presentation time in ticks of `time_base`, on the source's own clock. Strictly increasing within a video.
        time_base: seconds per tick.
        captured_at_s: when the frame was handed over by the source, seconds on the run's monotonic clock.
        image_bgr: uint8 (H, W, 3), upright, read-only.
        duration: how long the frame is shown, in ticks; None if unknown (only the last frame of a recording needs it).
        shift: ticks by which `pts` is later than in the file, because that was repeated or continued elsewhere.
        camera: the name of the camera in a run with several; None in a run with one source.
        sample_aspect_ratio: width / height of one pixel; that of the source as it was open when it gave the frame.
        substitute: what the network gets in place of this frame: that of a sub-stream, which shows the same scene at
            nearly the same time, in another size. Only frames on their way through inference have one.
    """

    source_id: str
    index: int
    pts: int
    time_base: Fraction
    captured_at_s: float
    image_bgr: NDArray[np.uint8] = field(repr=False)
    duration: int | None = None
    shift: int = 0
    camera: str | None = None
    sample_aspect_ratio: Fraction = Fraction(1, 1)
    substitute: Frame | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        image = self.image_bgr
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
            raise ValueError(f"Frame.image_bgr must be uint8 (H, W, 3), got {image.dtype} {image.shape}")
        if self.index < 0:
            raise ValueError(f"Frame.index must be 0 or more, got {self.index}")
        object.__setattr__(self, "image_bgr", read_only(image))

    @property
    def pts_s(self) -> float:
        """Presentation time in seconds."""
        # As float(pts * time_base), without making a fraction.
        return self.pts * self.time_base.numerator / self.time_base.denominator

    @property
    def position_s(self) -> float:
        """Where the frame lies in its file, seconds; `pts_s` unless that was repeated or continued elsewhere."""
        return (self.pts - self.shift) * self.time_base.numerator / self.time_base.denominator

    @property
    def inferred_bgr(self) -> NDArray[np.uint8]:
        """What the network gets: uint8 (h, w, 3), in a size of its own if it is a substitute."""
        return self.image_bgr if self.substitute is None else self.substitute.image_bgr

    @property
    def skew_s(self) -> float:
        """Seconds between this frame and what the network gets in its place; 0 without a substitute."""
        return 0.0 if self.substitute is None else abs(self.captured_at_s - self.substitute.captured_at_s)

    @property
    def height(self) -> int:
        """Height in pixels."""
        return int(self.image_bgr.shape[0])

    @property
    def width(self) -> int:
        """Width in pixels."""
        return int(self.image_bgr.shape[1])


@dataclass(frozen=True, slots=True, eq=False)
class Instances:
    """The objects found in one frame, best score first.

    Attributes:
        boxes_xyxy: float32 (N, 4), absolute pixels of the frame, x1 <= x2, y1 <= y2, edges (one pixel is 1 wide).
        class_ids: int32 (N,), 1 … NUM_CLASSES - 1 (0 is the background and never appears).
        scores: float32 (N,), 0 … 1.
        mask_probs: float32 (N, M, M), 0 … 1: the mask's probability on an M x M grid stretched over the box.
        track_ids: int32 (N,), the same number for the same object in every frame of a run, from 1 on; 0 for an object
            that has none yet. None where nothing is tracked.
        opacity: float32 (N,), 0 … 1: how strongly each is drawn, less than 1 while it fades in or out. None: all of
            them fully.
    """

    boxes_xyxy: NDArray[np.float32]
    class_ids: NDArray[np.int32]
    scores: NDArray[np.float32]
    mask_probs: NDArray[np.float32]
    track_ids: NDArray[np.int32] | None = None
    opacity: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        count = len(self.boxes_xyxy)
        expected: dict[str, tuple[type[np.generic], tuple[int, ...]]] = {
            "boxes_xyxy": (np.float32, (count, 4)),
            "class_ids": (np.int32, (count,)),
            "scores": (np.float32, (count,)),
            "mask_probs": (np.float32, (count, *self.mask_probs.shape[1:])),
            "track_ids": (np.int32, (count,)),
            "opacity": (np.float32, (count,)),
        }
        for name, (dtype, shape) in expected.items():
            array = getattr(self, name)
            if array is None and name in ("track_ids", "opacity"):
                continue
            if array.dtype != dtype or array.shape != shape:
                raise ValueError(f"Instances.{name} must be {np.dtype(dtype)} {shape}, got {array.dtype} {array.shape}")
            object.__setattr__(self, name, read_only(array))
        if self.mask_probs.ndim != 3 or self.mask_probs.shape[1] != self.mask_probs.shape[2]:
            raise ValueError(f"Instances.mask_probs must be (N, M, M), got {self.mask_probs.shape}")

    def __len__(self) -> int:
        return len(self.boxes_xyxy)

    @classmethod
    def empty(cls, mask_size: int = 28) -> Instances:
        """No objects at all."""
        return cls(
            boxes_xyxy=np.zeros((0, 4), np.float32),
            class_ids=np.zeros((0,), np.int32),
            scores=np.zeros((0,), np.float32),
            mask_probs=np.zeros((0, mask_size, mask_size), np.float32),
        )

    def select(self, keep: NDArray[np.bool_] | NDArray[np.intp]) -> Self:
        """The instances that a boolean mask (N,) or an index array names, in that order."""
        return replace(
            self,
            boxes_xyxy=self.boxes_xyxy[keep],
            class_ids=self.class_ids[keep],
            scores=self.scores[keep],
            mask_probs=self.mask_probs[keep],
            track_ids=None if self.track_ids is None else self.track_ids[keep],
            opacity=None if self.opacity is None else self.opacity[keep],
        )


@dataclass(frozen=True, slots=True)
class StageTimes:
    """When a frame passed each stage, seconds on the run's monotonic clock; None where it did not pass.

    In smooth presentation, inference is that of the frame that the instances were computed on, which was captured at
    `inferred_from_s`.
    """

    captured_at_s: float
    inference_started_at_s: float | None = None
    inference_ended_at_s: float | None = None
    presented_at_s: float | None = None
    inferred_from_s: float | None = None

    @property
    def latency_s(self) -> float | None:
        """From capture to presentation, seconds."""
        return None if self.presented_at_s is None else self.presented_at_s - self.captured_at_s


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """A frame that was inferred and everything that the network reported on it, before any filter.

    Attributes:
        frame: the inferred frame.
        instances: in its pixels, also those that the user does not want to see.
        truncated: whether the network reported so many that there can be more.
    """

    frame: Frame
    instances: Instances
    truncated: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class _FrameWithInstances:
    """A frame before or after redaction, and what to show on it; see `SegmentedFrame`."""

    frame: Frame
    instances: Instances
    instances_index: int | None
    times: StageTimes


@dataclass(frozen=True, slots=True, eq=False)
class UnredactedFrame(_FrameWithInstances):
    """A captured frame with its results, before redaction. Only `Redactor.apply` turns it into a `SegmentedFrame`.

    No sink, page or script gets one: what privacy settings cover is still visible in it.

    Attributes:
        frame: the frame as it was captured.
        instances, instances_index, times: see `SegmentedFrame`.
        detections: what the instances come from; None before the first result, and for a frame that the network lost.

    Raises:
        ValueError: the detections are of another camera's frame.
    """

    detections: Detections | None = None

    def __post_init__(self) -> None:
        if self.detections is not None and self.detections.frame.camera != self.frame.camera:
            raise ValueError(
                f"a frame of camera {self.frame.camera} came with detections of camera {self.detections.frame.camera}"
            )


@dataclass(frozen=True, slots=True, eq=False)
class SegmentedFrame(_FrameWithInstances):
    """A frame as it may be shown, with its instances.

    Attributes:
        frame: the frame on screen, redacted as the privacy settings say.
        instances: what to show on it.
        instances_index: index of the frame that the instances were computed on: `frame.index` in exact presentation, an
            earlier one in smooth; None before the first result, and where the network lost the frame.
        times: when the frame passed each stage.
        scene: counts, lines, zones and events at this frame; None where nothing is tracked.
    """

    scene: Scene | None = None


def read_only(array: NDArray[np.generic]) -> NDArray[np.generic]:
    """A view of the array that cannot be written through (the array itself if it already is read-only)."""
    if not array.flags.writeable:
        return array
    view = array.view()
    view.flags.writeable = False
    return view
