"""One network for several cameras: who gets it, with which frame, and what happens at the ends."""

import threading

import numpy as np
import pytest

from pipeline.errors import RunError
from pipeline.records import Instances
from pipeline.runtime import inference_service
from pipeline.runtime.inference_service import InferenceService
from pipeline.runtime.plan import Batching, Filling
from pipeline.segmentation.detection_filter import DetectionFilter
from pipeline.segmentation.supervision import SegmenterLostError
from pipeline.threads.stage import Overflow
from tests.pipeline.fakes import DEADLINE_S, FakeClock, FakeSegmenter, make_instances
from tests.pipeline.runtime.service_cameras import Camera, Gated, ObservedService, let_one


@pytest.fixture
def make_service():
    services, cameras = [], []

    def make(segmenter, count=0, batch_size=1, **more):
        service = ObservedService(segmenter, FakeClock(), batch_size)
        services.append(service)
        service.start()
        service.wait_until_open(lambda: False)
        made = [Camera(service, **more) for _ in range(count)]
        cameras.extend(made)
        return (service, *made)

    yield make
    for camera in cameras:
        camera.share.interrupt()
    for service in services:
        getattr(service.segmenter, "let", lambda _: None)(1000)
        service.close()
    for camera in cameras:
        camera.end()


def test_the_newest_frame_is_taken_when_the_turn_comes(make_service):
    segmenter = Gated()
    _, a, b = make_service(segmenter, 2)
    a.give(1)
    segmenter.wait_entered()
    b.give(11)
    b.give(12)
    b.give(13)
    segmenter.let(2)
    assert (a.result(), b.result()) == (1, 13)
    assert b.ledger.overall().dropped_total == 2


def test_cameras_take_turns_whatever_they_give(make_service):
    """a gives a frame whenever the network is free, b and c only some: the scheduler waits for none of them."""
    segmenter = Gated()
    service, a, b, c = make_service(segmenter, 3)
    a.give(1)
    segmenter.wait_entered()
    for index in range(2, 8):
        a.give(index)
        if index in (3, 4, 5):
            b.give(index + 10)
        if index == 5:
            c.give(25)
        let_one(service, segmenter, a, b, c)
    # b's first frame comes before a's third; a's frame 3 is pushed out, and so is b's 14; c is new when it has one.
    assert segmenter.began == [1, 2, 13, 4, 25, 15, 7]
    segmenter.let(100)


def test_weights_hold_while_results_are_processed(make_service):
    """With a frame always there, a weight of 3 gets three of four turns: also one right after the other."""
    segmenter = Gated()
    (service,) = make_service(segmenter)
    a = Camera(service, weight=3.0, capacity=100, overflow=Overflow.WAIT)
    b = Camera(service, weight=1.0, capacity=100, overflow=Overflow.WAIT)
    a.give(*range(40))
    segmenter.wait_entered()
    b.give(*range(100, 140))
    for _ in range(39):
        let_one(service, segmenter, a, b)
    assert sum(index < 100 for index in segmenter.began) == 30
    segmenter.let(100)
    a.end()
    b.end()
    assert [a.results.get(0).frame.index for _ in range(40)] == list(range(40))
    assert len(b.results.get_all()) == 40


def test_as_many_are_under_way_as_there_are_workers(make_service):
    segmenter = Gated(workers=2)
    _, a, b, c = make_service(segmenter, 3)
    for number, camera in enumerate((a, b, c)):
        camera.give(number)
        if number < 2:
            segmenter.wait_entered()
    assert segmenter.began == [0, 1]
    segmenter.let(3)
    assert [camera.result() for camera in (a, b, c)] == [0, 1, 2]


def test_one_camera_by_itself_uses_all_workers_and_keeps_its_order(make_service):
    segmenter = Gated(workers=2)
    (service,) = make_service(segmenter)
    a = Camera(service, capacity=10, overflow=Overflow.WAIT)
    a.give(*range(10))
    segmenter.wait_entered(2)
    segmenter.let(10)
    a.end()
    assert [result.frame.index for result in a.results.get_all()] == list(range(10))


def test_batches_are_full_or_the_last(make_service):
    sizes = []

    class Sized(FakeSegmenter):
        def segment_batch(self, images_bgr):
            sizes.append(len(images_bgr))
            return super().segment_batch(images_bgr)

    (service,) = make_service(Sized())
    a = Camera(service, capacity=10, overflow=Overflow.WAIT, batching=Batching(4))
    a.give(*range(10))
    a.end()
    assert [result.frame.index for result in a.results.get_all()] == list(range(10))
    assert sizes == [4, 4, 2]


