"""Segmenters around the network of a worker, which stays loaded from one run to the next."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.batch.stored_answers import Answer, checksum_of
from pipeline.batch.stretches import SeamError
from pipeline.records import Instances
from pipeline.segmentation.detection_filter import DetectionFilter
from pipeline.segmentation.segmenter import Segmenter


class KeptSegmenter(Segmenter):
    """A segmenter that stays open from one run to the next.

    Args:
        inner: opened with the first run, closed by `end`.
    """

    def __init__(self, inner: Segmenter) -> None:
        self._inner = inner
        self.detections = inner.detections
        self._is_open = False

    @property
    def labels(self) -> Sequence[str]:
        """See `Segmenter.labels`."""
        return self._inner.labels

    @property
    def description(self) -> str:
        """See `Segmenter.description`."""
        return self._inner.description

    @property
    def workers(self) -> int:
        """See `Segmenter.workers`."""
        return self._inner.workers

    def open(self) -> None:
        """Open it, once."""
        if not self._is_open:
            self._inner.open()
            self._is_open = True

    def segment_batch(self, images_bgr: Sequence[NDArray[np.uint8]]) -> list[Instances]:
        """See `Segmenter.segment_batch`."""
        return self._inner.segment_batch(images_bgr)

    def close(self) -> None:
        """Leave it open: the next run uses it."""

    def end(self) -> None:
        """Close it."""
        self._inner.close()


class Unfiltered(KeptSegmenter):
    """A segmenter for a run that presents everything that the network reports."""

    def __init__(self, kept: KeptSegmenter) -> None:
        super().__init__(kept)
        self.detections = DetectionFilter()


class Replayed(KeptSegmenter):
    """Answers with what stretches have stored, and computes nothing.

    Every frame is checked to be the one that its answer belongs to: a recording whose frames depend on where decoding
    began is noticed here at the latest.

    Args:
        kept: the network that gave the answers.
        answers: for each frame of the recording, in order.
    """

    def __init__(self, kept: KeptSegmenter, answers: Iterator[Answer]) -> None:
        super().__init__(kept)
        self._answers = answers
        self._count = 0

    @property
    def workers(self) -> int:
        """See `Segmenter.workers`: one, so that frames come in order."""
        return 1

    def segment_batch(self, images_bgr: Sequence[NDArray[np.uint8]]) -> list[Instances]:
        """See `Segmenter.segment_batch`. Raises SeamError if a frame is not the one that was inferred."""
        return [self._replay(image_bgr) for image_bgr in images_bgr]

    def check_all_used(self) -> None:
        """Raises SeamError if a stretch has inferred a frame that the recording does not have."""
        if next(self._answers, None) is not None:
            raise SeamError(f"its stretches have more than its {self._count} frames")

    def _replay(self, image_bgr: NDArray[np.uint8]) -> Instances:
        answer = next(self._answers, None)
        if answer is None:
            raise SeamError(f"its stretches have only {self._count} frames")
        if answer.checksum != checksum_of(image_bgr):
            raise SeamError(f"frame {self._count} differs when decoding begins in the middle")
        self._count += 1
        return answer.instances
