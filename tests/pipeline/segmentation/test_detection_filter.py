from dataclasses import replace

import numpy as np
import pytest

from pipeline.segmentation.detection_filter import DetectionFilter
from tests.pipeline.fakes import make_instances

SCORES = np.array([0.9, 0.55, 0.45, 0.35, 0.25], np.float32)


def reported():
    """Five objects of the classes 1 to 5, best first."""
    return replace(make_instances(5), scores=SCORES)


def test_without_arguments_everything_passes():
    instances = reported()
    assert DetectionFilter().high(instances) is instances
    assert DetectionFilter().high_and_low(instances) is instances


def test_high_and_low_threshold():
    detections = DetectionFilter(high_score=0.5, low_score=0.4, report_score=0.2)
    assert detections.high(reported()).scores.tolist() == SCORES[:2].tolist()
    assert detections.high_and_low(reported()).scores.tolist() == SCORES[:3].tolist()


def test_a_score_at_the_threshold_passes():
    assert DetectionFilter(high_score=0.25, low_score=0.25).high(reported()).scores.tolist() == SCORES.tolist()


def test_the_most_are_counted_before_classes_are_left_out():
    detections = DetectionFilter(max_instances=3, class_ids=frozenset({3, 4}))
    assert detections.high(reported()).class_ids.tolist() == [3]
    assert len(DetectionFilter(max_instances=1, class_ids=frozenset({3})).high_and_low(reported())) == 0


@pytest.mark.parametrize(
    "scores",
    [
        {"high_score": 0.4, "low_score": 0.5},
        {"high_score": 0.5, "low_score": 0.3, "report_score": 0.4},
        {"high_score": 1.5},
        {"high_score": 0.5, "low_score": -0.1, "report_score": -0.1},
    ],
)
def test_the_thresholds_are_in_order(scores):
    with pytest.raises(ValueError, match="report_score <= low_score <= high_score"):
        DetectionFilter(**scores)


def test_as_many_as_the_network_may_report_are_perhaps_not_all():
    assert not DetectionFilter().truncates(reported())
    assert not DetectionFilter(complete_below=len(SCORES) + 1).truncates(reported())
    assert DetectionFilter(complete_below=len(SCORES)).truncates(reported())


def test_what_a_network_for_one_filter_reports_of_what_one_for_several_reports():
    instances = reported()
    assert DetectionFilter(0.5, 0.4, report_score=0.3).reported(instances).scores.tolist() == SCORES[:4].tolist()
    assert DetectionFilter(report_most=2, max_instances=1).reported(instances).scores.tolist() == SCORES[:2].tolist()
    assert DetectionFilter(max_instances=1).reported(instances).scores.tolist() == SCORES[:1].tolist()
    assert DetectionFilter().reported(instances) is instances


def test_a_filter_for_all_reports_what_each_needs():
    one = DetectionFilter(0.7, 0.5, max_instances=10, report_score=0.4)
    other = DetectionFilter(0.6, 0.6, max_instances=10, report_score=0.5, report_most=50)
    both = DetectionFilter.for_all([one, other])
    assert (both.high_score, both.low_score, both.report_score, both.report_most) == (0.6, 0.5, 0.4, 50)
    assert not one.needs_more_than(both)
    assert not other.needs_more_than(both)
    assert one.needs_more_than(other)
    assert other.needs_more_than(one)
    assert DetectionFilter.for_all([one, DetectionFilter()]).report_most is None
    assert DetectionFilter().needs_more_than(both)
