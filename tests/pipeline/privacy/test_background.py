"""What replaces the background: one color, a blur, a picture that fills the frame."""

import tracemalloc
from dataclasses import replace
from unittest import mock

import cv2
import numpy as np
import pytest

from pipeline.errors import InputError
from pipeline.privacy.redaction import Background, read_picture, scale_to_fill
from pipeline.settings.presentation_settings import BackgroundSettings
from tests.pipeline.fakes import make_instances
from tests.pipeline.privacy.test_redaction import NAMES


def image_of(height=48, width=80):
    return np.random.default_rng(5).integers(0, 255, (height, width, 3)).astype(np.uint8)


def test_the_object_stays_and_the_rest_is_one_color():
    image = image_of()
    before = image.copy()
    background = Background(BackgroundSettings(mode="color", color="#0a141e", edge=0.0), NAMES)
    shown = background.replace(image, make_instances(2))  # a person at x 5 … 15, a dog at 17 … 27; y 4 … 30
    assert (shown[4:30, 5:15] == image[4:30, 5:15]).all()
    outside = np.ones((48, 80), bool)
    outside[4:30, 5:15] = False
    assert (shown[outside] == (0x1E, 0x14, 0x0A)).all()
    assert (image == before).all()


def test_the_edge_is_soft_and_opacity_applies():
    image = np.full((100, 80, 3), 200, np.uint8)
    one = make_instances(1)
    soft = Background(BackgroundSettings(mode="color", color="#000000", edge=0.02), NAMES).replace(image, one)
    row = soft[15, :16, 0].astype(int)
    assert row[0] == 0
    assert row[9] == 200
    assert (np.diff(row[:10]) >= 0).all()
    assert 0 < row[5] < 200
    hard = Background(BackgroundSettings(mode="color", color="#000000", edge=0.0), NAMES)
    fading = hard.replace(image, replace(one, opacity=np.array([0.5], np.float32)))
    assert abs(int(fading[15, 9, 0]) - 100) <= 1


def test_without_objects_all_is_background_and_blur_is_blurred():
    image = image_of(120, 90)
    empty = make_instances(0)
    assert (Background(BackgroundSettings(mode="color", color="#ffffff"), NAMES).replace(image, empty) == 255).all()
    blurred = Background(BackgroundSettings(mode="blur", cells=9), NAMES).replace(image, empty)
    assert blurred.shape == image.shape
    assert blurred.std() < image.std() / 4


def test_a_picture_fills_the_frame(tmp_path):
    picture = np.zeros((30, 90, 3), np.uint8)
    picture[:, 30:60] = 250
    cv2.imwrite(str(tmp_path / "beach.png"), picture)
    settings = BackgroundSettings(mode="picture", picture=str(tmp_path / "beach.png"))
    background = Background(settings, NAMES)
    for height, width in ((48, 48), (60, 48)):
        shown = background.replace(image_of(height, width), make_instances(0))
        assert shown.shape == (height, width, 3)
        assert (shown[:, 5:-5] > 200).all()  # the white middle third is as wide as it is high


@pytest.mark.parametrize(("height", "width"), [(50, 101), (101, 50), (33, 33)])
def test_scale_to_fill_has_the_size_of_the_frame(height, width):
    assert scale_to_fill(image_of(37, 91), height, width).shape == (height, width, 3)


@pytest.mark.parametrize("size_hw", [(400, 1), (1, 400)])
def test_a_gradient_one_pixel_wide_takes_no_more_memory_than_it_fills(size_hw):
    gradient = np.linspace(0, 250, 400).astype(np.uint8).reshape(*size_hw, 1).repeat(3, axis=2)
    tracemalloc.start()
    try:
        filled = scale_to_fill(gradient, 300, 500)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert filled.shape == (300, 500, 3)
    assert np.abs(filled.astype(int) - 125).max() <= 2  # of 400 pixels, the one or two in the middle fill it
    assert peak < 20 * filled.nbytes


def test_missing_or_broken_inputs_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"set background\.picture"):
        Background(BackgroundSettings(mode="picture"), NAMES)
    with pytest.raises(InputError, match=r"background\.classes: this model has no class 'cat'"):
        Background(BackgroundSettings(mode="blur", classes=("cat",)), NAMES)
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "empty.png").write_bytes(b"")
    for name, reason in (("absent", "cannot be opened"), ("text", "not an image"), ("empty", "is empty")):
        with pytest.raises(InputError, match=rf"attract\.picture: .*{name}\.png .*{reason}"):
            read_picture("attract.picture", str(tmp_path / f"{name}.png"))


def test_a_picture_that_opencv_refuses_is_a_one_line_error(tmp_path, monkeypatch):
    cv2.imwrite(str(tmp_path / "huge.png"), np.zeros((4, 4, 3), np.uint8))
    refuse = mock.Mock(side_effect=cv2.error("pixels <= CV_IO_MAX_IMAGE_PIXELS"))
    monkeypatch.setattr(cv2, "imdecode", refuse)
    with pytest.raises(InputError, match=r"background\.picture: .*huge\.png cannot be decoded"):
        read_picture("background.picture", str(tmp_path / "huge.png"))


def test_what_is_transparent_in_a_picture_is_white(tmp_path):
    picture = np.zeros((4, 6, 4), np.uint8)
    picture[:, 3:] = (0, 0, 255, 255)
    cv2.imwrite(str(tmp_path / "a.png"), picture)
    shown = read_picture("background.picture", str(tmp_path / "a.png"))
    assert (shown[:, :3] == 255).all()
    assert (shown[:, 3:] == (0, 0, 255)).all()
