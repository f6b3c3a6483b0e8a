from dataclasses import replace
from math import ceil

import cv2
import numpy as np
import pytest

from pipeline.motion.flow import FLOW_STRIDE, FlowHistory, sample_bilinear
from tests.pipeline.motion.scenes import HEIGHT, WIDTH, frame_of, texture, window

PICTURE = texture()


def pan(index, pixels=3.0):
    return frame_of(index, window(PICTURE, 5 + pixels * index, 10 + index))


def test_the_flow_is_the_motion_of_the_picture():
    history = FlowHistory(WIDTH, 10.0)
    assert not history.add(pan(0))
    assert history.add(pan(1))
    step = history.last
    assert step.flow.shape == (ceil(HEIGHT / FLOW_STRIDE), ceil(WIDTH / FLOW_STRIDE), 2)
    # the window moves right and down, so that what it shows moves left and up
    np.testing.assert_allclose(np.median(step.flow.astype(np.float32), axis=(0, 1)), [-3, -1], atol=0.3)


def test_downscaled_frames_keep_the_aspect_ratio():
    history = FlowHistory(64, 10.0)
    history.add(pan(0))
    assert (history.width, history.height) == (64, round(HEIGHT * 64 / WIDTH))


@pytest.mark.parametrize(
    ("width", "height", "small", "worst"), [(1280, 720, 320, 2), (643, 361, 160, 1), (330, 186, 160, 16)]
)
def test_downscaled_frames_are_area_means(width, height, small, worst):
    picture = np.ascontiguousarray(cv2.resize(PICTURE, (width, height)))
    gray = FlowHistory(small, 1.0).downscaled_gray(frame_of(0, picture)).astype(float)
    expected = cv2.resize(
        cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY).astype(np.float32), gray.shape[::-1], interpolation=cv2.INTER_AREA
    )
    np.testing.assert_allclose(gray, expected, atol=worst)
    assert np.abs(gray - expected).mean() < 1.5


def test_the_steps_since_an_earlier_frame():
    history = FlowHistory(160, 10.0)
    frames = [pan(index) for index in range(5)]
    for frame in frames:
        history.add(frame)
    gray, steps = history.steps_since(frames[2])
    assert [step.index for step in steps] == [3, 4]
    np.testing.assert_array_equal(gray, history.downscaled_gray(frames[2]))
    assert history.steps_since(frames[4])[1] == []


def test_a_frame_that_was_never_presented_is_bridged():
    history = FlowHistory(WIDTH, 10.0)
    for index in (0, 1, 4, 5):
        history.add(pan(index))
    _, steps = history.steps_since(pan(2))
    assert [step.index for step in steps] == [4, 5]
    np.testing.assert_allclose(np.median(steps[0].flow.astype(np.float32), axis=(0, 1)), [-6, -2], atol=0.4)


def test_old_steps_are_dropped():
    history = FlowHistory(64, keep_s=0.2)  # five frames of 40 ms
    frames = [pan(index, 0.5) for index in range(12)]
    for frame in frames:
        history.add(frame)
    assert history.steps_since(frames[5]) is None
    assert [step.index for step in history.steps_since(frames[6])[1]] == [7, 8, 9, 10, 11]


def test_the_number_of_steps_is_bounded_whatever_the_clock_says(monkeypatch):
    monkeypatch.setattr("pipeline.motion.flow.MAX_STEPS", 3)
    history = FlowHistory(64, keep_s=100.0)
    frames = [pan(index, 0.5) for index in range(6)]
    for frame in frames:
        history.add(frame)
    assert history.steps_since(frames[2]) is None
    assert len(history.steps_since(frames[3])[1]) == 2


