"""A network that stays loaded, one that shows everything, and one whose answers were stored before."""

import numpy as np
import pytest

from pipeline.batch.kept_segmenter import KeptSegmenter, Replayed, Unfiltered
from pipeline.batch.stored_answers import Answer, checksum_of
from pipeline.batch.stretches import SeamError
from pipeline.segmentation.detection_filter import DetectionFilter
from tests.pipeline.batch.fakes import BySum
from tests.pipeline.fakes import FakeSegmenter, make_instances

IMAGES = [np.full((4, 6, 3), value, np.uint8) for value in (1, 2, 3)]


def test_a_kept_segmenter_is_the_one_inside():
    inner = BySum()
    kept = KeptSegmenter(inner)
    assert (kept.labels, kept.description, kept.workers) == (inner.labels, inner.description, 1)
    assert kept.detections == inner.detections


def test_it_is_opened_once_and_closed_at_the_end():
    opened = []
    inner = FakeSegmenter(opening=lambda: opened.append(1))
    kept = KeptSegmenter(inner)
    for around in (kept, Unfiltered(kept), kept):
        around.open()
        around.close()
    assert (len(opened), inner.closed) == (1, 0)
    kept.end()
    assert inner.closed == 1


def test_unfiltered_lets_everything_through():
    inner = BySum()
    inner.detections = DetectionFilter(high_score=0.7, max_instances=1)
    everything = Unfiltered(KeptSegmenter(inner))
    found = make_instances(3)
    assert everything.detections.high(found) is found
    assert len(everything.segment_batch(IMAGES[:1])[0]) == len(inner.segment(IMAGES[0]))


def replayed(*images):
    inner = FakeSegmenter()
    answers = [Answer(0, checksum_of(image), make_instances(1, x=float(image[0, 0, 0]))) for image in images]
    return Replayed(KeptSegmenter(inner), iter(answers)), inner


def test_answers_come_in_order_and_nothing_is_computed():
    segmenter, inner = replayed(*IMAGES)
    found = segmenter.segment_batch(IMAGES[:2]) + segmenter.segment_batch(IMAGES[2:])
    assert [one.boxes_xyxy[0, 0] for one in found] == [1.0, 2.0, 3.0]
    assert (inner.seen, segmenter.workers) == ([], 1)
    segmenter.check_all_used()


def test_a_frame_that_is_another_one_is_noticed():
    segmenter, _ = replayed(*IMAGES)
    segmenter.segment_batch(IMAGES[:1])
    other = IMAGES[1].copy()
    other[3, 5, 2] += 1
    with pytest.raises(SeamError, match="frame 1 differs when decoding begins in the middle"):
        segmenter.segment_batch([other])


def test_a_frame_without_an_answer_and_an_answer_without_a_frame():
    segmenter, _ = replayed(*IMAGES[:2])
    segmenter.segment_batch(IMAGES[:1])
    with pytest.raises(SeamError, match="more than its 1 frames"):
        segmenter.check_all_used()
    segmenter, _ = replayed(*IMAGES[:2])
    with pytest.raises(SeamError, match="its stretches have only 2 frames"):
        segmenter.segment_batch(IMAGES)