def test_batches_of_what_is_there(make_service):
    (service,) = make_service(FakeSegmenter())
    a = Camera(service, capacity=10, overflow=Overflow.WAIT, batching=Batching(4, Filling.AVAILABLE))
    a.give(1)
    assert a.result() == 1
    a.end()


class BatchesNoted(Gated):
    """Notes the batches that it gets."""

    def __init__(self):
        super().__init__()
        self.batches = []

    def segment_batch(self, images_bgr):
        self.batches.append([int(image_bgr[0, 0, 0]) for image_bgr in images_bgr])
        return super().segment_batch(images_bgr)


def test_frames_of_several_cameras_with_equal_canvases_go_through_the_network_together(make_service):
    segmenter = BatchesNoted()
    service, a, b, c, other = make_service(segmenter, 4, batch_size=3)
    segmenter.let(4)
    for index, camera in enumerate((a, b, c)):
        camera.give(index)  # one by one: the service learns their sizes
        assert camera.result() == index
    other.give(3, height=60, width=60)
    assert other.result() == 3
    segmenter.wait_entered(4)
    a.give(10)
    segmenter.wait_entered()  # by itself: nobody else has a frame
    for index, camera in enumerate((b, a, c)):
        camera.give(20 + index, height=96, width=160)  # of the same shape as before
    other.give(30, height=60, width=60)
    service.wait_requested(a, b, c, other)
    segmenter.let(100)
    assert [a.result(), a.result(), b.result(), c.result(), other.result()] == [10, 21, 20, 22, 30]
    assert segmenter.batches[4] == [10]
    assert sorted(map(sorted, segmenter.batches[5:])) == [[20, 21, 22], [30]]


def test_a_batch_that_is_lost_costs_each_of_its_cameras_one_result(make_service):
    class Loses(Gated):
        def segment_batch(self, images_bgr):
            if len(images_bgr) == 2:
                raise SegmenterLostError
            return super().segment_batch(images_bgr)

    segmenter = Loses()
    service, a, b, other = make_service(segmenter, 3, batch_size=2)
    segmenter.let(2)
    for camera in (a, b):
        camera.give(1)
        assert camera.results.get(DEADLINE_S).detections is not None
    segmenter.wait_entered(2)
    other.give(4, height=60, width=60)
    segmenter.wait_entered()
    a.give(2)
    b.give(3)
    service.wait_requested(a, b)
    segmenter.let()  # now the service finds both frames at once
    for camera, index in ((a, 2), (b, 3)):
        lost = camera.results.get(DEADLINE_S)
        assert (lost.frame.index, lost.detections) == (index, None)


def test_each_camera_gets_what_its_own_thresholds_report(make_service):
    class Three(FakeSegmenter):
        def segment(self, image_bgr):
            return make_instances(3, x=float(image_bgr[0, 0, 0]))  # scores 0.9, 0.7, 0.5; classes 1, 2, 3

    (service,) = make_service(Three())
    wanted = (
        DetectionFilter(0.8, 0.6, report_score=0.6),
        DetectionFilter(report_score=0.0, report_most=1),
        DetectionFilter(0.5, 0.5, 100, frozenset({3}), 0.5),
    )
    cameras = [Camera(service, detections=each) for each in wanted]
    for camera in cameras:
        camera.give(5)
    found = [camera.results.get(DEADLINE_S) for camera in cameras]
    assert [len(each.detections.instances) for each in found] == [2, 1, 3]
    assert [each.instances.class_ids.tolist() for each in found] == [[1], [1], [3]]
    for camera in cameras:
        camera.end()


def test_a_lost_result_costs_one_frame_of_one_camera(make_service):
    class Loses(FakeSegmenter):
        def segment(self, image_bgr):
            if image_bgr[0, 0, 0] == 2:
                raise SegmenterLostError("hung")
            return super().segment(image_bgr)

    service, a, b = make_service(Loses(), 2)
    a.give(1)
    assert a.result() == 1
    a.give(2)
    lost = a.results.get(DEADLINE_S)
    assert (lost.frame.index, len(lost.instances), lost.detections) == (2, 0, None)
    b.give(3)
    a.give(4)
    assert (a.result(), b.result()) == (4, 3)
    assert service.error is None


