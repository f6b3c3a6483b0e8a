"""One camera's share of a network that several cameras use, and the inference stage that requests its turns."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.records import Frame, Instances
from pipeline.runtime.inference import Answer, Batch, InferenceStage
from pipeline.runtime.plan import Batching, Filling
from pipeline.runtime.turns import Turn
from pipeline.segmentation.detection_filter import DetectionFilter
from pipeline.segmentation.segmenter import Segmenter
from pipeline.threads.stage import Slot, SlotClosed

if TYPE_CHECKING:
    from pipeline.runtime.inference_service import InferenceService

Images = Sequence[NDArray[np.uint8]]

UNDER_WAY = 1
"""Inferences that a camera requests beyond the workers: the next frame is in the network while the results of the last
one are tracked."""


@dataclass(eq=False)
class Request:
    """One inference that a camera requests; the frames are taken when its turn comes.

    Attributes:
        share: the camera's.
        frames: those taken so far, in their order.
        answer: the result, or why there is none.
    """

    share: NetworkShare
    frames: list[Frame] = field(default_factory=list)
    answer: Future[Answer] = field(default_factory=Future)

    def end(self, outcome: Answer | BaseException) -> None:
        """Answer it. What comes after the first answer has no effect: its camera was interrupted meanwhile."""
        with suppress(InvalidStateError):
            if isinstance(outcome, BaseException):
                self.answer.set_exception(outcome)
            else:
                self.answer.set_result(outcome)


class NetworkShare(Segmenter):
    """One camera's share of a network: the camera's thresholds, and its requests.

    Made by `InferenceService.share`. Used by a `ScheduledInference`, which also says where frames come from.

    Args:
        service: owns the network.
        weight, detections: see `InferenceService.share`.

    Attributes:
        turn: its place among the shares.
        requests: those that wait for their turn, oldest first.
        interrupted: whether nothing more is begun for it.
    """

    def __init__(self, service: InferenceService, weight: float, detections: DetectionFilter) -> None:
        self.detections = detections
        self.turn = Turn(weight)
        self._service = service
        self.requests: deque[Request] = deque()
        self._frames: Slot[Frame] | None = None
        self._batching = Batching()
        self._on_take: Callable[[Frame], None] = lambda _: None
        self._frame_hw: tuple[int, int] | None = None
        self.interrupted = False

    @property
    def labels(self) -> Sequence[str]:
        """See `Segmenter.labels`."""
        return self._service.segmenter.labels

    @property
    def description(self) -> str:
        """See `Segmenter.description`."""
        return self._service.segmenter.description

    @property
    def workers(self) -> int:
        """See `Segmenter.workers`."""
        return self._service.segmenter.workers

    @property
    def restarting(self) -> bool:  # type: ignore[override]
        """See `Segmenter.restarting`."""
        return self._service.segmenter.restarting

    def open(self) -> None:
        """Wait until the service has loaded the network. Raises its error, or SlotClosed at the end."""
        self._service.wait_until_open(lambda: self.interrupted)

    def segment_batch(self, images_bgr: Images) -> list[Instances]:
        """See `Segmenter.segment_batch`: out of turn, for a caller without a stage."""
        return [self.detections.reported(found) for found in self._service.segmenter.segment_batch(images_bgr)]

    def interrupt(self) -> None:
        """End this camera's requests, also those that the network computes; from any thread."""
        self.interrupted = True
        self._service.leave(self)
        self._service.wake()

    def close(self) -> None:
        """Compete no more. May be called twice."""
        self._service.leave(self)

    # -- for the stage ------------------------------------------------------------------------------------------------

    def feed(self, frames: Slot[Frame], batching: Batching, on_take: Callable[[Frame], None]) -> None:
        """Say where frames come from; before the first request.

        Args:
            frames: the slot.
            batching: how many to take at a time.
            on_take: called with each frame that is taken, in their order.
        """
        self._frames, self._batching, self._on_take = frames, batching, on_take
        frames.on_change = self._service.wake
        self._service.join(self)

    def request(self) -> Request:
        """Request an inference of the frames that there are when its turn comes."""
        request = Request(self)
        self._service.submit(self, request)
        return request

    # -- for the service, under its lock ------------------------------------------------------------------------------

    def is_ready(self) -> bool:
        """Whether an inference is requested and its frames are there."""
        if self._frames is None or not self.requests:
            return False
        fill = self._batching.size if self._batching.filling is Filling.FULL else 1
        return len(self._frames) >= (1 if self._frames.closed else fill)

    def fits_beside(self, other: NetworkShare, room: int) -> bool:
        """Whether its frames and those of another share go into one batch, if their shapes have not changed.

        Args:
            other: a share whose frames were taken before.
            room: how many frames there is room for.
        """
        if self._frame_hw is None or other._frame_hw is None or self._batching.size > room:
            return False
        (height, width), (other_height, other_width) = self._frame_hw, other._frame_hw
        return height * other_width == other_height * width  # the same canvas

    def is_finished(self) -> bool:
        """Whether no more frames come."""
        return self._frames is not None and self._frames.closed and not len(self._frames)

    def take(self) -> Request | None:
        """The oldest request, with its frames; None if they are gone."""
        assert self._frames is not None
        request = self.requests[0]
        with suppress(TimeoutError, SlotClosed):
            while len(request.frames) < self._batching.size:
                frame = self._frames.get(0.0)
                self._on_take(frame)
                height, width = frame.inferred_bgr.shape[:2]
                self._frame_hw = (height, width)
                request.frames.append(frame)
        return self.requests.popleft() if request.frames else None

    def drop_requests(self) -> list[Request]:
        """Forget the requests that have not begun, and return them."""
        dropped = list(self.requests)
        self.requests.clear()
        return dropped


class ScheduledInference(InferenceStage):
    """The inference stage of one of several cameras: its turns come from the service."""

    def _next_batch(self, pool: object, depth: int) -> Batch:
        share = self._segmenter
        assert isinstance(share, NetworkShare)
        while len(self._batches) < share.workers + UNDER_WAY:
            request = share.request()
            self._batches.append(Batch(request.frames, request.answer.result, request.answer.done))
        return self._batches.popleft()

    def _start_workers(self, threads: object) -> tuple[None, int]:
        share = self._segmenter
        assert isinstance(share, NetworkShare)
        share.feed(self._wiring.to_inference, self._batching, self._in_hand.append)
        return None, 1
