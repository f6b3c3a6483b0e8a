"""What turns a frame into instances. `MaskRCNNSegmenter` is in `pipeline/segmentation/mask_rcnn.py`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.records import Instances


class Segmenter(ABC):
    """Finds the instances in single frames.

    Life: the constructor checks what can be checked cheaply (paths, labels) and raises InputError; `open`, `segment`,
    `segment_batch` and `close` are called in the inference thread; `segment` and `segment_batch` in others as well if
    there are several `workers`. `labels` and `description` are valid from construction on.
    """

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
        """How many threads may call `segment` and `segment_batch` at the same time, once it is open: one, unless it is
        faster with more."""
        return 1

    @abstractmethod
    def open(self) -> None:
        """Load the network. Raises InputError when the weights cannot be used."""

    @abstractmethod
    def segment(self, image_bgr: NDArray[np.uint8]) -> Instances:
        """The instances of one frame, uint8 (H, W, 3); boxes in its pixels, best score first."""

    def segment_batch(self, images_bgr: Sequence[NDArray[np.uint8]]) -> list[Instances]:
        """The instances of several frames, in their order; the frames may differ in size.

        A segmenter that is faster with several at once overrides this; see `pipeline/segmentation/batching.py`.

        Args:
            images_bgr: uint8 (H, W, 3) each, at most as many as one batch holds.
        """
        return [self.segment(image_bgr) for image_bgr in images_bgr]

    def chosen(self, instances: Instances) -> Instances:
        """Those of the instances from `segment` that the user asked to see: all, unless it was asked to find more."""
        return instances

    @property
    def sure_score(self) -> float:
        """Instances below it were not asked for; they may only continue what is tracked. 0: all were asked for."""
        return 0.0

    def candidates(self, instances: Instances, least_score: float) -> Instances:
        """What a tracker is given of the instances from `segment`: `chosen`, and others of at least `least_score`."""
        return self.chosen(instances)

    @abstractmethod
    def close(self) -> None:
        """Release the network. May be called twice, and without `open`."""
