"""The pictures of a run: that they are there, and show what they should."""

import cv2
import numpy as np

from mrcnn.training.data import ImageCache
from mrcnn.training.plots import COLORS_RGB, draw_curves, draw_predictions
from mrcnn.training.validation import Detection


def test_curves_are_drawn_from_any_log(tmp_path):
    lines = [
        {"step": 10, "loss": 2.5, "rpn_class_loss": 0.3, "mrcnn_mask_loss": 0.6},
        {"step": 20, "val_loss": 2.1, "val_rpn_class_loss": 0.2, "mask_ap50": 0.25},
        {"step": 30, "val_loss": 2.0, "mask_ap50": None},
    ]
    draw_curves(tmp_path / "none.png", [])
    draw_curves(tmp_path / "some.png", lines)
    none, some = (cv2.imread(str(tmp_path / name)) for name in ("none.png", "some.png"))
    assert none.shape == some.shape
    assert (none != some).any()
    assert {file.name for file in tmp_path.iterdir()} == {"none.png", "some.png"}


def test_predictions_lie_beside_the_truth(tmp_path, tiny_data):
    first = tiny_data.images[0]  # 150 x 100 pixels, an object of class 1 at rows 20 … 80, columns 30 … 60
    cv2.imwrite(str(first.path), np.zeros((100, 150, 3), np.uint8))
    sure = Detection(1, 0.9, np.array([50, 100, 90, 140]), np.ones((40, 40), bool))
    unsure = Detection(1, 0.2, np.array([0, 0, 40, 90]), np.ones((40, 90), bool))
    path = tmp_path / "sheet.png"
    draw_predictions(path, [(first, [sure, unsure])], ("BG", "person"), ImageCache(), 0.5)
    sheet = cv2.imread(str(path))[..., ::-1]
    half = 360  # the longer side of the photograph; the label's line above is 18 high
    scale = half / 150
    color = np.array(COLORS_RGB[1]) // 2

    def pixel(row, column, right):
        return sheet[18 + round(row * scale), round(column * scale) + (half + 6 if right else 0)].astype(int)

    np.testing.assert_allclose(pixel(60, 45, right=False), color, atol=2)
    np.testing.assert_allclose(pixel(60, 45, right=True), 0, atol=2)
    np.testing.assert_allclose(pixel(75, 120, right=True), color, atol=2)
    np.testing.assert_allclose(pixel(75, 120, right=False), 0, atol=2)
    np.testing.assert_allclose(pixel(30, 15, right=True), 0, atol=2)


def test_a_photograph_that_is_gone_is_left_out(tmp_path, tiny_data):
    first, second = tiny_data.images
    first.path.unlink()
    draw_predictions(tmp_path / "a.png", [(first, []), (second, [])], ("BG", "person"), ImageCache(), 0.5)
    draw_predictions(tmp_path / "b.png", [(second, [])], ("BG", "person"), ImageCache(), 0.5)
    draw_predictions(tmp_path / "c.png", [(first, [])], ("BG", "person"), ImageCache(), 0.5)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert not (tmp_path / "c.png").exists()
