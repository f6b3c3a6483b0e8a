"""One network for several cameras: the service that owns it, and each camera's share of it.

A camera's inference stage requests an inference without a frame. The service takes the newest frame of the camera whose
turn it is at the moment when the network is free: no frame grows old in a queue, and no turn waits for a camera.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import StageStuckError
from pipeline.records import Clock, Frame, Instances
from pipeline.runtime.inference import Answer, Batch, InferenceStage
from pipeline.runtime.plan import Batching, Filling
from pipeline.runtime.turns import Turn, Turns
from pipeline.segmentation.detection_filter import DetectionFilter
from pipeline.segmentation.segmenter import Segmenter
from pipeline.segmentation.supervision import SegmenterLostError
from pipeline.threads.opencv_process import one_opencv_thread
from pipeline.threads.stage import FirstError, Slot, SlotClosed, Stage

log = logging.getLogger(__name__)

Images = Sequence[NDArray[np.uint8]]

CLOSE_DEADLINE_S = 15.0
"""How long the end waits for an inference that has begun."""
UNDER_WAY = 1
"""Inferences that a camera requests beyond the workers: the next frame is in the network while the results of the last
one are tracked."""


@dataclass(eq=False)
class _Request:
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


class InferenceService:
    """Owns the segmenter that several cameras use, and the threads that run it: one for each of its workers.

    It never waits for a camera: only those compete whose slot holds a fresh frame. A failure of the network, other than
    single lost results, ends the service, and with it every camera.

    Args:
        segmenter: opened, used and closed in the service's threads. It reports what all cameras need.
        clock: seconds, monotonic.
    """

    def __init__(self, segmenter: Segmenter, clock: Clock) -> None:
        self.segmenter = segmenter
        self._clock = clock
        self._turns = Turns()
        self._shares: list[NetworkShare] = []
        self._changed = threading.Condition()
        self._opened = self._closed = False
        self._under_way: list[_Request] = []
        self._errors = FirstError(on_first=self._end)
        # Named as in a run with one source, so that errors are the same.
        self._stage = Stage("inference", self._open_and_work, self._errors)

    @property
    def ended(self) -> bool:
        """Whether nothing more is begun: the run ends, or the network has failed."""
        return self._closed

    @property
    def error(self) -> BaseException | None:
        """What ended the service; None while all is well."""
        return self._errors.error

    def start(self) -> None:
        """Load the network, in a thread; shares wait for it."""
        self._stage.start()

    def share(self, weight: float, detections: DetectionFilter) -> NetworkShare:
        """A camera's share of the network.

        Args:
            weight: its share of the turns beside the other cameras', above 0.
            detections: which of the reported detections count for it.
        """
        return NetworkShare(self, weight, detections)

    def stop(self) -> None:
        """Request the end; nothing more is begun. From any thread."""
        self.segmenter.interrupt()
        self._end()

    def close(self) -> None:
        """End the threads, and release the network. A thread that hangs in it is left behind."""
        self.stop()
        try:
            self._stage.join(CLOSE_DEADLINE_S)
        except StageStuckError as error:
            log.warning("%s", error)

    # -- for shares ---------------------------------------------------------------------------------------------------

    def wait_until_open(self, interrupted: Callable[[], bool]) -> None:
        """Wait for the network. Raises its error, or SlotClosed when the run ends or the camera is interrupted."""
        with self._changed:
            self._changed.wait_for(lambda: self._opened or self._closed or interrupted())
            if not self._opened or interrupted():
                raise self.error or SlotClosed

    def join(self, share: NetworkShare) -> None:
        """Let a share compete."""
        with self._changed:
            self._shares.append(share)

    def leave(self, share: NetworkShare) -> None:
        """Let a share compete no more, and end its requests. What the network still computes for it is discarded."""
        with self._changed:
            if share in self._shares:
                self._shares.remove(share)
            dropped = [*share.drop_requests(), *(request for request in self._under_way if request.share is share)]
        for request in dropped:
            request.end(SlotClosed())

    def submit(self, share: NetworkShare, request: _Request) -> None:
        """Let a share wait for its turn; at the end, the request ends at once."""
        with self._changed:
            ends = self._closed or share.interrupted
            if not ends:
                share.requests.append(request)
                self._changed.notify_all()
        if ends:
            request.end(self.error or SlotClosed())

    def wake(self) -> None:
        """Something changed: a frame came, a request was made, a slot was closed."""
        with self._changed:
            self._changed.notify_all()

    # -- the threads --------------------------------------------------------------------------------------------------

    def _open_and_work(self) -> None:
        others: list[Stage] = []
        try:
            self.segmenter.open()
            with self._changed:
                self._opened = True
                self._changed.notify_all()
            # Cores have enough to do; OpenCV's own threads would wait actively between small calls.
            with one_opencv_thread():
                for _ in range(self.segmenter.workers - 1):
                    others.append(Stage("inference", self._work, self._errors))
                    others[-1].start()
                try:
                    self._work()
                finally:
                    for stage in others:
                        stage.wait(CLOSE_DEADLINE_S)
        finally:
            self.segmenter.close()

    def _work(self) -> None:
        """Run one request after the other, until the end."""
        while True:
            request = self._next()
            try:
                self._run(request)
            finally:
                with self._changed:
                    self._under_way.remove(request)
                    self._changed.notify_all()

    def _next(self) -> _Request:
        """The request whose turn it is, with its frames. Raises SlotClosed at the end."""
        with self._changed:
            while not self._closed:
                self._end_finished()
                if len(self._under_way) < self.segmenter.workers and (request := self._pick()) is not None:
                    self._under_way.append(request)
                    return request
                self._changed.wait()
        raise SlotClosed

    def _pick(self) -> _Request | None:
        while (ready := {share.turn: share for share in self._shares if share.is_ready()}) and (
            turn := self._turns.next(list(ready))
        ) is not None:
            if (request := ready[turn].take()) is not None:
                self._turns.grant(turn, len(request.frames))
                return request
        return None

    def _end_finished(self) -> None:
        """End the requests of cameras from which no more frames come."""
        for share in self._shares:
            if share.is_finished():
                for request in share.drop_requests():
                    request.end(SlotClosed())

    def _run(self, request: _Request) -> None:
        started_at_s = self._clock()
        try:
            found = self.segmenter.segment_frames(request.frames)
            ended_at_s = self._clock()
            reported = [request.share.detections.reported(each) for each in found]
        except (SegmenterLostError, SlotClosed) as error:
            request.end(error)
        except BaseException as error:
            self._errors.report("inference", error)  # which ends all requests
            raise
        else:
            request.end((reported, started_at_s, ended_at_s))

    def _end(self) -> None:
        with self._changed:
            self._closed = True
            waiting = [request for share in self._shares for request in share.drop_requests()]
            dropped = [*waiting, *self._under_way]
            self._changed.notify_all()
        for request in dropped:
            request.end(self.error or SlotClosed())


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
        self.requests: deque[_Request] = deque()
        self._frames: Slot[Frame] | None = None
        self._batching = Batching()
        self._on_take: Callable[[Frame], None] = lambda _: None
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

    def request(self) -> _Request:
        """Request an inference of the frames that there are when its turn comes."""
        request = _Request(self)
        self._service.submit(self, request)
        return request

    # -- for the service, under its lock ------------------------------------------------------------------------------

    def is_ready(self) -> bool:
        """Whether an inference is requested and its frames are there."""
        if self._frames is None or not self.requests:
            return False
        fill = self._batching.size if self._batching.filling is Filling.FULL else 1
        return len(self._frames) >= (1 if self._frames.closed else fill)

    def is_finished(self) -> bool:
        """Whether no more frames come."""
        return self._frames is not None and self._frames.closed and not len(self._frames)

    def take(self) -> _Request | None:
        """The oldest request, with its frames; None if they are gone."""
        assert self._frames is not None
        request = self.requests[0]
        with suppress(TimeoutError, SlotClosed):
            while len(request.frames) < self._batching.size:
                frame = self._frames.get(0.0)
                self._on_take(frame)
                request.frames.append(frame)
        return self.requests.popleft() if request.frames else None

    def drop_requests(self) -> list[_Request]:
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
