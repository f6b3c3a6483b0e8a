import numpy as np
import pytest

from mrcnn.architecture import ARCHITECTURES
from mrcnn.config import Config
from pipeline.segmentation.canvas import fit_canvas
from pipeline.settings.model_settings import Canvas


def config(max_dim):
    """Matterport's settings with another IMAGE_MAX_DIM."""
    settings = Config()
    settings.IMAGE_MAX_DIM = max_dim
    return settings


def published(architecture):
    """The settings of an architecture's published weights."""
    settings = {"ARCHITECTURE": architecture, **ARCHITECTURES[architecture].settings}
    return type("Published", (Config,), settings)()


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
    tight = fit_canvas(*frame_hw, config(max_dim), Canvas.TIGHT)
    square = fit_canvas(*frame_hw, config(max_dim), Canvas.SQUARE)
    assert tight.resized_hw == square.resized_hw == resized_hw
    assert tight.canvas_hw == tight_hw
    assert square.canvas_hw == (max_dim, max_dim)
    top, left, bottom, right = square.window
    assert (bottom - top, right - left) == resized_hw
    assert abs(top - (max_dim - bottom)) <= 1


@pytest.mark.parametrize("frame_hw", [(360, 640), (427, 640), (720, 1280), (500, 333), (480, 640)])
@pytest.mark.parametrize("max_dim", [512, 1024])
def test_padded_to_64_the_picture_lies_on_the_cells_as_on_the_square(frame_hw, max_dim):
    padded = fit_canvas(*frame_hw, config(max_dim), Canvas.PAD64)
    square = fit_canvas(*frame_hw, config(max_dim), Canvas.SQUARE)
    assert padded.canvas_hw == tuple(-(-side // 64) * 64 for side in square.resized_hw)
    assert (square.top - padded.top) % 32 == 0
    assert (square.left - padded.left) % 32 == 0


def test_the_frame_lies_in_its_window_in_rgb_with_black_around():
    image_bgr = np.zeros((90, 160, 3), np.uint8)
    image_bgr[:] = (10, 20, 30)
    fit = fit_canvas(90, 160, config(256), Canvas.SQUARE)
    canvas_rgb = fit.place(image_bgr)
    top, left, bottom, right = fit.window
    assert canvas_rgb.shape == (256, 256, 3)
    assert (canvas_rgb[top:bottom, left:right] == (30, 20, 10)).all()
    assert canvas_rgb[:top].max() == 0
    assert canvas_rgb[bottom:].max() == 0


def test_a_frame_of_another_size_is_refused():
    with pytest.raises(ValueError, match="frames of"):
        fit_canvas(90, 160, config(256), Canvas.TIGHT).place(np.zeros((90, 161, 3), np.uint8))


def test_boxes_come_back_to_where_they_were():
    fit = fit_canvas(720, 1280, config(512), Canvas.SQUARE)
    boxes_xyxy = np.array([[0, 0, 1280, 720], [100, 50, 300, 650]], np.float32)
    scale = 512 / 1280
    on_canvas = boxes_xyxy[:, [1, 0, 3, 2]] * scale + np.array([fit.top, fit.left] * 2, np.float32)
    np.testing.assert_allclose(fit.boxes_on_frame(on_canvas), boxes_xyxy, atol=1e-3)


def test_boxes_are_cut_at_the_frame():
    fit = fit_canvas(90, 160, config(256), Canvas.SQUARE)
    cut = fit.boxes_on_frame(np.array([[-50, -50, 500, 500]], np.float32))
    assert cut.tolist() == [[0, 0, 160, 90]]


@pytest.mark.parametrize(
    ("architecture", "frame_hw", "resized_hw", "canvas_hw"),
    [
        ("torchvision", (480, 640), (800, 1066), (800, 1088)),  # 640 * 800 / 480 = 1066.67
        ("detectron2", (480, 640), (800, 1067), (800, 1088)),
        ("torchvision", (1080, 1920), (749, 1333), (768, 1344)),  # 1080 * 1333 / 1920 = 749.8
        ("detectron2", (1080, 1920), (750, 1333), (768, 1344)),
        ("torchvision_v2", (1600, 1200), (1066, 800), (1088, 800)),
    ],
)
def test_scaled_to_the_shorter_side_the_frame_lies_at_the_top_left(architecture, frame_hw, resized_hw, canvas_hw):
    fit = fit_canvas(*frame_hw, published(architecture), Canvas.TIGHT)
    assert (fit.resized_hw, fit.canvas_hw, fit.window) == (resized_hw, canvas_hw, (0, 0, *resized_hw))


def test_only_an_antialiased_frame_loses_what_is_finer_than_the_canvas():
    stripes_bgr = np.zeros((3200, 3200, 3), np.uint8)
    stripes_bgr[:, ::4] = stripes_bgr[:, 1::4] = 200  # half of every four columns, which become one
    plain, filtered = (
        fit_canvas(3200, 3200, published(name), Canvas.TIGHT).place(stripes_bgr)
        for name in ("torchvision", "detectron2")
    )
    assert (filtered == 100).all()
    assert plain.max() - plain.min() == 0  # every column falls between the second and the third of its four
    shifted_bgr = np.roll(stripes_bgr, 1, axis=1)
    shifted = [
        fit_canvas(3200, 3200, published(name), Canvas.TIGHT).place(shifted_bgr)
        for name in ("torchvision", "detectron2")
    ]
    assert (shifted[0] == 200).all()
    assert (shifted[1] == 100).all()
