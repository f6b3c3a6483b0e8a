from math import ceil

import cv2
import numpy as np
import pytest

from pipeline.motion.flow import FLOW_STRIDE, FlowTrail, sample
from tests.pipeline.motion.scenes import HEIGHT, WIDTH, frame_of, texture, window

PICTURE = texture()


def pan(index, pixels=3.0):
    return frame_of(index, window(PICTURE, 5 + pixels * index, 10 + index))


def test_the_flow_is_the_picture_s_motion():
    trail = FlowTrail(WIDTH, 10.0)
    assert not trail.see(pan(0))
    assert trail.see(pan(1))
    step = trail.last
    assert step.flow.shape == (ceil(HEIGHT / FLOW_STRIDE), ceil(WIDTH / FLOW_STRIDE), 2)
    # the window moves right and down, so that what it shows moves left and up
    np.testing.assert_allclose(np.median(step.flow.astype(np.float32), axis=(0, 1)), [-3, -1], atol=0.3)


def test_small_frames_keep_the_shape_of_the_picture():
    trail = FlowTrail(64, 10.0)
    trail.see(pan(0))
    assert (trail.width, trail.height) == (64, round(HEIGHT * 64 / WIDTH))


@pytest.mark.parametrize(
    ("width", "height", "small", "worst"), [(1280, 720, 320, 2), (643, 361, 160, 1), (330, 186, 160, 16)]
)
def test_small_frames_are_means_of_the_picture_s_pixels(width, height, small, worst):
    picture = np.ascontiguousarray(cv2.resize(PICTURE, (width, height)))
    gray = FlowTrail(small, 1.0).small_gray(frame_of(0, picture)).astype(float)
    expected = cv2.resize(
        cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY).astype(np.float32), gray.shape[::-1], interpolation=cv2.INTER_AREA
    )
    np.testing.assert_allclose(gray, expected, atol=worst)
    assert np.abs(gray - expected).mean() < 1.5


def test_the_way_from_an_earlier_frame():
    trail = FlowTrail(160, 10.0)
    frames = [pan(index) for index in range(5)]
    for frame in frames:
        trail.see(frame)
    gray, steps = trail.since(frames[2])
    assert [step.index for step in steps] == [3, 4]
    np.testing.assert_array_equal(gray, trail.small_gray(frames[2]))
    assert trail.since(frames[4])[1] == []


def test_a_frame_that_was_never_presented_is_bridged():
    trail = FlowTrail(WIDTH, 10.0)
    for index in (0, 1, 4, 5):
        trail.see(pan(index))
    _, steps = trail.since(pan(2))
    assert [step.index for step in steps] == [4, 5]
    np.testing.assert_allclose(np.median(steps[0].flow.astype(np.float32), axis=(0, 1)), [-6, -2], atol=0.4)


def test_old_steps_are_forgotten():
    trail = FlowTrail(64, keep_s=0.2)  # five frames of 40 ms
    frames = [pan(index, 0.5) for index in range(12)]
    for frame in frames:
        trail.see(frame)
    assert trail.since(frames[5]) is None
    assert [step.index for step in trail.since(frames[6])[1]] == [7, 8, 9, 10, 11]


def test_the_number_of_steps_is_bounded_whatever_the_clock_says(monkeypatch):
    monkeypatch.setattr("pipeline.motion.flow.MOST_STEPS", 3)
    trail = FlowTrail(64, keep_s=100.0)
    frames = [pan(index, 0.5) for index in range(6)]
    for frame in frames:
        trail.see(frame)
    assert trail.since(frames[2]) is None
    assert len(trail.since(frames[3])[1]) == 2


def test_a_cut_ends_the_trail():
    trail = FlowTrail(160, 10.0)
    before = [pan(0), pan(1)]
    for frame in before:
        trail.see(frame)
    other = frame_of(2, window(texture(77), 5, 10))
    assert not trail.see(other)
    assert trail.since(before[1]) is None
    assert trail.since(other)[1] == []
    # a frame of the old scene that was never presented finds no way over the cut either
    late = frame_of(4, window(PICTURE, 5, 10))
    trail.see(frame_of(6, window(texture(77), 6, 10)))
    assert trail.since(late) is None


@pytest.mark.parametrize("change", ["darker", "flat", "noise"])
def test_a_change_of_light_or_a_flat_picture_is_no_cut(change):
    picture = window(PICTURE, 5, 10)
    first, second = picture, picture
    if change == "darker":
        second = (picture * 0.5).astype(np.uint8)
    elif change == "flat":
        first, second = np.full_like(picture, 12), np.full_like(picture, 15)
    else:
        first = np.full_like(picture, 100)
        second = first + np.random.default_rng(0).integers(0, 12, picture.shape, dtype=np.uint8)
    trail = FlowTrail(160, 10.0)
    trail.see(frame_of(0, first))
    assert trail.see(frame_of(1, second))


def test_another_size_or_time_running_back_begins_anew():
    trail = FlowTrail(160, 10.0)
    trail.see(pan(0))
    trail.see(pan(1))
    assert not trail.see(frame_of(2, PICTURE))
    assert trail.since(pan(1)) is None
    back = frame_of(1, PICTURE)
    assert not trail.see(back)


@pytest.mark.parametrize("shape", [(1, 1), (2, 900), (1100, 3), (17, 33), (120, 1920), (540, 130)])
def test_odd_sizes(shape):
    """OpenCV's flow ends the process where a side has fewer than 32 pixels."""
    rng = np.random.default_rng(2)
    trail = FlowTrail(320, 10.0)
    for index in range(8):
        trail.see(frame_of(index, rng.integers(0, 255, (*shape, 3), dtype=np.uint8)))
    image = rng.integers(0, 255, (*shape, 3), dtype=np.uint8)
    trail.see(frame_of(8, image))
    trail.see(frame_of(9, np.roll(image, 1, axis=1)))
    assert trail.last.index == 9
    assert min(trail.width, trail.height) >= 32


def test_sample_is_bilinear_with_pixel_centers_on_whole_numbers():
    image = np.array([[0, 10, 20], [100, 110, 120]], np.uint8)
    points = np.array([[0, 1.5 + 0.5j, 99 - 5j]], np.complex64)
    np.testing.assert_allclose(sample(image, points), [[0, 65, 20]], atol=0.6)
    flow = np.dstack([image, 2 * image]).astype(np.float32)
    np.testing.assert_allclose(sample(flow, points * 2, stride=2)[0, 1], [65, 130], atol=0.6)
    assert sample(flow, np.zeros((0, 4), np.complex64)).shape == (0, 4, 2)
