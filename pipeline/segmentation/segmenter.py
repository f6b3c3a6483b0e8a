"""The interface of what turns frames into instances. `MaskRCNNSegmenter` in `mask_rcnn_segmenter.py` implements it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.records import Instances
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
    """

    detections: DetectionFilter = DetectionFilter()
    restarts: int = 0
    restarting: bool = False

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

    def interrupt(self) -> None:  # noqa: B027  most have nothing to cut short
        """End what `segment_batch` does beyond its result, such as measuring engines; from any thread."""

    @abstractmethod
    def close(self) -> None:
        """Release the network. May be called twice, and without `open`."""
