"""The interface of what turns frames into instances. `MaskRCNNSegmenter` in `mask_rcnn_segmenter.py` implements it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pipeline.records import Frame, Instances
from pipeline.segmentation.detection_filter import DetectionFilter


class Segmenter(ABC):
    """Finds the instances in frames.

    Life: the constructor checks what can be checked cheaply (paths, labels) and raises InputError; `open`,
    `segment_batch` and `close` are called in the inference thread, `segment_batch` in others as well if there are
    several `workers`. `labels` and `description` are valid from construction on.

    Attributes:
        detections: which of the reported detections count.
        restarts: how often the network was restarted after it had failed or hung.
        restarting: whether it has not answered since it was lost.
        preparing: whether one of its workers computes its first frame of a size, which takes longer.
    """

    detections: DetectionFilter = DetectionFilter()
    restarts: int = 0
    restarting: bool = False
    preparing: bool = False

    @property
    @abstractmethod
    def labels(self) -> Sequence[str]:
        """Class names by class id; labels[0] is "BG"."""

    @property
    @abstractmethod
    def description(self) -> str:
        """One line for the user: which network, weights, backend and device."""

    @property
    def workers(self) -> int:
        """How many threads may call `segment_batch` at the same time, once it is open: one, unless more are faster."""
        return 1

    @abstractmethod
    def open(self) -> None:
        """Load the network. Raises InputError when the weights cannot be used."""

    @abstractmethod
    def segment_batch(self, images_bgr: Sequence[NDArray[np.uint8]]) -> list[Instances]:
        """The instances of one frame or more, in their order.

        Args:
            images_bgr: uint8 (H, W, 3) each; they may differ in size. At most as many as one batch holds.

        Returns:
            For each frame its instances: boxes in its pixels, best score first.
        """

    def segment_frames(self, frames: Sequence[Frame]) -> list[Instances]:
        """The instances of each frame, in its pixels; found in its substitute if it has one."""
        reported = self.segment_batch([frame.inferred_bgr for frame in frames])
        return [_in_pixels_of(frame, found) for frame, found in zip(frames, reported, strict=True)]

    def interrupt(self) -> None:  # noqa: B027  most have nothing to cut short
        """End what `segment_batch` does beyond its result, such as measuring engines; from any thread."""

    @abstractmethod
    def close(self) -> None:
        """Release the network. May be called twice, and without `open`."""


def _in_pixels_of(frame: Frame, found: Instances) -> Instances:
    """Scales boxes from what the network got to the frame, each axis by itself: sub-streams are often anamorphic."""
    height, width = frame.inferred_bgr.shape[:2]
    if (width, height) == (frame.width, frame.height):
        return found
    # In float64, multiplied before it is divided: an edge of the one is exactly an edge of the other.
    boxes = found.boxes_xyxy.astype(np.float64) * ([frame.width, frame.height] * 2) / ([width, height] * 2)
    return replace(found, boxes_xyxy=boxes.astype(np.float32))
