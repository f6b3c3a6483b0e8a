from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from pipeline.records import Frame, Instances, SourceInfo, SourceKind, StageTimes
from tests.pipeline.fakes import make_frame, make_instances


def test_frame_knows_its_time_and_size():
    frame = Frame("a", 3, 3003, Fraction(1, 30000), 1.5, np.zeros((5, 7, 3), np.uint8))
    assert frame.pts_s == pytest.approx(0.1001)
    assert (frame.height, frame.width) == (5, 7)


def test_arrays_of_records_cannot_be_written():
    frame = make_frame(0)
    with pytest.raises(ValueError, match="read-only"):
        frame.image_bgr[0, 0, 0] = 1
    instances = make_instances(2)
    with pytest.raises(ValueError, match="read-only"):
        instances.boxes_xyxy[0, 0] = 1


def test_the_callers_array_stays_writable():
    image = np.zeros((5, 7, 3), np.uint8)
    Frame("a", 0, 0, Fraction(1, 1000), 0.0, image)
    image[0, 0, 0] = 9
    assert image[0, 0, 0] == 9


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((5, 7), np.uint8),
        np.zeros((5, 7, 4), np.uint8),
        np.zeros((5, 7, 3), np.float32),
        np.zeros((0, 7, 3), np.uint8),
    ],
)
def test_frame_refuses_other_images(image):
    with pytest.raises(ValueError, match=r"uint8 \(H, W, 3\)"):
        Frame("a", 0, 0, Fraction(1, 1000), 0.0, image)


@pytest.mark.parametrize("count", [0, 1, 100])
def test_instances_count(count):
    assert len(make_instances(count)) == count
    assert len(Instances.empty()) == 0


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("boxes_xyxy", np.zeros((2, 4), np.float64)),
        ("class_ids", np.zeros((3,), np.int32)),
        ("scores", np.zeros((2, 1), np.float32)),
        ("mask_probs", np.zeros((2, 28, 14), np.float32)),
        ("mask_probs", np.zeros((1, 28, 28), np.float32)),
        ("track_ids", np.zeros((2,), np.int64)),
        ("track_ids", np.zeros((3,), np.int32)),
        ("opacity", np.zeros((2,), np.float64)),
        ("opacity", np.zeros((1,), np.float32)),
    ],
)
def test_instances_refuse_arrays_that_do_not_fit(field, value):
    good = make_instances(2)
    arrays = {name: getattr(good, name) for name in ("boxes_xyxy", "class_ids", "scores", "mask_probs")}
    with pytest.raises(ValueError, match=field):
        Instances(**{**arrays, field: value})


def test_select_by_mask_and_by_order():
    instances = make_instances(3)
    assert instances.select(np.array([True, False, True])).class_ids.tolist() == [1, 3]
    assert instances.select(np.array([2, 0])).class_ids.tolist() == [3, 1]
    assert instances.select(np.array([2, 0])).track_ids is None


def test_select_carries_the_track_ids():
    tracked = replace(make_instances(3), track_ids=np.array([7, 0, 12], np.int32))
    assert tracked.select(np.array([2, 0])).track_ids.tolist() == [12, 7]
    assert tracked.select(np.zeros(3, bool)).track_ids.shape == (0,)


def test_select_carries_the_opacity():
    fading = replace(make_instances(3), opacity=np.array([1.0, 0.5, 0.25], np.float32))
    assert fading.select(np.array([2, 0])).opacity.tolist() == [0.25, 1.0]
    assert fading.select(np.array([2, 0])).track_ids is None


def test_stage_times():
    times = StageTimes(10.0, 10.5, 11.25, 12.0)
    assert times.latency_s == 2.0
    assert StageTimes(10.0).latency_s is None


def test_source_info_refuses_nonsense():
    with pytest.raises(ValueError, match="1x1"):
        SourceInfo("a", SourceKind.LIVE, 0, 5)
    with pytest.raises(ValueError, match="positive"):
        SourceInfo("a", SourceKind.LIVE, 4, 5, time_base=Fraction(0))
