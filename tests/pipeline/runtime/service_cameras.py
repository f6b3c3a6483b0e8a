"""Cameras of an inference service, without sources and sinks, and a network that waits until it may answer."""

import threading

from pipeline.ledger import DropStage, RunLedger
from pipeline.runtime.inference_service import InferenceService
from pipeline.runtime.network_share import ScheduledInference
from pipeline.runtime.plan import Batching
from pipeline.runtime.wiring import Join, Wiring
from pipeline.segmentation.detection_filter import DetectionFilter
from pipeline.threads.stage import FirstError, Overflow, Slot, Stage
from tests.pipeline.fakes import DEADLINE_S, FakeClock, FakeSegmenter, make_frame


class Gated(FakeSegmenter):
    """Tells which picture it has (`entered`), and holds it until `let` is called as often."""

    workers = 1  # an attribute in place of the property

    def __init__(self, workers=1):
        super().__init__(self._wait)
        self.workers = workers
        self._entered, self._let = threading.Semaphore(0), threading.Semaphore(0)
        self.began = []

    def _wait(self, index):
        self.began.append(index)
        self._entered.release()
        assert self._let.acquire(timeout=DEADLINE_S)

    def wait_entered(self, times=1):
        for _ in range(times):
            assert self._entered.acquire(timeout=DEADLINE_S)

    def let(self, times=1):
        for _ in range(times):
            self._let.release()


class Camera:
    """A stage of one camera between two slots, without a source and a sink."""

    def __init__(self, service, weight=1.0, capacity=1, overflow=Overflow.DROP_OLDEST, batching=None, detections=None):
        self.share = service.share(weight, detections or DetectionFilter())
        self.ledger, self.errors = RunLedger(), FirstError()
        lost = lambda: self.ledger.dropped(DropStage.INFERENCE)  # noqa: E731
        self.frames = Slot(capacity, overflow, lost)
        self.results = Slot(100, Overflow.WAIT)
        wiring = Wiring((self.frames.put,), (self.frames,), self.frames, self.results, Join(self.results), lost, lost)
        stage = ScheduledInference(self.share, None, wiring, batching or Batching(), self.ledger, FakeClock())
        self.stage = Stage("inference", stage.run, self.errors, (self.frames,), (self.results,))
        self.stage.start()

    def give(self, *indices, **size):
        for index in indices:
            self.frames.put(make_frame(index, **size))

    def result(self):
        found = self.results.get(DEADLINE_S)
        assert found.instances.boxes_xyxy[0, 0] == found.frame.index % 50
        return found.frame.index

    def end(self):
        """No more frames; wait for the rest."""
        self.frames.close()
        self.stage.join(DEADLINE_S)


class ObservedService(InferenceService):
    """Tells when cameras have requested an inference."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self._submitted = threading.Condition()

    def submit(self, share, request):
        super().submit(share, request)
        with self._submitted:
            self._submitted.notify_all()

    def wait_requested(self, *cameras):
        """Wait until each camera has a request that waits for its turn."""
        with self._submitted:
            assert self._submitted.wait_for(lambda: all(camera.share.requests for camera in cameras), DEADLINE_S)


def let_one(service, segmenter, *cameras):
    """Once all cameras have requested their next inference, let one end, and wait for the next to begin."""
    service.wait_requested(*cameras)
    segmenter.let()
    segmenter.wait_entered()