def test_a_cut_clears_the_history():
    history = FlowHistory(160, 10.0)
    before = [pan(0), pan(1)]
    for frame in before:
        history.add(frame)
    other = frame_of(2, window(texture(77), 5, 10))
    assert not history.add(other)
    assert history.steps_since(before[1]) is None
    assert history.steps_since(other)[1] == []
    # there are no steps across the cut from a frame that was never presented either
    late = frame_of(4, window(PICTURE, 5, 10))
    history.add(frame_of(6, window(texture(77), 6, 10)))
    assert history.steps_since(late) is None


@pytest.mark.parametrize("change", ["darker", "flat", "noise"])
def test_a_change_of_illumination_or_a_flat_picture_is_no_cut(change):
    picture = window(PICTURE, 5, 10)
    first, second = picture, picture
    if change == "darker":
        second = (picture * 0.5).astype(np.uint8)
    elif change == "flat":
        first, second = np.full_like(picture, 12), np.full_like(picture, 15)
    else:
        first = np.full_like(picture, 100)
        second = first + np.random.default_rng(0).integers(0, 12, picture.shape, dtype=np.uint8)
    history = FlowHistory(160, 10.0)
    history.add(frame_of(0, first))
    assert history.add(frame_of(1, second))


def test_another_size_or_time_running_backwards_clears_the_history():
    history = FlowHistory(160, 10.0)
    history.add(pan(0))
    history.add(pan(1))
    assert not history.add(frame_of(2, PICTURE))
    assert history.steps_since(pan(1)) is None
    back = frame_of(1, PICTURE)
    assert not history.add(back)


@pytest.mark.parametrize("shape", [(1, 1), (2, 900), (1100, 3), (17, 33), (120, 1920), (540, 130)])
def test_odd_sizes(shape):
    """OpenCV's flow crashes the process where a side has fewer than 32 pixels."""
    rng = np.random.default_rng(2)
    history = FlowHistory(320, 10.0)
    for index in range(8):
        history.add(frame_of(index, rng.integers(0, 255, (*shape, 3), dtype=np.uint8)))
    image = rng.integers(0, 255, (*shape, 3), dtype=np.uint8)
    history.add(frame_of(8, image))
    history.add(frame_of(9, np.roll(image, 1, axis=1)))
    assert history.last.index == 9
    assert min(history.width, history.height) >= 32


def test_sample_is_bilinear_with_pixel_centers_on_whole_numbers():
    image = np.array([[0, 10, 20], [100, 110, 120]], np.uint8)
    points = np.array([[0, 1.5 + 0.5j, 99 - 5j]], np.complex64)
    np.testing.assert_allclose(sample_bilinear(image, points), [[0, 65, 20]], atol=0.6)
    flow = np.dstack([image, 2 * image]).astype(np.float32)
    np.testing.assert_allclose(sample_bilinear(flow, points * 2, stride=2)[0, 1], [65, 130], atol=0.6)
    assert sample_bilinear(flow, np.zeros((0, 4), np.complex64)).shape == (0, 4, 2)


def test_from_a_substitute_the_first_step_leads_to_the_frame_itself():
    """The sub-stream is half as large in x, a quarter smaller in y, and two steps late."""
    history = FlowHistory(WIDTH, 10.0)
    for index in range(4):
        history.add(pan(index))
    small = cv2.resize(pan(0).image_bgr, (WIDTH // 2, HEIGHT * 3 // 4), interpolation=cv2.INTER_AREA)
    gray, steps = history.steps_since(replace(pan(2), substitute=frame_of(0, small)))
    assert [step.index for step in steps] == [2, 3]
    np.testing.assert_allclose(np.median(steps[0].flow.astype(np.float32), axis=(0, 1)), [-6, -2], atol=0.4)
    assert gray.shape == (HEIGHT, WIDTH)
    assert np.abs(gray.astype(float) - history.downscaled_gray(pan(0))).mean() < 6


def test_from_a_substitute_of_another_scene_nothing_leads_to_the_frame():
    history = FlowHistory(WIDTH, 10.0)
    history.add(pan(0))
    other = frame_of(0, window(texture(5), 20, 20))
    assert history.steps_since(replace(pan(0), substitute=other)) is None
