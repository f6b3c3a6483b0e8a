"""How well masks that were found in a sub-stream lie on a fast object of the main stream, on an exact clock."""

from dataclasses import replace
from fractions import Fraction
from functools import cache

import cv2
import numpy as np
import pytest

from pipeline.geometry import iou_matrix
from pipeline.motion.carry import make_carrier
from pipeline.records import Frame, StageTimes, UnredactedFrame
from pipeline.runtime.wiring import SmoothJoin
from pipeline.settings.presentation_settings import MotionSettings
from pipeline.threads.stage import Overflow, Slot
from tests.pipeline.motion.scenes import HEIGHT, WIDTH, box_instances, texture, window
from tests.pipeline.runtime.test_substream import Steered

FPS, COUNT, BEGIN = 25, 75, 40
SUB_WH = (176, 144)
WALL, PATCH = window(texture(1), 20, 20), texture(9)[:60, :70]
LATENCY = 2
"""Frames from the arrival of a picture to its result."""


def left_of(moment):
    """The object's left edge: 4 pixels a frame, a third of the frame's width a second, forth and back."""
    return 20 + 4 * abs((moment + 50) % 100 - 50)


@cache
def scene(moment):
    image = WALL.copy()
    image[60:120, left_of(moment) : left_of(moment) + 70] = PATCH
    return image


@cache
def small(moment):
    resized = cv2.resize(scene(moment), SUB_WH, interpolation=cv2.INTER_AREA)
    return cv2.imdecode(cv2.imencode(".jpg", resized, [cv2.IMWRITE_JPEG_QUALITY, 70])[1], cv2.IMREAD_COLOR)


def box_at(moment):
    return (left_of(moment), 60, left_of(moment) + 70, 120)


def overlaps(later, carry):
    """Intersections over union on the frames from BEGIN on; the sub-stream has every other picture, `later` frames
    later than the main stream.
    """
    frames, results = Slot(2, Overflow.DROP_OLDEST), Slot(9, Overflow.DROP_OLDEST)
    join = SmoothJoin(frames, results, make_carrier(MotionSettings(carry=carry, blend_s=0, fade_s=0), live=True))
    pending, moments, found = [], [], []
    with Steered() as running:
        for index in range(COUNT):
            moment = index - later  # of the picture that arrives a little before this frame
            if moment >= 0 and moment % 2 == 0:
                moments.append(moment)
                running.give(index / FPS - 0.001, small(moment))
            frame = Frame("main", index, index, Fraction(1, FPS), index / FPS, scene(index))
            chosen = running.substream.to_infer(frame)
            if chosen is not None:
                pending.append((index + LATENCY, chosen))
            while pending and pending[0][0] <= index:
                _, inferred = pending.pop(0)
                seen = moments[inferred.substitute.index]
                instances = replace(box_instances(box_at(seen)), track_ids=np.ones(1, np.int32))
                results.put(UnredactedFrame(inferred, instances, inferred.index, StageTimes(inferred.captured_at_s)))
            frames.put(frame)
            shown = join.next(0).instances.boxes_xyxy
            if index >= BEGIN:
                truth = np.array([box_at(index)], np.float32)
                found.append(float(iou_matrix(shown, truth).max()) if len(shown) else 0.0)
    assert len(found) == COUNT - BEGIN
    return found


@pytest.mark.parametrize("later", [0, 8, -8], ids=["together", "sub later", "main later"])
def test_masks_lie_on_a_fast_object_also_where_one_stream_is_later(later):
    found = overlaps(later, "flow")
    assert np.mean(found) > 0.9
    assert min(found) > 0.7


def test_without_optical_flow_they_lag_by_the_time_that_inference_takes():
    """Two frames and up to two more: 8 to 16 of 70 pixels, 0.8 to 0.63 of the union."""
    assert 0.6 < np.mean(overlaps(0, "hold")) < 0.82


def test_the_scene_has_what_it_says():
    assert scene(0).shape == (HEIGHT, WIDTH, 3)
    assert small(0).shape == (144, 176, 3)
    assert [left_of(moment) for moment in (0, 1, 50, 51)] == [20, 24, 220, 216]
