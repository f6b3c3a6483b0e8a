"""Whole runs with several frames at once, in batches or side by side: every frame in its order, or accounted for."""

import pytest

from pipeline.errors import RunError
from pipeline.records import SourceKind
from pipeline.runtime.stream import Stream
from pipeline.settings.schema import Settings
from tests.pipeline.fakes import FakeSegmenter, FakeSource


class BatchSegmenter(FakeSegmenter):
    """Remembers how many frames it was given at once; takes so many batches side by side."""

    workers = 1  # an attribute in place of the property

    def __init__(self, before=None, workers=1):
        super().__init__(before)
        self.sizes = []
        self.workers = workers

    def segment_batch(self, images_bgr):
        self.sizes.append(len(images_bgr))
        return super().segment_batch(images_bgr)


def stream_of(source, segmenter, batch_size, **motion):
    values = {"model": {"batch_size": batch_size}, "motion": motion, "window": {"mode": "off"}}
    return Stream(Settings.model_validate(values), source=source, segmenter=segmenter)


def test_a_recorded_source_goes_through_in_full_batches_and_comes_out_in_order():
    segmenter = BatchSegmenter()
    with stream_of(FakeSource(22), segmenter, 5) as stream:
        presented = list(stream)
    assert [item.frame.index for item in presented] == list(range(22))
    assert [item.instances.boxes_xyxy[0, 0] for item in presented] == list(range(22))
    assert segmenter.sizes == [5, 5, 5, 5, 2]
    stats = stream.summary().stats
    assert (stats.captured, stats.inferred, stats.presented, stats.dropped_total) == (22, 22, 22, 0)


@pytest.mark.parametrize(("batch_size", "workers"), [(2, 1), (7, 1), (1, 2), (1, 5), (2, 3)])
def test_keyframes_at_once_do_not_lock_up(batch_size, workers):
    segmenter = BatchSegmenter(workers=workers)
    with stream_of(FakeSource(40), segmenter, batch_size, infer_every=3, carry="hold") as stream:
        presented = list(stream)
    assert [item.frame.index for item in presented] == list(range(40))
    assert [item.instances_index for item in presented] == [index - index % 3 for index in range(40)]
    assert sorted(segmenter.seen) == list(range(0, 40, 3))
    assert max(segmenter.sizes, default=1) <= batch_size


def test_a_live_source_is_never_batched():
    segmenter = BatchSegmenter()
    with stream_of(FakeSource(None, SourceKind.LIVE), segmenter, 8) as stream:
        for shown, _ in enumerate(stream):
            if shown > 5:
                break
    assert set(segmenter.sizes) == {1}
    assert segmenter.seen


@pytest.mark.parametrize("batch_size", [1, 3])
def test_a_recorded_source_goes_through_side_by_side_and_comes_out_in_order(batch_size):
    with stream_of(FakeSource(24), BatchSegmenter(workers=2), batch_size) as stream:
        presented = list(stream)
    assert [item.frame.index for item in presented] == list(range(24))
    assert [item.instances.boxes_xyxy[0, 0] for item in presented] == list(range(24))
    assert [item.instances.track_ids.tolist() for item in presented[1:]] == [[1]] * 23
    stats = stream.summary().stats
    assert (stats.captured, stats.inferred, stats.presented, stats.dropped_total) == (24, 24, 24, 0)


@pytest.mark.parametrize(("batch_size", "workers"), [(4, 1), (1, 3)])
def test_a_run_that_is_stopped_in_the_middle_loses_count_of_nothing(batch_size, workers):
    def stop(index):
        if index == 9:  # the second of the third batch
            stream.stop()

    segmenter = BatchSegmenter(stop, workers)
    stream = stream_of(FakeSource(None), segmenter, batch_size)
    with stream:
        presented = list(stream)
    assert [item.frame.index for item in presented] == list(range(len(presented)))
    stats = stream.summary().stats
    assert stats.captured == stats.presented + stats.dropped_total


@pytest.mark.parametrize(("batch_size", "workers", "most"), [(4, 1, 8), (1, 3, 9)])
def test_a_segmenter_that_fails_in_the_middle_ends_the_run_and_loses_count_of_nothing(batch_size, workers, most):
    def fail(index):
        if index == 9:
            raise ValueError("broken on purpose")

    stream = stream_of(FakeSource(None), BatchSegmenter(fail, workers), batch_size)

    def run():
        with stream:
            list(stream)

    with pytest.raises(RunError, match="broken on purpose"):
        run()
    stats = stream.summary().stats
    assert stats.presented <= most
    assert stats.captured == stats.presented + stats.dropped_total
