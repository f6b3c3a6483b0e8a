"""Orientation and transparency on small arrays."""

from __future__ import annotations

import itertools

import av
import numpy as np
import pytest

from pipeline.sources.upright import BgrConverter, Orientation, blend_on_white, orientation_of

IMAGE = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)


@pytest.mark.parametrize(("transpose", "mirror_x", "mirror_y"), list(itertools.product((False, True), repeat=3)))
def test_apply_is_numpy_indexing(transpose: bool, mirror_x: bool, mirror_y: bool) -> None:
    expected = IMAGE.swapaxes(0, 1) if transpose else IMAGE
    expected = expected[:, ::-1] if mirror_x else expected
    expected = expected[::-1] if mirror_y else expected
    np.testing.assert_array_equal(Orientation(transpose, mirror_x, mirror_y).apply(IMAGE), expected)


def test_quarter_turns_are_named_clockwise() -> None:
    for turns, text in enumerate(("", "rotated 90 degrees", "rotated 180 degrees", "rotated 270 degrees")):
        found = [
            flags
            for flags in itertools.product((False, True), repeat=3)
            if np.array_equal(Orientation(*flags).apply(IMAGE), np.rot90(IMAGE, -turns))
        ]
        assert [Orientation(*flags).text for flags in found] == [text]
    assert Orientation(mirror_x=True).text == "mirrored"


def test_no_matrix_means_upright() -> None:
    assert orientation_of(av.VideoFrame(16, 8, "yuv420p")) == Orientation()


def test_blend_on_white() -> None:
    bgra = np.array([[[10, 20, 30, 255], [10, 20, 30, 0], [0, 100, 200, 51]]], np.uint8)
    # 51 / 255 is a fifth: 0.8 * 255 + 0.2 * (0, 100, 200)
    assert blend_on_white(bgra).tolist() == [[[10, 20, 30], [255, 255, 255], [204, 224, 244]]]
    assert blend_on_white(bgra[:, :1]).tolist() == [[[10, 20, 30]]]


def test_converter_blends_transparent_video_onto_white_and_scales() -> None:
    rgba = np.zeros((8, 12, 4), np.uint8)
    rgba[:, 6:] = (200, 100, 50, 255)
    image = BgrConverter().convert(av.VideoFrame.from_ndarray(rgba, format="rgba"))
    assert image.shape == (8, 12, 3)
    assert image[4, 2].tolist() == [255, 255, 255]
    assert image[4, 9].tolist() == [50, 100, 200]
    assert BgrConverter().convert(av.VideoFrame.from_ndarray(rgba, format="rgba"), (6, 4)).shape == (4, 6, 3)


@pytest.mark.parametrize("size_wh", [(33, 17), (16, 8), (1, 1)])
def test_converter_takes_odd_sizes(size_wh: tuple[int, int]) -> None:
    width, height = size_wh
    gray = np.full((height, width), 130, np.uint8)
    image = BgrConverter().convert(av.VideoFrame.from_ndarray(gray, format="gray"))
    assert image.shape == (height, width, 3)
