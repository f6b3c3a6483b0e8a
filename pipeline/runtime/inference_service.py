"""The service that owns the network of several cameras.

A camera's inference stage requests an inference without a frame. The service takes the newest frame of the camera whose
turn it is at the moment when the network is free: no frame grows old in a queue, and no turn waits for a camera.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence

from pipeline.errors import StageStuckError
from pipeline.records import Clock
from pipeline.runtime.network_share import NetworkShare, Request
from pipeline.runtime.turns import Turns
from pipeline.segmentation.detection_filter import DetectionFilter
from pipeline.segmentation.segmenter import Segmenter
from pipeline.segmentation.supervision import SegmenterLostError
from pipeline.threads.opencv_process import one_opencv_thread
from pipeline.threads.stage import FirstError, SlotClosed, Stage

log = logging.getLogger(__name__)

CLOSE_DEADLINE_S = 15.0
"""How long the end waits for an inference that has begun."""
BATCH_WAIT_S = 0.003
"""How long the frames of a batch that is not full wait for those of other cameras."""


class InferenceService:
    """Owns the segmenter that several cameras use, and the threads that run it: one for each of its workers.

    It never waits for a camera: only those compete whose slot holds a fresh frame. A failure of the network, other than
    single lost results, ends the service, and with it every camera.

    Args:
        segmenter: opened, used and closed in the service's threads. It reports what all cameras need.
        clock: seconds, monotonic.
        batch_size: how many frames go through the network at once, of several cameras where their canvases are equal.
    """

    def __init__(self, segmenter: Segmenter, clock: Clock, batch_size: int = 1) -> None:
        self.segmenter = segmenter
        self._clock = clock
        self._batch_size = batch_size
        self._turns = Turns()
        self._shares: list[NetworkShare] = []
        self._changed = threading.Condition()
        self._opened = self._closed = False
        self._under_way: list[list[Request]] = []
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
            dropped = [*share.drop_requests(), *(each for each in self._all_under_way() if each.share is share)]
        for request in dropped:
            request.end(SlotClosed())

    def submit(self, share: NetworkShare, request: Request) -> None:
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
        """Run one batch of requests after the other, until the end; while it waits for one, it keeps none."""
        while True:
            self._run_and_forget(self._next())

    def _run_and_forget(self, batch: list[Request]) -> None:
        try:
            self._run(batch)
        finally:
            with self._changed:
                self._under_way.remove(batch)
                self._changed.notify_all()

    def _next(self) -> list[Request]:
        """The request whose turn it is, with its frames, and those that go with it. Raises SlotClosed at the end."""
        with self._changed:
            while not self._closed:
                self._end_finished()
                if len(self._under_way) < self.segmenter.workers and (request := self._pick(self._shares)) is not None:
                    batch = [request]
                    self._under_way.append(batch)
                    self._fill(batch)
                    return batch
                self._changed.wait()
        raise SlotClosed

    def _pick(self, shares: Sequence[NetworkShare]) -> Request | None:
        while (ready := {share.turn: share for share in shares if share.is_ready()}) and (
            turn := self._turns.next(list(ready))
        ) is not None:
            if (request := ready[turn].take()) is not None:
                self._turns.grant(turn, len(request.frames))
                return request
        return None

    def _fill(self, batch: list[Request]) -> None:
        """Add requests of other cameras as long as they fit; waits for a moment for those that have no frame."""
        first, until_s = batch[0].share, time.monotonic() + BATCH_WAIT_S
        while not self._closed and (room := self._batch_size - sum(len(each.frames) for each in batch)) > 0:
            served = [request.share for request in batch]
            others = [each for each in self._shares if each not in served and each.fits_beside(first, room)]
            if (request := self._pick(others)) is not None:
                batch.append(request)
            elif not others or (left_s := until_s - time.monotonic()) <= 0:
                return
            else:
                self._changed.wait(left_s)

    def _all_under_way(self) -> Iterator[Request]:
        return itertools.chain.from_iterable(self._under_way)

    def _end_finished(self) -> None:
        """End the requests of cameras from which no more frames come."""
        for share in self._shares:
            if share.is_finished():
                for request in share.drop_requests():
                    request.end(SlotClosed())

    def _run(self, batch: Sequence[Request]) -> None:
        started_at_s = self._clock()
        try:
            found = self.segmenter.segment_frames([frame for request in batch for frame in request.frames])
            ended_at_s, answers = self._clock(), iter(found)
            # As many as it has frames; one too few is an error of the camera's, as it is without a service.
            own = [list(itertools.islice(answers, len(request.frames))) for request in batch]
            reported = [
                [request.share.detections.reported(each) for each in found]
                for request, found in zip(batch, own, strict=True)
            ]
        except (SegmenterLostError, SlotClosed) as error:
            for request in batch:
                request.end(error)
        except BaseException as error:
            self._errors.report("inference", error)  # which ends all requests
            raise
        else:
            for request, answer in zip(batch, reported, strict=True):
                request.end((answer, started_at_s, ended_at_s))

    def _end(self) -> None:
        with self._changed:
            self._closed = True
            waiting = [request for share in self._shares for request in share.drop_requests()]
            dropped = [*waiting, *self._all_under_way()]
            self._changed.notify_all()
        for request in dropped:
            request.end(self.error or SlotClosed())
