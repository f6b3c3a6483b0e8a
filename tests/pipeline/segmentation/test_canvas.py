import numpy as np
import pytest

from pipeline.segmentation.canvas import fit_canvas
from pipeline.settings.model_settings import Canvas


@pytest.mark.parametrize(
    ("frame_hw", "max_dim", "resized_hw", "tight_hw"),
    [
        ((720, 1280), 1024, (576, 1024), (576, 1024)),
        ((1080, 1920), 512, (288, 512), (288, 512)),
        ((480, 640), 1024, (768, 1024), (768, 1024)),
        ((640, 360), 512, (512, 288), (512, 288)),
        ((272, 640), 512, (218, 512), (224, 512)),
        ((100, 100), 1024, (800, 800), (800, 800)),
        ((2, 2000), 512, (1, 512), (32, 512)),
    ],
)
def test_scale_and_padding(frame_hw, max_dim, resized_hw, tight_hw):
    tight = fit_canvas(*frame_hw, max_dim, Canvas.TIGHT)
    square = fit_canvas(*frame_hw, max_dim, Canvas.SQUARE)
    assert tight.resized_hw == square.resized_hw == resized_hw
    assert tight.canvas_hw == tight_hw
    assert square.canvas_hw == (max_dim, max_dim)
    top, left, bottom, right = square.window
    assert (bottom - top, right - left) == resized_hw
    assert abs(top - (max_dim - bottom)) <= 1


@pytest.mark.parametrize("frame_hw", [(360, 640), (427, 640), (720, 1280), (500, 333), (480, 640)])
@pytest.mark.parametrize("max_dim", [512, 1024])
def test_padded_to_64_the_picture_lies_on_the_cells_as_on_the_square(frame_hw, max_dim):
    padded = fit_canvas(*frame_hw, max_dim, Canvas.PAD64)
    square = fit_canvas(*frame_hw, max_dim, Canvas.SQUARE)
    assert padded.canvas_hw == tuple(-(-side // 64) * 64 for side in square.resized_hw)
    assert (square.top - padded.top) % 32 == 0
    assert (square.left - padded.left) % 32 == 0


def test_the_frame_lies_in_its_window_in_rgb_with_black_around():
    image_bgr = np.zeros((90, 160, 3), np.uint8)
    image_bgr[:] = (10, 20, 30)
    fit = fit_canvas(90, 160, 256, Canvas.SQUARE)
    canvas_rgb = fit.place(image_bgr)
    top, left, bottom, right = fit.window
    assert canvas_rgb.shape == (256, 256, 3)
    assert (canvas_rgb[top:bottom, left:right] == (30, 20, 10)).all()
    assert canvas_rgb[:top].max() == 0
    assert canvas_rgb[bottom:].max() == 0


def test_a_frame_of_another_size_is_refused():
    with pytest.raises(ValueError, match="frames of"):
        fit_canvas(90, 160, 256, Canvas.TIGHT).place(np.zeros((90, 161, 3), np.uint8))


def test_boxes_come_back_to_where_they_were():
    fit = fit_canvas(720, 1280, 512, Canvas.SQUARE)
    boxes_xyxy = np.array([[0, 0, 1280, 720], [100, 50, 300, 650]], np.float32)
    scale = 512 / 1280
    on_canvas = boxes_xyxy[:, [1, 0, 3, 2]] * scale + np.array([fit.top, fit.left] * 2, np.float32)
    np.testing.assert_allclose(fit.boxes_on_frame(on_canvas), boxes_xyxy, atol=1e-3)


def test_boxes_are_cut_at_the_frame():
    fit = fit_canvas(90, 160, 256, Canvas.SQUARE)
    cut = fit.boxes_on_frame(np.array([[-50, -50, 500, 500]], np.float32))
    assert cut.tolist() == [[0, 0, 160, 90]]