def test_a_failing_network_ends_every_camera_with_one_error(make_service):
    def fail(index):
        if index == 7:
            raise ValueError("no memory")

    service, a, b = make_service(FakeSegmenter(fail), 2)
    a.give(1)
    assert a.result() == 1
    b.give(7)
    for camera in (a, b):
        camera.stage.join(DEADLINE_S)
        assert camera.errors.error is service.error
    service.close()
    assert str(service.error) == "inference failed: ValueError: no memory"
    assert isinstance(service.error, RunError)
    assert service.segmenter.closed == 1
    late = Camera(service)
    late.stage.join(DEADLINE_S)
    assert late.errors.error is service.error


def test_a_network_that_cannot_be_loaded_ends_every_camera(make_service):
    def opening():
        raise RunError("broken weights")

    service = InferenceService(FakeSegmenter(opening=opening), FakeClock())
    cameras = [Camera(service) for _ in range(3)]
    service.start()
    for camera in cameras:
        camera.stage.join(DEADLINE_S)
        assert str(camera.errors.error) == "broken weights"
    service.close()


def test_a_camera_that_is_interrupted_neither_waits_nor_stops_others(make_service):
    segmenter = Gated()
    _, a, b = make_service(segmenter, 2)
    a.give(1)
    segmenter.wait_entered()
    b.give(11)
    b.share.interrupt()
    b.stage.join(DEADLINE_S)
    assert b.errors.error is None
    assert b.ledger.overall().dropped_total == 1  # it was in the slot
    segmenter.let()
    assert a.result() == 1
    a.give(2)
    segmenter.let()
    assert a.result() == 2
    assert segmenter.began == [1, 2]


def test_an_interrupted_camera_does_not_wait_for_what_the_network_computes_for_it(make_service):
    segmenter = Gated()
    service, a, b = make_service(segmenter, 2)
    a.give(1)
    segmenter.wait_entered()
    a.share.interrupt()
    a.stage.join(DEADLINE_S)
    assert a.errors.error is None
    assert a.ledger.overall().dropped_total == 1  # the frame that the network still has
    b.give(2)
    segmenter.let(2)
    assert b.result() == 2
    assert service.error is None


def test_the_end_does_not_wait_for_a_network_that_hangs(make_service, monkeypatch, caplog):
    monkeypatch.setattr(inference_service, "CLOSE_DEADLINE_S", 0.05)
    segmenter = Gated()
    service, a = make_service(segmenter, 1)
    a.give(1)
    segmenter.wait_entered()
    service.close()
    a.stage.join(DEADLINE_S)
    assert a.errors.error is None
    assert caplog.messages == ["inference did not end within 0.05 s; the program ends without it"]


def test_a_failure_after_the_network_has_answered_reaches_the_camera_as_well(make_service):
    class Fails(DetectionFilter):
        def reported(self, found):
            raise MemoryError("too many")

    (service,) = make_service(FakeSegmenter())
    a, b = Camera(service, detections=Fails()), Camera(service)
    a.give(1)
    for camera in (a, b):
        camera.stage.join(DEADLINE_S)
        assert str(camera.errors.error) == "inference failed: MemoryError: too many"


def test_a_camera_may_be_interrupted_while_the_network_loads():
    gate = threading.Event()
    service = InferenceService(FakeSegmenter(opening=lambda: gate.wait(DEADLINE_S)), FakeClock())
    service.start()
    a = Camera(service)
    a.share.interrupt()
    a.stage.join(DEADLINE_S)
    gate.set()
    service.close()


def test_the_end_of_a_source_is_the_end_of_its_camera(make_service):
    segmenter = Gated()
    _, a, b = make_service(segmenter, 2)
    a.give(1)
    segmenter.wait_entered()
    b.give(2)
    a.frames.close()
    b.frames.close()
    segmenter.let(2)
    for camera in (a, b):
        camera.stage.join(DEADLINE_S)
    assert (a.result(), b.result()) == (1, 2)


def test_a_share_segments_single_images_as_well(make_service):
    (service,) = make_service(FakeSegmenter())
    share = service.share(1.0, DetectionFilter(1.0, 1.0, report_score=0.95))
    (found,) = share.segment_batch([np.zeros((48, 80, 3), np.uint8)])
    assert isinstance(found, Instances)
    assert len(found) == 0
    assert (share.labels, share.description, share.workers) == (service.segmenter.labels, "fake segmenter", 1)
