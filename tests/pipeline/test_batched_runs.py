"""Whole runs with several frames at once: every frame in its order, or accounted for."""

import pytest

from pipeline.errors import RunError
from pipeline.records import SourceKind
from pipeline.settings import Settings
from pipeline.stream import Stream
from tests.pipeline.fakes import FakeSegmenter, FakeSource


class BatchSegmenter(FakeSegmenter):
    """Remembers how many frames it was given at once."""

    def __init__(self, before=None):
        super().__init__(before)
        self.sizes = []

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


@pytest.mark.parametrize("batch_size", [2, 7])
def test_key_frames_in_batches_do_not_lock_up(batch_size):
    segmenter = BatchSegmenter()
    with stream_of(FakeSource(40), segmenter, batch_size, infer_every=3, carry="hold") as stream:
        presented = list(stream)
    assert [item.frame.index for item in presented] == list(range(40))
    assert [item.instances_index for item in presented] == [index - index % 3 for index in range(40)]
    assert segmenter.seen == list(range(0, 40, 3))
    assert max(segmenter.sizes) <= batch_size


def test_a_live_source_is_never_batched():
    segmenter = BatchSegmenter()
    with stream_of(FakeSource(None, SourceKind.LIVE), segmenter, 8) as stream:
        for shown, _ in enumerate(stream):
            if shown > 5:
                break
    assert segmenter.sizes == []
    assert segmenter.seen


def test_a_run_that_is_stopped_in_the_middle_of_a_batch_loses_count_of_nothing():
    def stop(index):
        if index == 9:  # the second of the third batch
            stream.stop()

    segmenter = BatchSegmenter(before=stop)
    stream = stream_of(FakeSource(None), segmenter, 4)
    with stream:
        presented = list(stream)
    assert [item.frame.index for item in presented] == list(range(len(presented)))
    stats = stream.summary().stats
    assert stats.captured == stats.presented + stats.dropped_total


def test_a_segmenter_that_fails_in_the_middle_of_a_batch_ends_the_run_and_loses_count_of_nothing():
    def fail(index):
        if index == 9:
            raise ValueError("broken on purpose")

    stream = stream_of(FakeSource(None), BatchSegmenter(before=fail), 4)

    def run():
        with stream:
            list(stream)

    with pytest.raises(RunError, match="broken on purpose"):
        run()
    stats = stream.summary().stats
    assert stats.presented <= 8
    assert stats.captured == stats.presented + stats.dropped_total
